/*
 * tcp.c: stream sockets of AF_INET and AF_INET6. On loopback a connection is two ends in
 * memory, so connecting ends at once, unless the listener's queue is full:
 * then the socket waits in the listener's pending list, as a SYN that is sent
 * again would.
 */
#include "inbound.h"
#include "outbound.h"
#include "tcp.h"

#include <asm/ioctls.h>

static struct list ports;
static const struct file_ops tcp_ops;

struct file *tcp_create(int family, u32 flags)
{
	struct tcp *t = kzalloc(sizeof *t);
	if (!t)
		return NULL;
	struct file *f = file_new(&tcp_ops, O_RDWR | flags, t);
	if (!f) {
		kfree(t);
		return NULL;
	}
	sock_init(&t->st.s, f, family, SOCK_STREAM, IPPROTO_TCP);
	inet_init(&t->in, &t->st.s);
	t->keep_idle = 7200, t->keep_interval = 75, t->keep_count = 9; /* tcp(7) */
	return f;
}

static bool listening(const struct inet *in)
{
	return container_of(in, struct tcp, in)->st.state == STREAM_LISTENING;
}

static long tcp_bind(struct file *f, const struct sockaddr_k *a, u32 len)
{
	struct tcp *t = tcp_of(f);
	struct inet_addr addr;
	long err = inet_parse(&t->in, a, len, &addr);
	if (err)
		return err;
	if (t->in.local.port || t->st.state != STREAM_IDLE)
		return -EINVAL;
	return inet_bind(&ports, &t->in, &addr, listening);
}

static void admit(struct tcp *l);

static long tcp_listen(struct file *f, int backlog)
{
	struct tcp *t = tcp_of(f);
	if (t->st.state != STREAM_IDLE && t->st.state != STREAM_LISTENING)
		return -EINVAL;
	if (t->st.state == STREAM_IDLE && t->in.local.port) {
		/* SO_REUSEADDR let two sockets have the port; only one may listen. */
		struct list *head = inet_ports(&ports);
		for (struct list *l = head->next; l != head; l = l->next) {
			const struct inet *o = container_of(l, struct inet, bound);
			bool share = sock_opt(&t->st.s, SO_REUSEPORT) && sock_opt(o->s, SO_REUSEPORT);
			if (o != &t->in && listening(o) && inet_overlap(&t->in, &t->in.local, o) && !share)
				return -EADDRINUSE;
		}
	}
	if (!t->in.local.port) {
		long err = inet_autobind(&ports, &t->in);
		if (err)
			return -EADDRINUSE;
	}
	long err = stream_listen(&t->st, backlog);
	if (!err) {
		t->st.s.error = 0; /* of a connect that was refused: accept would look for its end for ever */
		t->unreported = false;
		admit(t); /* the backlog may have grown */
	}
	return err;
}

/* ---- connecting -------------------------------------------------------------------- */

/* Who listens: the best match; among equals (SO_REUSEPORT) the shortest queue. */
struct tcp *tcp_listener(const struct inet_addr *to)
{
	struct tcp *best = NULL;
	int best_match = 0;
	struct list *head = inet_ports(&ports);
	for (struct list *l = head->next; l != head; l = l->next) {
		struct tcp *t = container_of(container_of(l, struct inet, bound), struct tcp, in);
		if (t->st.state != STREAM_LISTENING || t->st.s.shut & SHUT_RX)
			continue;
		int match = inet_match(&t->in, to);
		if (match > best_match || (match && match == best_match && t->st.listener->queued < best->st.listener->queued)) {
			best = t;
			best_match = match;
		}
	}
	return best;
}

struct tcp *tcp_child(const struct tcp *l, const struct inet_addr *local, const struct inet_addr *remote)
{
	struct file *f = tcp_create(l->st.s.family, 0);
	if (!f)
		return NULL;
	struct tcp *child = tcp_of(f);
	child->in.local = *local;
	child->in.remote = *remote;
	child->in.v6only = l->in.v6only;
	child->nodelay = l->nodelay;
	child->st.s.opts = l->st.s.opts;
	child->st.s.linger = l->st.s.linger;
	child->st.s.sndbuf = l->st.s.sndbuf;
	child->st.s.rcvbuf = l->st.s.rcvbuf;
	return child;
}

static long establish(struct tcp *t, struct tcp *l)
{
	struct tcp *child = tcp_child(l, &t->in.remote, &t->in.local);
	if (!child)
		return -ENOMEM;
	stream_join(&t->st, &child->st);
	listener_add(&l->st, &child->st);
	return 0;
}

/* The monitor's port that a TCP port of loopback, where nobody in the guest listens, leads to;
 * 0: none. */
static u32 served_by(u16 port)
{
	return port == ABI_RUNTIME_API_TCP ? ABI_RUNTIME_API_PORT : port == ABI_FUNCTION_API_TCP ? ABI_FUNCTION_API_PORT : 0;
}

static long start(struct tcp *t, const struct sockaddr_k *a, u32 len)
{
	struct inet_addr to;
	long err = inet_parse(&t->in, a, len, &to);
	if (!err)
		err = inet_destination(&t->in, &to);
	if (err)
		return err;
	struct tcp *l = to.kind == INET_FOREIGN ? NULL : tcp_listener(&to);
	t->served = !l && to.kind != INET_FOREIGN ? served_by(to.port) : 0;
	bool outbound = t->served || to.kind == INET_FOREIGN || (!l && to.port == ABI_NET_DNS_PORT);
	if (!l && !outbound)
		return -ECONNREFUSED;
	t->autobound = !t->in.local.port;
	if (t->autobound && (err = inet_autobind(&ports, &t->in)))
		return err;
	if (outbound)
		return outbound_connect(t, &to);
	inet_connect(&t->in, &to);
	if (!listener_full(l->st.listener)) {
		err = establish(t, l);
	} else {
		t->st.state = STREAM_CONNECTING;
		list_add_tail(&l->st.listener->pending, &t->st.link);
	}
	return err;
}

static void cut(struct tcp *t);

static long disconnect(struct tcp *t)
{
	if (t->st.state == STREAM_LISTENING)
		return -EINVAL;
	cut(t);
	stream_clear(&t->st);
	t->st.state = STREAM_IDLE;
	t->st.s.shut = 0;
	t->st.s.error = 0;
	t->unreported = false;
	t->st.fin = false;
	inet_disconnect(&t->in);
	wake_all(&t->st.s.file->wq); /* EPOLLHUP */
	return 0;
}

static long tcp_connect(struct file *f, const struct sockaddr_k *a, u32 len)
{
	struct tcp *t = tcp_of(f);
	struct sock *s = &t->st.s;
	if (a->family == AF_UNSPEC)
		return disconnect(t);
	bool nonblock = sock_nonblock(s, 0);
	switch (t->st.state) {
	case STREAM_LISTENING:
		return -EISCONN;
	case STREAM_CONNECTED: {
		bool unreported = t->unreported;
		t->unreported = false;
		return unreported ? 0 : -EISCONN;
	}
	case STREAM_CONNECTING:
		if (nonblock)
			return -EALREADY;
		break;
	case STREAM_IDLE: {
		if (t->unreported) { /* refused, while the program went on */
			t->unreported = false;
			long failed = sock_take_error(s);
			if (failed)
				return failed;
		}
		long err = start(t, a, len);
		if (err && (err != -ECONNREFUSED || !nonblock))
			return err;
		if (nonblock) {
			/* As on Linux, where the answer comes behind the call even on loopback. */
			t->unreported = true;
			if (err)
				sock_fail(s, ECONNREFUSED);
			wake_all(&f->wq);
			return -EINPROGRESS;
		}
	}
	}
	while (t->st.state == STREAM_CONNECTING) {
		long err = sock_wait(s, EPOLLOUT, nonblock, sock_deadline(s->sndtimeo));
		if (err)
			return err == -EAGAIN ? -EINPROGRESS : err;
	}
	return t->st.state == STREAM_CONNECTED ? 0 : sock_take_error(s);
}

/* ---- what the monitor may know ------------------------------------------------------ */

void tcp_publish_listeners(void)
{
	u32 n = 0;
	if (!list_linked(&ports))
		return; /* no socket was ever bound */
	for (struct list *l = ports.next; l != &ports && n < ABI_LISTENERS_MAX; l = l->next) {
		const struct tcp *t = container_of(container_of(l, struct inet, bound), struct tcp, in);
		if (t->st.state != STREAM_LISTENING || t->st.s.shut & SHUT_RX)
			continue;
		u16 flags = file_waited(t->st.s.file) ? ABI_LISTENER_WAITED : 0;
		control->listeners[n++] = (struct abi_listener){t->in.local.port, flags | (inbound_reaches(t) ? ABI_LISTENER_INBOUND : 0), t->st.listener->queued};
	}
	control->listener_count = n;
}

/* A place in the queue is free: the first that waits for it is connected. */
static void admit(struct tcp *l)
{
	struct listener *q = l->st.listener;
	while (!listener_full(q) && !list_empty(&q->pending)) {
		struct tcp *t = container_of(container_of(q->pending.next, struct stream, link), struct tcp, st);
		list_del(&t->st.link);
		if (establish(t, l)) {
			t->st.state = STREAM_IDLE;
			sock_fail(&t->st.s, ENOMEM);
		}
		wake_all(&t->st.s.file->wq);
	}
}

static struct file *tcp_accept(struct file *f, long *err)
{
	struct tcp *l = tcp_of(f);
	struct file *nf = stream_accept(&l->st, err);
	if (nf)
		admit(l);
	return nf;
}

/* ---- ending -------------------------------------------------------------------------- */

/* Ends the connection: in order, or with a reset if data was not read (RFC 2525, 2.17). */
static void cut(struct tcp *t)
{
	if (t->out) {
		outbound_close(t);
		return;
	}
	struct stream *peer = t->st.peer;
	if (t->st.state == STREAM_CONNECTING)
		list_del(&t->st.link);
	if (!peer)
		return;
	if (t->st.rx.used || t->st.embryo || t->st.s.linger == 0) {
		sock_fail(&peer->s, peer->fin ? EPIPE : ECONNRESET); /* Linux: net/ipv4/tcp_input.c, tcp_reset */
		peer->s.shut = SHUT_BOTH;
	} else {
		peer->s.shut |= SHUT_RX;
		peer->fin = true;
	}
	peer->peer = NULL;
	t->st.peer = NULL;
	wake_all(&peer->s.file->wq);
}

static long tcp_shutdown(struct file *f, int how)
{
	struct tcp *t = tcp_of(f);
	struct stream *s = &t->st;
	if (s->state == STREAM_LISTENING && how != SHUT_WR) {
		s->s.shut |= SHUT_RX; /* stops listening; accept answers EINVAL */
		wake_all(&f->wq);
		return 0;
	}
	if (s->state != STREAM_CONNECTED)
		return -ENOTCONN;
	if (how != SHUT_WR)
		s->s.shut |= SHUT_RX;
	if (how != SHUT_RD && !(s->s.shut & SHUT_TX)) {
		s->s.shut |= SHUT_TX;
		if (t->out) {
			host_stream_shutdown(t->out);
		} else if (s->peer) {
			s->peer->s.shut |= SHUT_RX;
			s->peer->fin = true;
			wake_all(&s->peer->s.file->wq);
		}
	}
	wake_all(&f->wq);
	return 0;
}

static void tcp_release(struct file *f)
{
	struct tcp *t = tcp_of(f);
	inet_unbind(&t->in);
	listener_close(&t->st);
	cut(t);
	stream_clear(&t->st);
	kfree(t);
}

/* ---- data ------------------------------------------------------------------------------ */

static long tcp_sendmsg(struct file *f, const struct msghdr_k *m, int flags)
{
	struct tcp *t = tcp_of(f);
	struct sock *s = &t->st.s;
	if (flags & (MSG_OOB | MSG_FASTOPEN))
		return -EOPNOTSUPP;
	while (t->st.state == STREAM_CONNECTING) {
		long err = sock_wait(s, EPOLLOUT, sock_nonblock(s, flags), sock_deadline(s->sndtimeo));
		if (err)
			return err;
	}
	if (t->st.state != STREAM_CONNECTED)
		return sock_pipe_error(s, flags);
	return t->out ? outbound_send(t, m, flags) : stream_send(&t->st, m, flags, NULL);
}

static long tcp_recvmsg(struct file *f, struct msghdr_k *m, int flags)
{
	struct tcp *t = tcp_of(f);
	struct sock *s = &t->st.s;
	while (t->st.state == STREAM_CONNECTING) {
		long err = sock_wait(s, EPOLLIN, sock_nonblock(s, flags), sock_deadline(s->rcvtimeo));
		if (err)
			return err;
		if (s->error)
			return sock_take_error(s);
	}
	if (t->st.state != STREAM_CONNECTED)
		return -ENOTCONN;
	return t->out ? outbound_recv(t, m, flags) : stream_recv(&t->st, m, flags);
}

static u32 tcp_poll(struct file *f)
{
	const struct tcp *t = tcp_of(f);
	return t->out ? outbound_poll(t) : stream_poll(&t->st);
}

static long tcp_ioctl(struct file *f, u32 request, u64 arg)
{
	struct tcp *t = tcp_of(f);
	if (t->out && t->st.state == STREAM_CONNECTED && (request == FIONREAD || request == TIOCOUTQ))
		return user_put_int(arg, (int)(request == FIONREAD ? host_stream_waiting(t->out) : host_stream_sending(t->out)));
	return stream_ioctl(&t->st, request, arg);
}

/* ---- the operations ------------------------------------------------------------------- */

static long tcp_getname(struct file *f, struct sockaddr_k *a, bool peer)
{
	struct tcp *t = tcp_of(f);
	bool alone = t->out ? host_stream_reset(t->out) : !t->st.peer;
	if (peer && (t->st.state != STREAM_CONNECTED || (alone && t->st.s.shut == SHUT_BOTH))) /* closed */
		return -ENOTCONN;
	return inet_put(t->st.s.family, peer ? &t->in.remote : &t->in.local, a);
}

static const struct sock_ops tcp_sock_ops = {
	.bind = tcp_bind,
	.connect = tcp_connect,
	.listen = tcp_listen,
	.accept = tcp_accept,
	.sendmsg = tcp_sendmsg,
	.recvmsg = tcp_recvmsg,
	.shutdown = tcp_shutdown,
	.getname = tcp_getname,
	.setsockopt = tcp_setsockopt,
	.getsockopt = tcp_getsockopt,
};

static const struct file_ops tcp_ops = {
	.name = "tcp",
	.read = sock_read,
	.write = sock_write,
	.stat = sock_stat,
	.ioctl = tcp_ioctl,
	.poll = tcp_poll,
	.release = tcp_release,
	.sock = &tcp_sock_ops,
};
