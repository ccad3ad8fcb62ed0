/*
 * unix.c: AF_UNIX sockets: making, connecting and closing them. Streams move
 * bytes (stream.c), datagrams and sequenced packets move messages
 * (unix_packet.c).
 */
#include "unix.h"

#include <asm/ioctls.h>

static const struct file_ops unix_ops;

static struct unix_sock *unix_new(int type, u32 flags)
{
	struct unix_sock *u = kzalloc(sizeof *u);
	if (!u)
		return NULL;
	struct file *f = file_new(&unix_ops, O_RDWR | flags, u);
	if (!f) {
		kfree(u);
		return NULL;
	}
	sock_init(&u->st.s, f, AF_UNIX, type, 0);
	return u;
}

static long check_type(int *type, int protocol)
{
	if (protocol && protocol != AF_UNIX)
		return -EPROTONOSUPPORT;
	if (*type == SOCK_RAW)
		*type = SOCK_DGRAM; /* unix(7) */
	return *type == SOCK_STREAM || *type == SOCK_DGRAM || *type == SOCK_SEQPACKET ? 0 : -ESOCKTNOSUPPORT;
}

static struct file *unix_create(int type, int protocol, u32 flags, long *err)
{
	*err = check_type(&type, protocol);
	if (*err)
		return NULL;
	struct unix_sock *u = unix_new(type, flags);
	if (!u) {
		*err = -ENOMEM;
		return NULL;
	}
	return u->st.s.file;
}

static void join(struct unix_sock *a, struct unix_sock *b)
{
	if (unix_is_stream(a)) {
		stream_join(&a->st, &b->st);
		return;
	}
	a->st.state = b->st.state = STREAM_CONNECTED;
	packet_join(a, b);
	packet_join(b, a);
}

static long unix_pair(int type, int protocol, u32 flags, struct file *out[2])
{
	long err = check_type(&type, protocol);
	if (err)
		return err;
	struct unix_sock *a = unix_new(type, flags), *b = a ? unix_new(type, flags) : NULL;
	if (!b) {
		if (a)
			file_put(a->st.s.file);
		return -ENOMEM;
	}
	join(a, b);
	out[0] = a->st.s.file;
	out[1] = b->st.s.file;
	return 0;
}

/* The other end of a connection, of any type. */
static struct unix_sock *peer_of(const struct unix_sock *u)
{
	return u->st.peer ? container_of(u->st.peer, struct unix_sock, st) : u->peer;
}

/* ---- connecting ---------------------------------------------------------------------- */

static long connect_dgram(struct unix_sock *u, const struct sockaddr_k *a, u32 len)
{
	u->peer_died = false;
	if (a->family == AF_UNSPEC) {
		packet_part(u);
		u->st.state = STREAM_IDLE;
		return 0;
	}
	long err;
	struct unix_sock *to = unix_find(a, len, SOCK_DGRAM, &err);
	if (!to)
		return err;
	if (to->peer && to->peer != u)
		return -EPERM;
	packet_join(u, to);
	u->st.state = STREAM_CONNECTED;
	return 0;
}

static long connect_to(struct unix_sock *u, struct unix_sock *l)
{
	struct unix_sock *child = unix_new(u->st.s.type, 0);
	if (!child)
		return -ENOMEM;
	if (unix_copy_name(child, l)) {
		file_put(child->st.s.file);
		return -ENOMEM;
	}
	child->st.s.opts = l->st.s.opts & 1u << SO_PASSCRED;
	join(u, child);
	listener_add(&l->st, &child->st);
	return 0;
}

static long unix_connect(struct file *f, const struct sockaddr_k *a, u32 len)
{
	struct unix_sock *u = unix_of(f);
	struct sock *s = &u->st.s;
	if (unix_is_dgram(u))
		return connect_dgram(u, a, len);
	u64 deadline = sock_deadline(s->sndtimeo);
	for (;;) {
		if (u->st.state != STREAM_IDLE)
			return u->st.state == STREAM_CONNECTED ? -EISCONN : -EINVAL;
		long err;
		struct unix_sock *l = unix_find(a, len, s->type, &err);
		if (!l)
			return err;
		if (l->st.state != STREAM_LISTENING || l->st.s.shut & SHUT_RX)
			return -ECONNREFUSED;
		if (!listener_full(l->st.listener))
			return connect_to(u, l);
		if (sock_nonblock(s, 0))
			return -EAGAIN;
		err = wait_on(&l->st.listener->space, deadline); /* drained when the listener goes */
		if (err)
			return err == -ETIMEDOUT ? -EAGAIN : deadline == NO_DEADLINE ? err : -EINTR;
	}
}

static long unix_listen(struct file *f, int backlog)
{
	struct unix_sock *u = unix_of(f);
	if (unix_is_dgram(u))
		return -EOPNOTSUPP;
	if (!u->namelen || (u->st.state != STREAM_IDLE && u->st.state != STREAM_LISTENING))
		return -EINVAL;
	return stream_listen(&u->st, backlog);
}

static struct file *unix_accept(struct file *f, long *err)
{
	if (unix_is_dgram(unix_of(f))) {
		*err = -EOPNOTSUPP;
		return NULL;
	}
	return stream_accept(&unix_of(f)->st, err);
}

static long unix_shutdown(struct file *f, int how)
{
	struct unix_sock *u = unix_of(f), *peer = peer_of(u);
	u8 bits = how == SHUT_RD ? SHUT_RX : how == SHUT_WR ? SHUT_TX : SHUT_BOTH;
	if (u->st.state == STREAM_IDLE && !unix_is_dgram(u))
		return 0; /* nothing is open yet that could be shut */
	u->st.s.shut |= bits;
	if (peer && !unix_is_dgram(u)) {
		peer->st.s.shut |= (u8)((bits & SHUT_RX ? SHUT_TX : 0) | (bits & SHUT_TX ? SHUT_RX : 0));
		wake_all(&peer->st.s.file->wq);
	}
	wake_all(&f->wq);
	return 0;
}

static void unix_release(struct file *f)
{
	struct unix_sock *u = unix_of(f), *peer = peer_of(u);
	unix_unbind(u);
	listener_close(&u->st);
	if (peer && !unix_is_dgram(u)) {
		peer->st.s.shut = SHUT_BOTH;
		if (u->st.rx.used || u->q.head || u->st.embryo)
			sock_fail(&peer->st.s, ECONNRESET);
		peer->st.peer = NULL;
		wake_all(&peer->st.s.file->wq);
	}
	packet_close(u);
	stream_clear(&u->st);
	kfree(u);
}

/* ---- data ------------------------------------------------------------------------------ */

static long unix_sendmsg(struct file *f, const struct msghdr_k *m, int flags)
{
	struct unix_sock *u = unix_of(f);
	if (!unix_is_stream(u))
		return packet_send(u, m, flags);
	if (flags & MSG_OOB)
		return -EOPNOTSUPP;
	if (m->name)
		return u->st.state == STREAM_CONNECTED ? -EISCONN : -EOPNOTSUPP;
	if (u->st.state != STREAM_CONNECTED)
		return -ENOTCONN;
	struct rights *r = NULL;
	long err = scm_parse(m, &r);
	return err ? err : stream_send(&u->st, m, flags, r);
}

static long unix_recvmsg(struct file *f, struct msghdr_k *m, int flags)
{
	struct unix_sock *u = unix_of(f);
	if (!unix_is_dgram(u) && u->st.state != STREAM_CONNECTED)
		return unix_is_stream(u) ? -EINVAL : -ENOTCONN;
	if (unix_is_stream(u))
		return stream_recv(&u->st, m, flags);
	return msgq_recv(&u->st.s, &u->q, &u->space, m, flags);
}

static u32 unix_poll(struct file *f)
{
	struct unix_sock *u = unix_of(f);
	const struct sock *s = &u->st.s;
	if (unix_is_stream(u) || (!unix_is_dgram(u) && u->st.state != STREAM_CONNECTED))
		return stream_poll(&u->st);
	u32 mask = (s->error ? EPOLLERR : 0) | (s->shut == SHUT_BOTH ? EPOLLHUP : 0);
	if (s->shut & SHUT_RX)
		mask |= EPOLL_READ | EPOLLRDHUP;
	if (u->q.head)
		mask |= EPOLL_READ;
	if (packet_writable(u))
		mask |= EPOLL_WRITE;
	return mask;
}

static long unix_ioctl(struct file *f, u32 request, u64 arg)
{
	struct unix_sock *u = unix_of(f);
	if (unix_is_stream(u) || request != FIONREAD)
		return stream_ioctl(&u->st, request, arg);
	u32 bytes = 0; /* the first datagram, or all packets: unix_inq_len() */
	for (struct msg *m = u->q.head; m; m = unix_is_dgram(u) ? NULL : m->next)
		bytes += m->len;
	return user_put_int(arg, (int)bytes);
}

/* ---- names and options ------------------------------------------------------------------ */

static long unix_getname(struct file *f, struct sockaddr_k *a, bool peer)
{
	static const struct unix_sock unnamed; /* a peer that was closed */
	const struct unix_sock *u = unix_of(f);
	if (!peer)
		return (long)unix_put_name(u, a);
	if (!peer_of(u) && (unix_is_dgram(u) || u->st.state != STREAM_CONNECTED))
		return -ENOTCONN;
	return (long)unix_put_name(peer_of(u) ? peer_of(u) : &unnamed, a);
}

static long unix_setsockopt(struct file *f, int level, int opt, const void *v, u32 len)
{
	struct unix_sock *u = unix_of(f);
	if (level != SOL_SOCKET)
		return -EOPNOTSUPP;
	bool full = msgq_full(&u->q, &u->st.s);
	long err = sock_setsockopt(&u->st.s, opt, v, len);
	if (full && !msgq_full(&u->q, &u->st.s))
		wake_all(&u->space);
	return err;
}

static long unix_getsockopt(struct file *f, int level, int opt, void *v, u32 *len)
{
	struct unix_sock *u = unix_of(f);
	if (level != SOL_SOCKET)
		return -EOPNOTSUPP;
	if (opt == SO_PEERCRED && u->st.state != STREAM_IDLE) {
		u32 program[3] = {1, cred.euid, cred.egid}; /* struct ucred: pid, uid, gid of the one process */
		return opt_put(v, len, program, sizeof program);
	}
	return sock_getsockopt(&u->st.s, opt, u->st.state == STREAM_LISTENING, v, len);
}

static const struct sock_ops unix_sock_ops = {
	.bind = unix_bind,
	.connect = unix_connect,
	.listen = unix_listen,
	.accept = unix_accept,
	.sendmsg = unix_sendmsg,
	.recvmsg = unix_recvmsg,
	.shutdown = unix_shutdown,
	.getname = unix_getname,
	.setsockopt = unix_setsockopt,
	.getsockopt = unix_getsockopt,
};

static const struct file_ops unix_ops = {
	.name = "unix",
	.read = sock_read,
	.write = sock_write,
	.stat = sock_stat,
	.ioctl = unix_ioctl,
	.poll = unix_poll,
	.release = unix_release,
	.sock = &unix_sock_ops,
};

const struct sock_family unix_family = {.family = AF_UNIX, .create = unix_create, .pair = unix_pair};
