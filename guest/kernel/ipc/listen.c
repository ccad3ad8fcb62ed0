/*
 * listen.c: listening stream sockets: the queue of connections that wait to be
 * accepted, for AF_UNIX and TCP.
 */
#include "ipc.h"

long stream_listen(struct stream *s, int backlog)
{
	u32 limit = MIN((u32)backlog, SOMAXCONN); /* a negative one is huge */
	s->s.shut = 0; /* listens again after shutdown */
	if (s->listener) {
		bool full = listener_full(s->listener);
		s->listener->backlog = limit;
		if (full && !listener_full(s->listener))
			wake_all(&s->listener->space);
		return 0;
	}
	struct listener *l = kzalloc(sizeof *l);
	if (!l)
		return -ENOMEM;
	list_init(&l->ready);
	list_init(&l->pending);
	l->backlog = limit;
	s->listener = l;
	s->state = STREAM_LISTENING;
	return 0;
}

void listener_add(struct stream *l, struct stream *child)
{
	child->embryo = true;
	list_add_tail(&l->listener->ready, &child->link);
	l->listener->queued++;
	wake_all(&l->s.file->wq);
}

struct file *stream_accept(struct stream *s, long *err)
{
	u64 deadline = sock_deadline(s->s.rcvtimeo);
	for (;;) {
		if (s->state != STREAM_LISTENING || s->s.shut & SHUT_RX) {
			*err = -EINVAL;
			return NULL;
		}
		if (s->listener->queued)
			break;
		*err = sock_wait(&s->s, EPOLLIN, sock_nonblock(&s->s, 0), deadline);
		if (*err)
			return NULL;
	}
	struct stream *child = container_of(s->listener->ready.next, struct stream, link);
	list_del(&child->link);
	child->embryo = false;
	bool full = listener_full(s->listener);
	s->listener->queued--;
	if (full && !listener_full(s->listener))
		wake_all(&s->listener->space);
	return child->s.file;
}

void listener_close(struct stream *s)
{
	struct listener *l = s->listener;
	if (!l)
		return;
	while (!list_empty(&l->ready)) {
		struct stream *child = container_of(l->ready.next, struct stream, link);
		list_del(&child->link);
		file_put(child->s.file); /* still an embryo: resets its peer */
	}
	while (!list_empty(&l->pending)) {
		struct stream *waiting = container_of(l->pending.next, struct stream, link);
		list_del(&waiting->link);
		waiting->state = STREAM_IDLE;
		sock_fail(&waiting->s, ECONNREFUSED);
		wake_all(&waiting->s.file->wq);
	}
	waitq_drain(&l->space);
	kfree(l);
	s->listener = NULL;
}
