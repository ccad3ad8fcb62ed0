/*
 * vdso.c: the clocks without a system call, for static programs, which have no
 * patched call sites: where guests are processes their system calls are signals.
 * It runs as part of the program, may be interrupted anywhere and continued in
 * another instance, and uses nothing but the identity and control pages.
 */
#include "../../abi/kernel.h"
#include "../units.h"

#include <linux/time.h>

#define identity ((const volatile struct abi_identity *)ABI_IDENTITY_GPA)
#define control ((volatile struct abi_control *)ABI_CONTROL_GPA)

/* A new identity in the middle of a reading is one more reading. */
static uint64_t now(int wall)
{
	uint64_t generation, ns;
	do {
		generation = identity->generation;
		uint32_t lo, hi;
		__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
		uint64_t delta = ((uint64_t)hi << 32 | lo) - identity->tsc;
		if ((int64_t)delta < 0)
			delta = 0;
		ns = (wall ? identity->wall_ns : identity->mono_ns) + (uint64_t)((unsigned __int128)delta * identity->tsc_mult >> 32);
	} while (identity->generation != generation);
	/* One instruction: another thread of the program may count in between. */
	__asm__ volatile("incq %0" : "+m"(control->purity.clock));
	return ns;
}

static long fall_back(long nr, long a, void *b)
{
	__asm__ volatile("syscall" : "+a"(nr) : "D"(a), "S"(b) : "rcx", "r11", "memory");
	return nr;
}

int __vdso_clock_gettime(int clock, struct __kernel_timespec *ts)
{
	const uint32_t wall = 1 << CLOCK_REALTIME | 1 << CLOCK_REALTIME_COARSE | 1 << CLOCK_REALTIME_ALARM | 1 << CLOCK_TAI;
	const uint32_t mono = 1 << CLOCK_MONOTONIC | 1 << CLOCK_MONOTONIC_RAW | 1 << CLOCK_MONOTONIC_COARSE | 1 << CLOCK_BOOTTIME |
			      1 << CLOCK_BOOTTIME_ALARM;
	if ((uint32_t)clock > CLOCK_TAI || !((wall | mono) >> clock & 1))
		return (int)fall_back(228 /* __NR_clock_gettime */, clock, ts);
	uint64_t ns = now(wall >> clock & 1);
	ts->tv_sec = (long long)(ns / NS_PER_SEC);
	ts->tv_nsec = (long long)(ns % NS_PER_SEC);
	return 0;
}

int __vdso_gettimeofday(struct __kernel_old_timeval *tv, struct timezone *tz)
{
	if (tv) {
		uint64_t us = now(1) / 1000;
		tv->tv_sec = (long)(us / 1000000);
		tv->tv_usec = (long)(us % 1000000);
	}
	if (tz)
		tz->tz_minuteswest = tz->tz_dsttime = 0;
	return 0;
}

long __vdso_time(long *t)
{
	long s = (long)(now(1) / NS_PER_SEC);
	if (t)
		*t = s;
	return s;
}
