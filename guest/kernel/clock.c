/*
 * clock.c: the calls on clocks, sleeping and interval timers. Every clock that
 * the program reads is counted: it makes the state that follows impure.
 */
#include "exec.h"
#include "thread_calls.h"

#include <asm/signal.h>
#include <linux/time.h>

/* A negative clock is the CPU clock of a process or, with the third bit, of a
 * thread: include/linux/posix-timers_types.h. */
static bool known_clock(int clock)
{
	if (clock >= 0)
		return clock <= CLOCK_TAI && clock != 10;
	u32 id = ~(u32)(clock >> 3);
	if ((clock & 3) == 3)
		return false; /* CLOCKFD */
	return clock & 4 ? id == 0 || thread_by_tid(id) : id <= 1;
}

static bool cpu_clock(int clock)
{
	return clock < 0 || clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID;
}

static u64 read_clock(int clock)
{
	switch (clock) {
	case CLOCK_REALTIME:
	case CLOCK_REALTIME_COARSE:
	case CLOCK_REALTIME_ALARM:
	case CLOCK_TAI:
		return wall_ns();
	case CLOCK_PROCESS_CPUTIME_ID:
		return cpu_ns();
	case CLOCK_THREAD_CPUTIME_ID:
		return thread_cpu_ns(current);
	default:
		if (clock >= 0)
			return mono_ns();
		if (!(clock & 4))
			return cpu_ns();
		u32 tid = ~(u32)(clock >> 3);
		struct thread *t = tid ? thread_by_tid(tid) : current;
		return t ? thread_cpu_ns(t) : 0;
	}
}

enum { TIMERS = 32 }; /* of timer_create */

/* Where the program reads the clock only to wait for a lock. */
static u64 lock_sites[ABI_LOCK_SITES];
static u32 lock_site_count;

void clock_lock_site(u64 address)
{
	if (lock_site_count < ABI_LOCK_SITES)
		lock_sites[lock_site_count++] = address;
}

void timers_exec(void)
{
	for (int id = 0; id < TIMERS; id++)
		sys_timer_delete(id);
	lock_site_count = 0;
}

/* clock_gettime's caller is on top of the stack at the system call. */
static bool waits_for_lock(void)
{
	const u64 *sp = (const u64 *)current->frame->rsp;
	if (!lock_site_count || !user_readable(sp, 8))
		return false;
	for (u32 i = 0; i < lock_site_count; i++)
		if (lock_sites[i] == *sp)
			return true;
	return false;
}

long sys_clock_gettime(int clock, struct timespec_k *ts)
{
	if (!known_clock(clock))
		return -EINVAL;
	if (!user_writable(ts, sizeof *ts))
		return -EFAULT;
	if (!waits_for_lock())
		purity_clock();
	u64 ns = read_clock(clock);
	*ts = (struct timespec_k){(s64)(ns / NS_PER_SEC), (s64)(ns % NS_PER_SEC)};
	return 0;
}

long sys_clock_getres(int clock, struct timespec_k *ts)
{
	if (!known_clock(clock))
		return -EINVAL;
	if (ts && !user_writable(ts, sizeof *ts))
		return -EFAULT;
	if (ts)
		*ts = (struct timespec_k){0, clock == CLOCK_REALTIME_COARSE || clock == CLOCK_MONOTONIC_COARSE ? 4000000 : 1};
	return 0;
}

long sys_gettimeofday(struct timeval_k *tv, void *tz)
{
	if ((tv && !user_writable(tv, sizeof *tv)) || (tz && !user_writable(tz, 8)))
		return -EFAULT;
	purity_clock();
	u64 us = wall_ns() / 1000;
	if (tv)
		*tv = (struct timeval_k){(s64)(us / 1000000), (s64)(us % 1000000)};
	if (tz)
		memset(tz, 0, 8);
	return 0;
}

long sys_time(s64 *t)
{
	if (t && !user_writable(t, 8))
		return -EFAULT;
	purity_clock();
	s64 now = (s64)(wall_ns() / NS_PER_SEC);
	if (t)
		*t = now;
	return now;
}

long sys_times(s64 *buf)
{
	if (buf && !user_writable(buf, 32))
		return -EFAULT;
	purity_clock();
	s64 ticks = (s64)(mono_ns() / (NS_PER_SEC / 100));
	if (buf)
		buf[0] = (s64)(cpu_ns() / (NS_PER_SEC / 100)), buf[1] = buf[2] = buf[3] = 0;
	return ticks;
}

/* ---- sleeping ------------------------------------------------------------------ */

long sys_clock_nanosleep(int clock, int flags, const struct timespec_k *req, struct timespec_k *rem)
{
	if (!known_clock(clock))
		return -EINVAL;
	if (clock == CLOCK_THREAD_CPUTIME_ID || clock == CLOCK_MONOTONIC_RAW || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_MONOTONIC_COARSE)
		return -EOPNOTSUPP;
	if (!user_readable(req, sizeof *req) || (rem && !user_writable(rem, sizeof *rem)))
		return -EFAULT;
	if (req->sec < 0 || req->nsec < 0 || req->nsec >= (s64)NS_PER_SEC)
		return -EINVAL;
	u64 ns = timespec_ns(req), now = mono_ns(), deadline = now + ns;
	if (flags & TIMER_ABSTIME) {
		u64 clock_now = read_clock(clock);
		deadline = ns > clock_now ? now + (ns - clock_now) : now;
	}
	struct waitq never = {0};
	long r;
	while ((r = wait_on(&never, deadline)) == 0)
		;
	if (r == -ETIMEDOUT)
		return 0;
	if (rem && !(flags & TIMER_ABSTIME)) {
		now = mono_ns();
		u64 left = deadline > now ? deadline - now : 0;
		*rem = (struct timespec_k){(s64)(left / NS_PER_SEC), (s64)(left % NS_PER_SEC)};
	}
	return -EINTR;
}

long sys_nanosleep(const struct timespec_k *req, struct timespec_k *rem)
{
	return sys_clock_nanosleep(CLOCK_MONOTONIC, 0, req, rem);
}

/* ---- interval timers: itimers and POSIX timers share one shape ---------------- */

struct interval_timer {
	struct timer timer;
	u64 interval; /* ns; 0: one shot */
	int sig;
	u32 tid;      /* != 0: SIGEV_THREAD_ID */
	u64 value;    /* sigev_value */
	u64 cpu_deadline; /* of a CPU clock: the timer only says when to look again */
	s64 overrun;
	int id, clock;
	bool used, silent; /* silent: SIGEV_NONE */
};

static void interval_fire(struct timer *t)
{
	struct interval_timer *it = container_of(t, struct interval_timer, timer);
	u64 now = mono_ns(), due = t->deadline;
	if (cpu_clock(it->clock)) {
		u64 used = read_clock(it->clock);
		if (used < it->cpu_deadline) {
			timer_arm(t, now + (it->cpu_deadline - used));
			return;
		}
		due = now;
		it->cpu_deadline = used + it->interval;
	}
	it->overrun = 0;
	if (it->interval) {
		u64 missed = (now - MIN(due, now)) / it->interval;
		it->overrun = (s64)MIN(missed, 0x7fffffffull);
		timer_arm(t, due + (missed + 1) * it->interval);
	}
	if (it->silent)
		return;
	struct siginfo_k info = {.signo = it->sig, .code = it->id < 0 ? 0x80 : -2 /* SI_KERNEL, SI_TIMER */};
	info.fields[0] = (u64)(u32)it->id;
	info.fields[1] = it->value;
	struct thread *target = it->tid ? thread_by_tid(it->tid) : NULL;
	if (target)
		signal_send_thread(target, it->sig, &info);
	else
		signal_send_process(it->sig, &info);
}

static void interval_get(struct interval_timer *it, struct itimerspec_k *out)
{
	u64 now = mono_ns();
	u64 deadline = it->timer.deadline;
	if (cpu_clock(it->clock)) {
		now = read_clock(it->clock);
		deadline = it->cpu_deadline;
	}
	u64 left = !it->timer.armed ? 0 : deadline > now ? deadline - now : 1;
	out->interval = (struct timespec_k){(s64)(it->interval / NS_PER_SEC), (s64)(it->interval % NS_PER_SEC)};
	out->value = (struct timespec_k){(s64)(left / NS_PER_SEC), (s64)(left % NS_PER_SEC)};
}

/* ns from now; 0: disarm. */
static void interval_set(struct interval_timer *it, u64 ns, u64 interval)
{
	it->timer.fire = interval_fire;
	it->interval = interval;
	it->overrun = 0;
	if (cpu_clock(it->clock))
		it->cpu_deadline = read_clock(it->clock) + ns;
	if (ns)
		timer_arm(&it->timer, mono_ns() + ns);
	else
		timer_cancel(&it->timer);
}

/* The kernel library's part of the CPU time is not told from the program's. */
static struct interval_timer itimers[] = {
	[ITIMER_REAL] = {.id = -1, .sig = SIGALRM, .clock = CLOCK_MONOTONIC},
	[ITIMER_VIRTUAL] = {.id = -1, .sig = SIGVTALRM, .clock = CLOCK_PROCESS_CPUTIME_ID},
	[ITIMER_PROF] = {.id = -1, .sig = SIGPROF, .clock = CLOCK_PROCESS_CPUTIME_ID},
};

static u64 timeval_ns(const struct timeval_k *t) { return (u64)t->sec * NS_PER_SEC + (u64)t->usec * 1000; }

long sys_getitimer(int which, struct itimerval_k *value)
{
	if (which < 0 || which >= (int)ARRAY_SIZE(itimers))
		return -EINVAL;
	if (!user_writable(value, sizeof *value))
		return -EFAULT;
	struct itimerspec_k its;
	interval_get(&itimers[which], &its);
	value->interval = (struct timeval_k){its.interval.sec, its.interval.nsec / 1000};
	value->value = (struct timeval_k){its.value.sec, its.value.nsec / 1000};
	return 0;
}

long sys_setitimer(int which, const struct itimerval_k *value, struct itimerval_k *old)
{
	if (which < 0 || which >= (int)ARRAY_SIZE(itimers))
		return -EINVAL;
	if (!user_readable(value, sizeof *value) || (old && !user_writable(old, sizeof *old)))
		return -EFAULT;
	struct itimerval_k v = *value;
	if (v.value.sec < 0 || v.value.usec < 0 || v.value.usec >= 1000000 || v.interval.usec < 0 || v.interval.usec >= 1000000)
		return -EINVAL;
	if (old)
		sys_getitimer(which, old);
	u64 ns = timeval_ns(&v.value);
	interval_set(&itimers[which], ns, timeval_ns(&v.interval));
	return 0;
}

long sys_alarm(u32 seconds)
{
	struct itimerspec_k before;
	interval_get(&itimers[ITIMER_REAL], &before);
	interval_set(&itimers[ITIMER_REAL], seconds * NS_PER_SEC, 0);
	return before.value.sec + (before.value.nsec > 0);
}

static struct interval_timer *posix_timers; /* allocated at the first timer_create */

static struct interval_timer *timer_find(int id)
{
	return id >= 0 && id < TIMERS && posix_timers && posix_timers[id].used ? &posix_timers[id] : NULL;
}

struct sigevent_k { u64 value; s32 signo, notify, tid; };

long sys_timer_create(int clock, const void *event, int *id)
{
	const struct sigevent_k *ev = event;
	if (!known_clock(clock))
		return -EINVAL;
	if ((ev && !user_readable(ev, 64)) || !user_writable(id, 4))
		return -EFAULT;
	if (!posix_timers && !(posix_timers = kzalloc(TIMERS * sizeof *posix_timers)))
		return -EAGAIN;
	for (int i = 0; i < TIMERS; i++) {
		struct interval_timer *it = &posix_timers[i];
		if (it->used)
			continue;
		*it = (struct interval_timer){.id = i, .clock = clock, .used = true, .sig = SIGALRM, .value = (u64)i};
		if (ev) {
			it->silent = ev->notify == 1;          /* SIGEV_NONE */
			it->tid = ev->notify == 4 ? (u32)ev->tid : 0; /* SIGEV_THREAD_ID */
			it->sig = ev->signo;
			it->value = ev->value;
			if (!it->silent && (it->sig < 1 || it->sig > SIGNALS)) {
				it->used = false;
				return -EINVAL;
			}
		}
		*id = i;
		return 0;
	}
	return -EAGAIN;
}

long sys_timer_settime(int id, int flags, const struct itimerspec_k *value, struct itimerspec_k *old)
{
	struct interval_timer *it = timer_find(id);
	if (!it)
		return -EINVAL;
	if (!user_readable(value, sizeof *value) || (old && !user_writable(old, sizeof *old)))
		return -EFAULT;
	if (value->value.nsec < 0 || value->value.nsec >= (s64)NS_PER_SEC || value->value.sec < 0)
		return -EINVAL;
	u64 ns = timespec_ns(&value->value), interval = timespec_ns(&value->interval);
	if (old)
		interval_get(it, old);
	if (ns && flags & TIMER_ABSTIME) {
		u64 clock_now = read_clock(it->clock);
		ns = ns > clock_now ? ns - clock_now : 1;
	}
	interval_set(it, ns, interval);
	return 0;
}

long sys_timer_gettime(int id, struct itimerspec_k *value)
{
	struct interval_timer *it = timer_find(id);
	if (!it)
		return -EINVAL;
	if (!user_writable(value, sizeof *value))
		return -EFAULT;
	interval_get(it, value);
	return 0;
}

long sys_timer_getoverrun(int id)
{
	struct interval_timer *it = timer_find(id);
	return it ? it->overrun : -EINVAL;
}

long sys_timer_delete(int id)
{
	struct interval_timer *it = timer_find(id);
	if (!it)
		return -EINVAL;
	timer_cancel(&it->timer);
	it->used = false;
	return 0;
}
