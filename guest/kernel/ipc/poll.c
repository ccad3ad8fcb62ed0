/*
 * poll.c: poll and ppoll, and the waiting that select shares. A file without a
 * poll operation is always ready.
 */
#include "poll.h"
#include "calls.h"

#include <asm/poll.h>

struct poll_entry *poll_entries(struct poll_entry on_stack[POLL_ON_STACK], u32 n)
{
	struct poll_entry *e = n <= POLL_ON_STACK ? on_stack : kmalloc(n * sizeof *e);
	if (e)
		memset(e, 0, n * sizeof *e);
	return e;
}

void poll_entries_free(struct poll_entry *e, const struct poll_entry *on_stack)
{
	if (e != on_stack)
		kfree(e);
}

static long scan(struct poll_entry *e, u32 n)
{
	long ready = 0;
	for (u32 i = 0; i < n; i++) {
		e[i].waiter.woken = false; /* before looking: a later wake-up counts */
		e[i].got = e[i].file ? poll_mask(e[i].file) & e[i].want : 0;
		ready += e[i].got != 0;
	}
	return ready;
}

long poll_entries_wait(struct poll_entry *e, u32 n, bool block, u64 deadline)
{
	long ready = scan(e, n), r = 0;
	if (ready || !block)
		return ready;
	for (u32 i = 0; i < n; i++)
		if (e[i].file) {
			file_get(e[i].file);
			waitq_add(&e[i].file->wq, &e[i].waiter);
		}
	while (!ready && !r) {
		r = wait_queued(deadline);
		ready = scan(e, n);
	}
	for (u32 i = 0; i < n; i++)
		if (e[i].file) {
			waitq_remove(&e[i].waiter);
			file_put(e[i].file);
		}
	return ready || r == -ETIMEDOUT ? ready : -EINTR; /* never restarted: signal(7) */
}

/* ---- timeouts ------------------------------------------------------------------------- */

struct poll_timeout poll_timeout_ns(u64 ns) { return (struct poll_timeout){ns != 0, deadline_in(ns)}; }

u64 poll_timeout_left(const struct poll_timeout *t)
{
	u64 now = mono_ns();
	if (t->deadline <= now)
		return 0;
	purity_clock();
	return t->deadline - now;
}

long poll_timespec(const struct __kernel_timespec *ts, struct poll_timeout *t)
{
	*t = (struct poll_timeout){true, NO_DEADLINE};
	if (!ts)
		return 0;
	if (!user_readable(ts, sizeof *ts))
		return -EFAULT;
	if (!timespec_valid(ts))
		return -EINVAL;
	*t = poll_timeout_ns(timespec_to_ns(ts));
	return 0;
}

void poll_timespec_left(struct __kernel_timespec *ts, const struct poll_timeout *t)
{
	if (!ts || t->deadline == NO_DEADLINE || !user_writable(ts, sizeof *ts))
		return; /* Linux ignores a timeout that cannot be written, too */
	u64 left = poll_timeout_left(t);
	*ts = (struct __kernel_timespec){(s64)(left / NS_PER_SEC), (s64)(left % NS_PER_SEC)};
}

/* ---- poll ------------------------------------------------------------------------------- */

static long poll_fds(struct pollfd *fds, u64 n, const struct poll_timeout *t)
{
	if (n > POLL_MAX)
		return -EINVAL;
	if (!user_writable(fds, n * sizeof *fds))
		return n ? -EFAULT : poll_entries_wait(NULL, 0, t->block, t->deadline);
	struct poll_entry on_stack[POLL_ON_STACK], *e = poll_entries(on_stack, (u32)n);
	if (!e)
		return -ENOMEM;
	u32 bad = 0;
	for (u32 i = 0; i < n; i++) {
		fds[i].revents = 0;
		if (fds[i].fd < 0)
			continue;
		e[i].file = fd_get(fds[i].fd);
		e[i].want = (u16)fds[i].events | POLLERR | POLLHUP;
		if (!e[i].file) {
			fds[i].revents = POLLNVAL;
			bad++;
		}
	}
	long r = poll_entries_wait(e, (u32)n, t->block && !bad, t->deadline);
	if (r >= 0)
		for (u32 i = 0; i < n; i++)
			if (e[i].file)
				fds[i].revents = (short)e[i].got;
	poll_entries_free(e, on_stack);
	return r < 0 ? r : r + bad;
}

long sys_poll(struct pollfd *fds, u64 n, int timeout_ms)
{
	struct poll_timeout t = {true, NO_DEADLINE};
	if (timeout_ms >= 0)
		t = poll_timeout_ns((u64)timeout_ms * 1000000);
	return poll_fds(fds, n, &t);
}

long sys_ppoll(struct pollfd *fds, u64 n, struct __kernel_timespec *timeout, const u64 *mask, u64 size)
{
	struct poll_timeout t;
	long r = poll_timespec(timeout, &t);
	if (r)
		return r;
	if (mask && size != sizeof *mask)
		return -EINVAL;
	if (mask && !user_readable(mask, sizeof *mask))
		return -EFAULT;
	if (mask)
		sigmask_push(mask);
	r = poll_fds(fds, n, &t);
	if (mask)
		sigmask_pop();
	poll_timespec_left(timeout, &t);
	return r;
}
