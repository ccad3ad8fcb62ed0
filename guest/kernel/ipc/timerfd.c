/*
 * timerfd.c: timers as files. As in Linux an interval timer is not armed again
 * before its expiry was read, so a timer that nobody reads costs one wake-up,
 * not one an interval. An absolute CLOCK_REALTIME time becomes a monotonic one
 * when it is set.
 */
#include "calls.h"
#include "ipc.h"

#include <linux/time.h>
#include <linux/timerfd.h>

struct timerfd {
	struct timer timer;
	struct file *file;
	u64 interval; /* ns; 0: one shot */
	u64 ticks;    /* expiries not read yet */
	bool expired; /* an interval timer that waits to be armed again */
	bool wall;    /* absolute times are CLOCK_REALTIME */
};

static void expire(struct timerfd *t)
{
	t->ticks++;
	t->expired = true;
}

static void fire(struct timer *timer)
{
	struct timerfd *t = container_of(timer, struct timerfd, timer);
	expire(t);
	wake_all(&t->file->wq);
}

static bool due(const struct timerfd *t) { return t->timer.armed && t->timer.deadline <= mono_ns(); }

/* Counts the intervals that passed since the expiry and arms the next one. */
static void catch_up(struct timerfd *t)
{
	if (due(t)) { /* the list of timers was not looked at yet */
		timer_cancel(&t->timer);
		expire(t);
	}
	if (!t->expired || !t->interval)
		return;
	u64 missed = (mono_ns() - t->timer.deadline) / t->interval;
	t->ticks += missed;
	t->expired = false;
	timer_arm(&t->timer, t->timer.deadline + (missed + 1) * t->interval);
}

static u32 timerfd_poll(struct file *f)
{
	struct timerfd *t = f->priv;
	return t->ticks || due(t) ? EPOLL_READ : 0;
}

static long read_held(struct file *f, u64 *out)
{
	struct timerfd *t = f->priv;
	while (!t->ticks && !due(t)) {
		long r = file_wait(f, EPOLLIN, NO_DEADLINE);
		if (r)
			return r;
	}
	purity_clock(); /* how often it expired is what the clock says */
	catch_up(t);
	*out = t->ticks;
	t->ticks = 0;
	return 8;
}

static long timerfd_read(struct file *f, void *buf, size_t n, u64 *pos)
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

static void timerfd_release(struct file *f)
{
	struct timerfd *t = f->priv;
	timer_cancel(&t->timer);
	kfree(t);
}

static const struct file_ops timerfd_ops = {
	.name = "timerfd",
	.read = timerfd_read,
	.poll = timerfd_poll,
	.release = timerfd_release,
};

long sys_timerfd_create(int clock, int flags)
{
	switch (clock) {
	case CLOCK_REALTIME:
	case CLOCK_MONOTONIC:
	case CLOCK_BOOTTIME:
	case CLOCK_REALTIME_ALARM:
	case CLOCK_BOOTTIME_ALARM:
		break;
	default:
		return -EINVAL;
	}
	if (flags & ~(TFD_CLOEXEC | TFD_NONBLOCK))
		return -EINVAL;
	struct timerfd *t = kzalloc(sizeof *t);
	if (!t)
		return -ENOMEM;
	t->timer.fire = fire;
	t->wall = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_ALARM;
	t->file = file_new(&timerfd_ops, O_RDWR | (flags & TFD_NONBLOCK), t);
	if (!t->file) {
		kfree(t);
		return -ENOMEM;
	}
	return fd_install(t->file, flags & TFD_CLOEXEC, 0);
}

static struct timerfd *timerfd_of(int fd, long *err)
{
	struct file *f = fd_get(fd);
	*err = !f ? -EBADF : f->ops != &timerfd_ops ? -EINVAL : 0;
	return *err ? NULL : f->priv;
}

static struct __kernel_timespec timespec_of(u64 ns)
{
	return (struct __kernel_timespec){(s64)(ns / NS_PER_SEC), (s64)(ns % NS_PER_SEC)};
}

static void get(struct timerfd *t, struct __kernel_itimerspec *out)
{
	purity_clock();
	catch_up(t);
	u64 now = mono_ns(), left = !t->timer.armed ? 0 : t->timer.deadline > now ? t->timer.deadline - now : 1;
	out->it_interval = timespec_of(t->interval);
	out->it_value = timespec_of(left);
}

long sys_timerfd_gettime(int fd, struct __kernel_itimerspec *value)
{
	long err;
	struct timerfd *t = timerfd_of(fd, &err);
	if (!t)
		return err;
	if (!user_writable(value, sizeof *value))
		return -EFAULT;
	get(t, value);
	return 0;
}

long sys_timerfd_settime(int fd, int flags, const struct __kernel_itimerspec *value, struct __kernel_itimerspec *old)
{
	if (!user_readable(value, sizeof *value) || (old && !user_writable(old, sizeof *old)))
		return -EFAULT;
	struct __kernel_itimerspec v = *value;
	if (flags & ~(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET) || !timespec_valid(&v.it_value) ||
	    !timespec_valid(&v.it_interval))
		return -EINVAL;
	long err;
	struct timerfd *t = timerfd_of(fd, &err);
	if (!t)
		return err;
	if (old)
		get(t, old);
	u64 ns = timespec_to_ns(&v.it_value), now = mono_ns();
	timer_cancel(&t->timer);
	t->ticks = 0;
	t->expired = false;
	t->interval = timespec_to_ns(&v.it_interval);
	if (ns == 0)
		return 0;
	if (!(flags & TFD_TIMER_ABSTIME)) {
		ns += now;
	} else if (t->wall) {
		u64 wall = wall_ns();
		ns = ns > wall ? now + (ns - wall) : now;
	}
	t->timer.deadline = ns;
	if (ns > now)
		timer_arm(&t->timer, ns);
	else
		fire(&t->timer);
	return 0;
}
