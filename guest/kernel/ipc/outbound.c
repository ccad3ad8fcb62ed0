/*
 * outbound.c: TCP connections to other machines: a stream to the monitor that
 * begins with the address wanted and the monitor's answer. Everything after it
 * is the connection's. One to the Runtime API, or to that of functions, is to the
 * monitor itself, and its stream's from the first byte.
 */
#include "outbound.h"

#define STATUS_BYTES ((u32)sizeof(u32))

/* As on Linux a connect that failed leaves no trace. */
static void forget(struct tcp *t)
{
	t->st.state = STREAM_IDLE;
	inet_disconnect(&t->in);
	if (t->autobound) {
		inet_unbind(&t->in);
		t->in.local.port = 0;
	}
}

static void failed(struct tcp *t, int error)
{
	struct vsock *out = t->out;
	t->out = NULL;
	host_stream_close(out, true);
	forget(t);
	sock_fail(&t->st.s, error);
}

static void connecting(struct tcp *t)
{
	if (t->served && host_stream_accepted(t->out)) {
		t->st.state = STREAM_CONNECTED;
		return;
	}
	if (host_stream_accepted(t->out) && !t->asked) {
		struct abi_net_request r = {.kind = ABI_NET_KIND_STREAM, .port = t->in.remote.port};
		inet_bytes(&t->in.remote, r.addr);
		t->asked = host_stream_put(t->out, &r, sizeof r) == sizeof r; /* a fresh stream has room */
		host_stream_announce();
	}
	if (host_stream_waiting(t->out) >= STATUS_BYTES) {
		u32 status;
		host_stream_take(t->out, &status, sizeof status, false);
		if (status)
			failed(t, (int)status);
		else
			t->st.state = STREAM_CONNECTED;
	} else if (host_stream_reset(t->out) || host_stream_ended(t->out)) {
		/* At once: there is no way out of the machine. On loopback nobody listens. */
		failed(t, t->asked ? ECONNRESET : t->in.remote.kind == INET_FOREIGN ? ENETUNREACH : ECONNREFUSED);
	}
}

void outbound_changed(struct file *f)
{
	struct tcp *t = tcp_of(f);
	struct sock *s = &t->st.s;
	if (t->st.state == STREAM_CONNECTING)
		connecting(t);
	if (t->st.state == STREAM_CONNECTED) {
		bool ended = host_stream_ended(t->out);
		if (host_stream_reset(t->out) && s->shut != SHUT_BOTH) {
			if (!t->st.fin || !(s->shut & SHUT_TX)) /* else it is the end that both have agreed on */
				sock_fail(s, t->st.fin ? EPIPE : ECONNRESET); /* Linux: tcp_reset */
			s->shut = SHUT_BOTH;
		} else if (ended) {
			s->shut |= SHUT_RX;
			t->st.fin = true;
		}
	}
	wake_all(&f->wq);
}

long outbound_connect(struct tcp *t, const struct inet_addr *to)
{
	purity_socket();
	t->out = host_stream_open(t->st.s.file, t->served ? t->served : ABI_NET_PORT, outbound_changed);
	if (!t->out) {
		forget(t);
		return to->kind == INET_FOREIGN ? -ENETUNREACH : -ECONNREFUSED;
	}
	t->asked = false;
	t->st.fin = false;
	t->st.state = STREAM_CONNECTING;
	inet_connect(&t->in, to);
	host_stream_kick();
	return 0;
}

long outbound_send(struct tcp *t, const struct msghdr_k *m, int flags)
{
	struct sock *s = &t->st.s;
	struct iov_cursor c = {m->iov, m->iovlen, 0};
	u64 deadline = sock_deadline(s->sndtimeo), done = 0, take;
	long err = 0;
	u8 *p;
	while (!err && (take = iov_next(&c, &p))) {
		if (s->error || s->shut & SHUT_TX) {
			if (!done) /* what was sent is reported first */
				err = sock_pipe_error(s, flags);
			break;
		}
		u32 n = host_stream_put(t->out, p, (u32)MIN(take, (u64)SOCK_BUF));
		c.off += n;
		done += n;
		if (n)
			continue;
		host_stream_kick(); /* the monitor may take something at once */
		if (!host_stream_room(t->out) && !s->error && !(s->shut & SHUT_TX))
			err = sock_wait(s, EPOLLOUT, sock_nonblock(s, flags), deadline);
	}
	if (done)
		host_stream_kick();
	return done ? (long)done : err;
}

long outbound_recv(struct tcp *t, struct msghdr_k *m, int flags)
{
	struct sock *s = &t->st.s;
	if (flags & MSG_OOB)
		return -EINVAL;
	if (flags & MSG_ERRQUEUE)
		return -EAGAIN;
	purity_socket();
	struct iov_cursor c = {m->iov, m->iovlen, 0};
	u64 want = iov_bytes(m->iov, m->iovlen), done = 0, deadline = sock_deadline(s->rcvtimeo), take;
	u64 target = flags & MSG_WAITALL ? want : MIN((u64)s->rcvlowat, want);
	bool peek = flags & MSG_PEEK;
	long err = 0;
	u8 *p;
	m->namelen = 0;
	m->ctllen = 0;
	m->flags = 0;
	while (!err) {
		while (host_stream_waiting(t->out) && (take = iov_next(&c, &p))) {
			u32 n = host_stream_take(t->out, p, (u32)MIN(take, (u64)SOCK_BUF), peek);
			c.off += n;
			done += n;
			if (peek) /* always from the start: the first buffer's worth */
				return (long)done;
		}
		if (done >= MAX(target, 1ull) || (done == want && host_stream_waiting(t->out)) || t->st.fin)
			break;
		if (s->error) {
			err = done ? 0 : sock_take_error(s);
			break;
		}
		if (s->shut & SHUT_RX)
			break;
		err = sock_wait(s, EPOLLIN, sock_nonblock(s, flags), deadline);
	}
	return done ? (long)done : err;
}

u32 outbound_poll(const struct tcp *t)
{
	const struct sock *s = &t->st.s;
	u32 mask = s->error ? EPOLLERR : 0;
	if (t->st.state == STREAM_CONNECTING)
		return mask;
	if (s->shut == SHUT_BOTH)
		mask |= EPOLLHUP;
	if (s->shut & SHUT_RX)
		mask |= EPOLL_READ | EPOLLRDHUP;
	if (host_stream_waiting(t->out))
		mask |= EPOLL_READ;
	if (s->shut & SHUT_TX || host_stream_room(t->out))
		mask |= EPOLL_WRITE;
	return mask;
}

void outbound_close(struct tcp *t)
{
	struct vsock *out = t->out;
	bool unread = t->st.state == STREAM_CONNECTING || t->st.embryo || host_stream_waiting(out); /* RFC 2525, 2.17 */
	t->out = NULL;
	host_stream_close(out, unread || t->st.s.linger == 0);
}
