/*
 * dgram.c: queues of whole messages, for AF_UNIX datagrams and packets and for
 * UDP.
 */
#include "ipc.h"

static u32 msg_bytes(const struct msg *m) { return (u32)sizeof *m + m->namelen + m->len; }

struct msg *msg_new(const void *name, u32 namelen, const struct msghdr_k *h, u64 len)
{
	struct msg *m = kmalloc(sizeof *m + namelen + len);
	if (!m)
		return NULL;
	*m = (struct msg){.namelen = namelen, .len = (u32)len};
	memcpy(m->bytes, name, namelen);
	iov_gather(h, m->bytes + namelen, len);
	return m;
}

void msg_free(struct msg *m)
{
	rights_free(m->rights);
	kfree(m);
}

void msgq_add(struct msgq *q, struct msg *m)
{
	if (q->tail)
		q->tail->next = m;
	else
		q->head = m;
	q->tail = m;
	q->bytes += msg_bytes(m);
}

static struct msg *pop(struct msgq *q)
{
	struct msg *m = q->head;
	q->head = m->next;
	if (!q->head)
		q->tail = NULL;
	q->bytes -= msg_bytes(m);
	return m;
}

void msgq_free(struct msgq *q)
{
	while (q->head)
		msg_free(pop(q));
}

static void deliver_control(struct sock *s, const struct msg *msg, struct msghdr_k *m, int flags)
{
	u64 cap = m->ctllen;
	m->ctllen = 0;
	if (sock_opt(s, SO_PASSCRED)) {
		u32 program[3] = {1, cred.uid, cred.gid}; /* struct ucred: pid, uid, gid */
		scm_put(m, cap, SCM_CREDENTIALS, program, sizeof program);
	}
	if (s->ancillary)
		inet_put_control(s, msg, m, cap);
	if (msg->rights)
		scm_put_rights(m, cap, msg->rights, flags);
}

long msgq_recv(struct sock *s, struct msgq *q, struct waitq *space, struct msghdr_k *m, int flags)
{
	if (flags & MSG_OOB)
		return -EOPNOTSUPP;
	if (flags & MSG_ERRQUEUE)
		return -EAGAIN;
	u64 deadline = sock_deadline(s->rcvtimeo);
	for (;;) {
		long e = sock_take_error(s);
		if (e)
			return e;
		if (q->head)
			break;
		if (s->shut & SHUT_RX) {
			m->namelen = 0;
			m->ctllen = 0;
			return 0;
		}
		e = sock_wait(s, EPOLLIN, sock_nonblock(s, flags), deadline);
		if (e)
			return e;
	}
	struct msg *msg = q->head;
	if (!(flags & MSG_PEEK)) {
		bool full = msgq_full(q, s);
		pop(q);
		if (space && full && !msgq_full(q, s))
			wake_all(space);
	}
	u64 room = iov_bytes(m->iov, m->iovlen), n = MIN(room, (u64)msg->len);
	iov_scatter(m, msg->bytes + msg->namelen, n);
	m->flags = n < msg->len ? MSG_TRUNC : 0;
	m->namelen = msg->namelen;
	if (m->name)
		memcpy(m->name, msg->bytes, msg->namelen);
	deliver_control(s, msg, m, flags);
	if (flags & MSG_TRUNC)
		n = msg->len;
	if (!(flags & MSG_PEEK))
		msg_free(msg);
	return (long)n;
}
