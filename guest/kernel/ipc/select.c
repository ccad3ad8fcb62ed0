/*
 * select.c: select and pselect6, on poll.c's waiting.
 */
#include "calls.h"
#include "poll.h"

/* What each set means in poll's terms: fs/select.c of Linux. */
#define IN_SET ((u32)EPOLLIN | EPOLLRDNORM | EPOLLRDBAND | EPOLLHUP | EPOLLERR)
#define OUT_SET ((u32)EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND | EPOLLERR)
#define EX_SET ((u32)EPOLLPRI)

struct sets { u64 *in, *out, *except; };

static bool has(const u64 *set, u32 fd) { return set && set[fd / 64] >> (fd % 64) & 1; }

static u32 wanted(const struct sets *s, u32 fd)
{
	return (has(s->in, fd) ? IN_SET : 0) | (has(s->out, fd) ? OUT_SET : 0) | (has(s->except, fd) ? EX_SET : 0);
}

/* Leaves of a set what is ready; how many bits that are. */
static long answer(u64 *set, u32 n, u32 meaning, const struct poll_entry *e)
{
	long bits = 0;
	for (u32 fd = 0; fd < n; fd++) {
		if (!e[fd].want)
			continue;
		bool wants = has(set, fd);
		if (wants && e[fd].got & meaning)
			bits++;
		else if (wants)
			set[fd / 64] &= ~(1ull << (fd % 64));
	}
	return bits;
}

static long select_fds(int n, const struct sets *s, const struct poll_timeout *t)
{
	if (n < 0)
		return -EINVAL;
	u32 count = MIN((u32)n, (u32)POLL_MAX);
	u64 bytes = (count + 63) / 64 * sizeof(u64);
	if ((s->in && !user_writable(s->in, bytes)) || (s->out && !user_writable(s->out, bytes)) ||
	    (s->except && !user_writable(s->except, bytes)))
		return -EFAULT;
	struct poll_entry on_stack[POLL_ON_STACK], *e = poll_entries(on_stack, count);
	if (!e)
		return -ENOMEM;
	long r = 0;
	for (u32 fd = 0; fd < count && !r; fd++) {
		e[fd].want = wanted(s, fd);
		if (e[fd].want && !(e[fd].file = fd_get((int)fd)))
			r = -EBADF;
	}
	if (!r)
		r = poll_entries_wait(e, count, t->block, t->deadline);
	if (r >= 0)
		r = answer(s->in, count, IN_SET, e) + answer(s->out, count, OUT_SET, e) + answer(s->except, count, EX_SET, e);
	poll_entries_free(e, on_stack);
	return r;
}

long sys_select(int n, u64 *in, u64 *out, u64 *except, struct __kernel_old_timeval *timeout)
{
	struct poll_timeout t = {true, NO_DEADLINE};
	if (timeout) {
		if (!user_readable(timeout, sizeof *timeout))
			return -EFAULT;
		/* Microseconds may exceed a second, as in Linux. */
		if (timeout->tv_sec < 0 || timeout->tv_usec < 0)
			return -EINVAL;
		struct __kernel_timespec ts = {timeout->tv_sec + timeout->tv_usec / 1000000, timeout->tv_usec % 1000000 * 1000};
		t = poll_timeout_ns(timespec_to_ns(&ts));
	}
	long r = select_fds(n, &(struct sets){in, out, except}, &t);
	if (timeout && user_writable(timeout, sizeof *timeout)) {
		u64 left = poll_timeout_left(&t);
		*timeout = (struct __kernel_old_timeval){(long)(left / NS_PER_SEC), (long)(left % NS_PER_SEC / 1000)};
	}
	return r;
}

long sys_pselect6(int n, u64 *in, u64 *out, u64 *except, struct __kernel_timespec *timeout, const void *mask)
{
	struct { const u64 *set; u64 size; } arg = {0};
	if (mask) {
		if (!user_readable(mask, sizeof arg))
			return -EFAULT;
		memcpy(&arg, mask, sizeof arg);
	}
	struct poll_timeout t;
	long r = poll_timespec(timeout, &t);
	if (r)
		return r;
	if (arg.set && arg.size != sizeof *arg.set)
		return -EINVAL;
	if (arg.set && !user_readable(arg.set, sizeof *arg.set))
		return -EFAULT;
	if (arg.set)
		sigmask_push(arg.set);
	r = select_fds(n, &(struct sets){in, out, except}, &t);
	if (arg.set)
		sigmask_pop();
	poll_timespec_left(timeout, &t);
	return r;
}
