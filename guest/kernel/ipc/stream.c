/*
 * stream.c: the byte stream between two connected sockets, for AF_UNIX and
 * TCP. Each side owns the ring it reads from; the other side appends to it.
 */
#include "ipc.h"

#include <asm/ioctls.h>

/* Room of s to send, bounded by its own SO_SNDBUF; s->peer is set. */
static u32 room(const struct stream *s) { return s->s.sndbuf - MIN(s->s.sndbuf, s->peer->rx.used); }

void stream_join(struct stream *a, struct stream *b)
{
	a->peer = b;
	b->peer = a;
	a->state = b->state = STREAM_CONNECTED;
}

void stream_clear(struct stream *s)
{
	ring_free(&s->rx);
	while (s->rights) {
		struct rights *r = s->rights;
		s->rights = r->next;
		rights_free(r);
	}
}

u32 stream_poll(const struct stream *s)
{
	u32 mask = s->s.error ? EPOLLERR : 0;
	switch (s->state) {
	case STREAM_IDLE:
		return mask | EPOLL_WRITE | EPOLLHUP;
	case STREAM_CONNECTING:
		return mask;
	case STREAM_LISTENING:
		if (s->s.shut & SHUT_RX) /* as Linux: a TCP socket is closed then */
			mask |= s->s.family == AF_UNIX ? EPOLL_READ | EPOLLRDHUP : EPOLL_WRITE | EPOLLHUP;
		return mask | (s->listener->queued ? EPOLL_READ : 0);
	case STREAM_CONNECTED:
		break;
	}
	if (s->s.shut == SHUT_BOTH)
		mask |= EPOLLHUP;
	if (s->s.shut & SHUT_RX)
		mask |= EPOLL_READ | EPOLLRDHUP;
	if (s->rx.used)
		mask |= EPOLL_READ;
	if (s->s.shut & SHUT_TX || !s->peer || room(s) >= OUT_MARK)
		mask |= EPOLL_WRITE;
	return mask;
}

static void attach_rights(struct stream *to, struct rights *r, u32 bytes)
{
	r->start = to->rx_total;
	r->end = r->start + bytes;
	struct rights **p = &to->rights;
	while (*p)
		p = &(*p)->next;
	*p = r;
}

long stream_send(struct stream *s, const struct msghdr_k *m, int flags, struct rights *r)
{
	struct iov_cursor c = {m->iov, m->iovlen, 0};
	u64 deadline = sock_deadline(s->s.sndtimeo), done = 0, take;
	long err = 0;
	u8 *p;
	while (!err && (take = iov_next(&c, &p))) {
		if (s->s.error || s->s.shut & SHUT_TX) {
			if (!done) /* what was sent is reported first */
				err = sock_pipe_error(&s->s, flags);
			break;
		}
		if (!s->peer) {
			/* TCP, and the peer is gone: what is sent now is lost
			 * and answered with a reset, as on the wire. */
			s->s.shut = SHUT_BOTH;
			sock_fail(&s->s, EPIPE);
			wake_all(&s->s.file->wq);
			done += MIN(iov_bytes(m->iov, m->iovlen) - done, (u64)s->s.sndbuf);
			break;
		}
		u32 space = room(s);
		if (space == 0) {
			err = sock_wait(&s->s, EPOLLOUT, sock_nonblock(&s->s, flags), deadline);
			continue;
		}
		struct stream *to = s->peer;
		u32 n = ring_append(&to->rx, p, (u32)MIN(take, (u64)space));
		if (n == 0) {
			err = -ENOMEM;
			break;
		}
		if (r) {
			attach_rights(to, r, n);
			r = NULL;
		}
		to->rx_total += n;
		c.off += n;
		done += n;
		wake_all(&to->s.file->wq);
	}
	rights_free(r); /* nothing was sent that could carry them */
	return done ? (long)done : err;
}

/* Bytes that one copy may take from offset off of rx; *found: files travel with them. */
static u32 segment(struct stream *s, u32 off, struct rights **found)
{
	u64 pos = s->rx_total - s->rx.used + off;
	u32 n = s->rx.used - off;
	*found = NULL;
	for (struct rights *r = s->rights; r; r = r->next) {
		if (r->start > pos)
			return (u32)MIN((u64)n, r->start - pos);
		if (pos < r->end) {
			*found = r;
			return (u32)MIN((u64)n, r->end - pos);
		}
	}
	return n;
}

static u64 copy_out(struct stream *s, struct iov_cursor *c, u32 off, u32 n)
{
	u64 done = 0, take;
	u8 *p;
	while (done < n && (take = iov_next(c, &p))) {
		take = MIN(take, n - done);
		ring_peek(&s->rx, off + (u32)done, p, (u32)take);
		c->off += take;
		done += take;
	}
	return done;
}

static void consumed(struct stream *s, u32 n)
{
	bool writable = s->peer && room(s->peer) >= OUT_MARK;
	ring_drop(&s->rx, n);
	if (s->peer && !writable && room(s->peer) >= OUT_MARK)
		wake_all(&s->peer->s.file->wq);
}

/* The first bytes that files travel with hand them over; the rest of those bytes is plain. */
static void deliver_rights(struct stream *s, struct msghdr_k *m, u64 cap, struct rights *r, int flags)
{
	scm_put_rights(m, cap, r, flags);
	if (flags & MSG_PEEK)
		return;
	struct rights **p = &s->rights;
	while (*p != r)
		p = &(*p)->next;
	*p = r->next;
	rights_free(r);
}

long stream_recv(struct stream *s, struct msghdr_k *m, int flags)
{
	if (flags & MSG_OOB)
		return s->s.family == AF_UNIX ? -EOPNOTSUPP : -EINVAL;
	if (flags & MSG_ERRQUEUE)
		return -EAGAIN;
	struct iov_cursor c = {m->iov, m->iovlen, 0};
	u64 want = iov_bytes(m->iov, m->iovlen), done = 0, cap = m->ctllen;
	bool peek = flags & MSG_PEEK, boundary = false;
	u64 target = flags & MSG_WAITALL ? want : MIN((u64)s->s.rcvlowat, want);
	u64 deadline = sock_deadline(s->s.rcvtimeo);
	long err = 0;
	m->namelen = 0;
	m->ctllen = 0;
	m->flags = 0;
	if (sock_opt(&s->s, SO_PASSCRED) && s->s.family == AF_UNIX) {
		u32 program[3] = {1, cred.uid, cred.gid}; /* struct ucred: pid, uid, gid */
		scm_put(m, cap, SCM_CREDENTIALS, program, sizeof program);
	}
	for (;;) {
		u32 off = peek ? (u32)done : 0;
		while (off < s->rx.used && done < want && !boundary) {
			struct rights *r;
			u32 n = segment(s, off, &r);
			u64 got = copy_out(s, &c, off, n);
			if (r) {
				deliver_rights(s, m, cap, r, flags);
				boundary = true;
			}
			if (peek)
				off += (u32)got;
			else
				consumed(s, (u32)got);
			done += got;
		}
		if (done >= MAX(target, 1ull) || boundary || (done == want && s->rx.used) || (peek && done))
			break;
		if (s->fin)
			break;
		if (s->s.error) {
			err = done ? 0 : sock_take_error(&s->s);
			break;
		}
		if (s->s.shut & SHUT_RX)
			break;
		err = sock_wait(&s->s, EPOLLIN, sock_nonblock(&s->s, flags), deadline);
		if (err)
			break;
	}
	if (!done)
		m->ctllen = 0;
	return done ? (long)done : err;
}

long stream_ioctl(struct stream *s, u32 request, u64 arg)
{
	switch (request) {
	case FIONREAD:
		return s->state == STREAM_LISTENING ? -EINVAL : user_put_int(arg, (int)s->rx.used);
	case TIOCOUTQ:
		return s->state == STREAM_LISTENING ? -EINVAL : user_put_int(arg, s->peer ? (int)s->peer->rx.used : 0);
	default:
		return interface_ioctl(request, arg);
	}
}
