/*
 * unix_packet.c: AF_UNIX messages: datagrams and sequenced packets. A
 * receiver's queue is bounded by its SO_RCVBUF; senders wait on its "space"
 * queue, where each connected sender also waits on behalf of its own poll.
 */
#include "unix.h"

static void space_notify(struct waiter *w)
{
	struct unix_sock *u = container_of(w, struct unix_sock, peer_wait);
	wake_all(&u->st.s.file->wq);
}

void packet_join(struct unix_sock *u, struct unix_sock *peer)
{
	packet_part(u);
	u->peer = peer;
	u->peer_wait.notify = space_notify;
	waitq_add(&peer->space, &u->peer_wait);
}

void packet_part(struct unix_sock *u)
{
	if (u->peer)
		waitq_remove(&u->peer_wait);
	u->peer = NULL;
}

bool packet_writable(const struct unix_sock *u) { return !u->peer || !msgq_full(&u->peer->q, &u->peer->st.s); }

/* Where a send goes; NULL: *err. */
static struct unix_sock *target(struct unix_sock *u, const struct msghdr_k *m, long *err)
{
	*err = 0;
	if (!unix_is_dgram(u)) { /* packets ignore an address, as on Linux */
		if (!u->peer)
			*err = u->st.state == STREAM_CONNECTED ? -EPIPE : -ENOTCONN;
		return u->peer;
	}
	if (m->name) {
		struct unix_sock *to = unix_find(m->name, m->namelen, SOCK_DGRAM, err);
		if (to && to->peer && to->peer != u) { /* it talks to another only */
			*err = -EPERM;
			return NULL;
		}
		return to;
	}
	if (!u->peer)
		*err = u->peer_died ? -ECONNREFUSED : -ENOTCONN;
	u->peer_died = false;
	return u->peer;
}

static long send_message(struct unix_sock *u, const struct msghdr_k *m, u64 len, int flags, struct rights **r)
{
	struct sock *s = &u->st.s;
	u64 deadline = sock_deadline(s->sndtimeo);
	for (;;) {
		long err = sock_take_error(s);
		if (err)
			return err;
		if (s->shut & SHUT_TX)
			return -EPIPE;
		struct unix_sock *to = target(u, m, &err);
		if (!to)
			return err;
		if (to->st.s.shut & SHUT_RX)
			return -EPIPE;
		if (!msgq_full(&to->q, &to->st.s)) {
			struct sockaddr_k name;
			u32 namelen = u->namelen ? unix_put_name(u, &name) : 0;
			struct msg *msg = msg_new(&name, namelen, m, len);
			if (!msg)
				return -ENOMEM;
			msg->rights = *r;
			*r = NULL;
			msgq_add(&to->q, msg);
			wake_all(&to->st.s.file->wq);
			return (long)len;
		}
		if (sock_nonblock(s, flags))
			return -EAGAIN;
		/* A receiver that goes away drains this queue, which wakes us. */
		err = wait_on(&to->space, deadline);
		if (err)
			return err == -ETIMEDOUT ? -EAGAIN : deadline == NO_DEADLINE ? err : -EINTR;
	}
}

long packet_send(struct unix_sock *u, const struct msghdr_k *m, int flags)
{
	if (flags & MSG_OOB)
		return -EOPNOTSUPP;
	u64 len = iov_bytes(m->iov, m->iovlen);
	if (len + 32 > u->st.s.sndbuf) /* unix_dgram_sendmsg() of Linux */
		return -EMSGSIZE;
	struct rights *r = NULL;
	long err = scm_parse(m, &r);
	if (!err)
		err = send_message(u, m, len, flags, &r);
	rights_free(r);
	return err;
}

/* The socket goes away: whoever sends to it is told. */
void packet_close(struct unix_sock *u)
{
	packet_part(u);
	wake_all(&u->space);
	for (struct waiter *w; (w = u->space.head);) {
		if (w->notify != space_notify) {
			waitq_remove(w); /* a blocked sender; woken above, it runs later */
			continue;
		}
		struct unix_sock *sender = container_of(w, struct unix_sock, peer_wait);
		packet_part(sender);
		sender->peer_died = unix_is_dgram(u);
		wake_all(&sender->st.s.file->wq);
	}
	msgq_free(&u->q);
}
