/*
 * epoll.c: interest lists that learn from the watched files' wait queues which
 * of them are ready, so that a wait looks at ready files only.
 *
 * An item waits on the file's queue without holding a reference. When the last
 * reference goes, file_put() wakes the queue with refs == 0 and the item
 * removes itself. An item is looked up by walking its file's queue, which
 * holds few waiters; there is no other index.
 */
#include "calls.h"
#include "ipc.h"

/* Bits of an item's events that are not a poll mask. */
#define MODE_BITS ((u32)EPOLLET | EPOLLONESHOT | EPOLLWAKEUP | EPOLLEXCLUSIVE)
#define EXCLUSIVE_OK ((u32)EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE)
#define MAX_NESTS 4                                          /* EP_MAX_NESTS, fs/eventpoll.c */
#define MAX_EVENTS (0x7fffffff / sizeof(struct epoll_event)) /* EP_MAX_EVENTS */

struct epoll {
	struct file *file;
	struct list items, ready;
	struct waitq waiting; /* threads in epoll_wait; poll and outer sets use file->wq */
};
struct item {
	struct waiter waiter; /* on file->wq */
	struct epoll *ep;
	struct file *file;    /* not a reference */
	struct list all, ready;
	int fd;
	u32 events;           /* mask and MODE_BITS; mask 0: a one-shot that was delivered */
	u64 data;
};

static u32 item_mask(const struct item *it)
{
	u32 want = it->events & ~MODE_BITS;
	return want ? poll_mask(it->file) & want : 0;
}

static void item_free(struct item *it)
{
	waitq_remove(&it->waiter);
	list_del(&it->all);
	if (list_linked(&it->ready))
		list_del(&it->ready);
	kfree(it);
}

/* The item is ready: who waits for the set hears of it, also when it was known. */
static void item_ready(struct item *it)
{
	struct epoll *ep = it->ep;
	if (!list_linked(&it->ready))
		list_add_tail(&ep->ready, &it->ready);
	wake_one(&ep->waiting);
	wake_all(&ep->file->wq);
}

static void item_notify(struct waiter *w)
{
	struct item *it = container_of(w, struct item, waiter);
	if (it->file->refs == 0)
		item_free(it);
	else if (item_mask(it))
		item_ready(it);
}

/* Readable if a ready item still is; others leave the list. */
static u32 epoll_poll(struct file *f)
{
	struct epoll *ep = f->priv;
	while (!list_empty(&ep->ready)) {
		struct item *it = container_of(ep->ready.next, struct item, ready);
		if (item_mask(it))
			return EPOLL_READ;
		list_del(&it->ready);
	}
	return 0;
}

static void epoll_release(struct file *f)
{
	struct epoll *ep = f->priv;
	while (!list_empty(&ep->items))
		item_free(container_of(ep->items.next, struct item, all));
	kfree(ep);
}

static const struct file_ops epoll_ops = {.name = "eventpoll", .poll = epoll_poll, .release = epoll_release};

long sys_epoll_create1(int flags)
{
	if (flags & ~EPOLL_CLOEXEC)
		return -EINVAL;
	struct epoll *ep = kzalloc(sizeof *ep);
	if (!ep)
		return -ENOMEM;
	list_init(&ep->items);
	list_init(&ep->ready);
	ep->file = file_new(&epoll_ops, O_RDWR, ep);
	if (!ep->file) {
		kfree(ep);
		return -ENOMEM;
	}
	return fd_install(ep->file, flags & EPOLL_CLOEXEC, 0);
}

long sys_epoll_create(int size) { return size > 0 ? sys_epoll_create1(0) : -EINVAL; }

/* ---- epoll_ctl -------------------------------------------------------------------- */

/* Sets below f, f included; more than MAX_NESTS: too many, or a loop. */
static int depth_below(struct file *f, struct epoll *forbidden, int level)
{
	struct epoll *ep = f->priv;
	if (f->ops != &epoll_ops)
		return 0;
	if (ep == forbidden || level > MAX_NESTS)
		return MAX_NESTS + 1;
	int deepest = 0;
	for (struct list *l = ep->items.next; l != &ep->items; l = l->next)
		deepest = MAX(deepest, depth_below(container_of(l, struct item, all)->file, forbidden, level + 1));
	return deepest + 1;
}

/* Sets above ep. */
static int depth_above(struct epoll *ep, int level)
{
	int deepest = 0;
	struct waiter *w = ep->file->wq.head;
	if (!w || level > MAX_NESTS)
		return 0;
	do {
		if (w->notify == item_notify)
			deepest = MAX(deepest, 1 + depth_above(container_of(w, struct item, waiter)->ep, level + 1));
		w = w->next;
	} while (w != ep->file->wq.head);
	return deepest;
}

static struct item *find(struct epoll *ep, struct file *f, int fd)
{
	struct waiter *w = f->wq.head;
	if (!w)
		return NULL;
	do {
		struct item *it = container_of(w, struct item, waiter);
		if (w->notify == item_notify && it->ep == ep && it->fd == fd)
			return it;
		w = w->next;
	} while (w != f->wq.head);
	return NULL;
}

static void watch(struct item *it, const struct epoll_event *ev)
{
	it->events = (ev->events & ~(u32)EPOLLWAKEUP) | EPOLLERR | EPOLLHUP;
	it->data = ev->data;
	if (item_mask(it))
		item_ready(it);
}

static long add(struct epoll *ep, struct file *f, int fd, const struct epoll_event *ev)
{
	if (f->ops == &epoll_ops && depth_below(f, ep, 0) + depth_above(ep, 0) > MAX_NESTS)
		return -ELOOP;
	struct item *it = kzalloc(sizeof *it);
	if (!it)
		return -ENOMEM;
	it->ep = ep;
	it->file = f;
	it->fd = fd;
	it->waiter.notify = item_notify;
	waitq_add(&f->wq, &it->waiter);
	list_add_tail(&ep->items, &it->all);
	watch(it, ev);
	return 0;
}

static struct epoll *epoll_of(struct file *f) { return f->ops == &epoll_ops ? f->priv : NULL; }

long sys_epoll_ctl(int epfd, int op, int fd, const struct epoll_event *event)
{
	struct epoll_event ev = {0};
	if (op != EPOLL_CTL_DEL) {
		if (!user_readable(event, sizeof ev))
			return -EFAULT;
		ev = *event;
	}
	struct file *set = fd_get(epfd), *f = fd_get(fd);
	if (!set || !f)
		return -EBADF;
	if (!f->ops->poll)
		return -EPERM; /* always ready: nothing to wait for */
	struct epoll *ep = epoll_of(set);
	if (!ep || set == f)
		return -EINVAL;
	bool exclusive = ev.events & EPOLLEXCLUSIVE;
	if (exclusive && (op != EPOLL_CTL_ADD || epoll_of(f) || ev.events & ~EXCLUSIVE_OK))
		return -EINVAL;
	struct item *it = find(ep, f, fd);
	switch (op) {
	case EPOLL_CTL_ADD:
		return it ? -EEXIST : add(ep, f, fd, &ev);
	case EPOLL_CTL_MOD:
		if (!it)
			return -ENOENT;
		if (it->events & EPOLLEXCLUSIVE)
			return -EINVAL;
		watch(it, &ev);
		return 0;
	case EPOLL_CTL_DEL:
		if (!it)
			return -ENOENT;
		item_free(it);
		return 0;
	default:
		return -EINVAL;
	}
}

bool file_waited(const struct file *f)
{
	struct waiter *w = f->wq.head;
	if (!w)
		return false;
	do {
		const struct epoll *ep = w->notify == item_notify ? container_of(w, struct item, waiter)->ep : NULL;
		if (!w->notify || (ep && (ep->waiting.head || file_waited(ep->file)))) /* at most MAX_NESTS deep */
			return true;
		w = w->next;
	} while (w != f->wq.head);
	return false;
}

/* ---- epoll_wait ---------------------------------------------------------------------- */

static int collect(struct epoll *ep, struct epoll_event *events, int max)
{
	struct list again; /* level-triggered: looked at again by the next wait */
	list_init(&again);
	int n = 0;
	while (n < max && !list_empty(&ep->ready)) {
		struct item *it = container_of(ep->ready.next, struct item, ready);
		list_del(&it->ready);
		u32 mask = item_mask(it);
		if (!mask)
			continue;
		events[n++] = (struct epoll_event){.events = mask, .data = it->data};
		if (it->events & EPOLLONESHOT)
			it->events &= MODE_BITS;
		else if (!(it->events & EPOLLET))
			list_add_tail(&again, &it->ready);
	}
	while (!list_empty(&again)) {
		struct list *l = again.next;
		list_del(l);
		list_add_tail(&ep->ready, l);
	}
	if (!list_empty(&ep->ready))
		wake_one(&ep->waiting); /* another thread may take the rest */
	return n;
}

static long wait_held(struct epoll *ep, struct epoll_event *events, int max, bool block, u64 deadline)
{
	for (;;) {
		int n = collect(ep, events, max);
		if (n || !block)
			return n;
		long r = wait_on(&ep->waiting, deadline);
		if (r == -ETIMEDOUT)
			return collect(ep, events, max);
		if (r)
			return -EINTR; /* never restarted: signal(7) */
	}
}

static long epoll_wait(int epfd, struct epoll_event *events, int max, bool block, u64 deadline)
{
	if (max <= 0 || (u64)max > MAX_EVENTS)
		return -EINVAL;
	if (!user_writable(events, (u64)max * sizeof *events))
		return -EFAULT;
	struct file *f = fd_get(epfd);
	if (!f)
		return -EBADF;
	struct epoll *ep = epoll_of(f);
	if (!ep)
		return -EINVAL;
	file_get(f);
	long r = wait_held(ep, events, max, block, deadline);
	file_put(f);
	return r;
}

static long epoll_pwait(int epfd, struct epoll_event *events, int max, bool block, u64 deadline, const u64 *mask, u64 size)
{
	if (!mask)
		return epoll_wait(epfd, events, max, block, deadline);
	if (size != sizeof *mask)
		return -EINVAL;
	if (!user_readable(mask, sizeof *mask))
		return -EFAULT;
	sigmask_push(mask);
	long r = epoll_wait(epfd, events, max, block, deadline);
	sigmask_pop();
	return r;
}

static u64 ms_deadline(int ms) { return ms < 0 ? NO_DEADLINE : ms ? deadline_in((u64)ms * 1000000) : 0; }

long sys_epoll_wait(int epfd, struct epoll_event *events, int max, int timeout_ms)
{
	return epoll_wait(epfd, events, max, timeout_ms != 0, ms_deadline(timeout_ms));
}

long sys_epoll_pwait(int epfd, struct epoll_event *events, int max, int timeout_ms, const u64 *mask, u64 size)
{
	return epoll_pwait(epfd, events, max, timeout_ms != 0, ms_deadline(timeout_ms), mask, size);
}

long sys_epoll_pwait2(int epfd, struct epoll_event *events, int max, const struct __kernel_timespec *timeout,
		      const u64 *mask, u64 size)
{
	u64 ns = 1, deadline = NO_DEADLINE;
	if (timeout) {
		if (!user_readable(timeout, sizeof *timeout))
			return -EFAULT;
		if (!timespec_valid(timeout))
			return -EINVAL;
		ns = timespec_to_ns(timeout);
		deadline = deadline_in(ns);
	}
	return epoll_pwait(epfd, events, max, ns != 0, deadline, mask, size);
}
