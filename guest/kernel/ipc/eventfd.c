/*
 * eventfd.c: eventfd and eventfd2: a 64-bit counter to wait for, also as a
 * semaphore (eventfd(2)).
 */
#include "calls.h"
#include "ipc.h"

#define EFD_SEMAPHORE 1 /* include/linux/eventfd.h */
#define COUNT_MAX (~0ull - 1)

struct eventfd {
	u64 count;        /* 0 .. COUNT_MAX */
	u32 writers;      /* blocked until their value fits */
	bool semaphore;
};

static u32 eventfd_poll(struct file *f)
{
	struct eventfd *e = f->priv;
	return (e->count ? EPOLL_READ : 0) | (e->count < COUNT_MAX ? EPOLL_WRITE : 0);
}

static long read_held(struct file *f, u64 *out)
{
	struct eventfd *e = f->priv;
	while (!e->count) {
		long r = file_wait(f, EPOLLIN, NO_DEADLINE);
		if (r)
			return r;
	}
	u64 before = e->count;
	*out = e->semaphore ? 1 : before;
	e->count -= *out;
	if (e->writers || before == COUNT_MAX)
		wake_all(&f->wq);
	return 8;
}

static long eventfd_read(struct file *f, void *buf, size_t n, u64 *pos)
{
	(void)pos;
	if (n < 8)
		return -EINVAL;
	u64 v;
	file_get(f);
	long r = read_held(f, &v);
	file_put(f);
	if (r > 0)
		memcpy(buf, &v, 8);
	return r;
}

static long write_held(struct file *f, u64 v)
{
	struct eventfd *e = f->priv;
	while (v > COUNT_MAX - e->count) {
		if (f->flags & O_NONBLOCK)
			return -EAGAIN;
		e->writers++;
		long r = wait_on(&f->wq, NO_DEADLINE);
		e->writers--;
		if (r)
			return r;
	}
	e->count += v;
	wake_all(&f->wq);
	return 8;
}

static long eventfd_write(struct file *f, const void *buf, size_t n, u64 *pos)
{
	(void)pos;
	u64 v;
	if (n < sizeof v)
		return -EINVAL;
	memcpy(&v, buf, sizeof v);
	if (v == ~0ull)
		return -EINVAL;
	file_get(f);
	long r = write_held(f, v);
	file_put(f);
	return r;
}

static void eventfd_release(struct file *f) { kfree(f->priv); }

static const struct file_ops eventfd_ops = {
	.name = "eventfd",
	.read = eventfd_read,
	.write = eventfd_write,
	.poll = eventfd_poll,
	.release = eventfd_release,
};

long sys_eventfd2(u32 count, int flags)
{
	if (flags & ~(EFD_SEMAPHORE | O_CLOEXEC | O_NONBLOCK))
		return -EINVAL;
	struct eventfd *e = kzalloc(sizeof *e);
	if (!e)
		return -ENOMEM;
	e->count = count;
	e->semaphore = flags & EFD_SEMAPHORE;
	struct file *f = file_new(&eventfd_ops, O_RDWR | (flags & O_NONBLOCK), e);
	if (!f) {
		kfree(e);
		return -ENOMEM;
	}
	return fd_install(f, flags & O_CLOEXEC, 0);
}

long sys_eventfd(u32 count) { return sys_eventfd2(count, 0); }
