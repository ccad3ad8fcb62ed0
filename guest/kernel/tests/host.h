/*
 * host.h: what host test programs of fs/ and ipc/ use: checks, and control
 * over the stubs in host.c that stand in for the rest of the kernel library.
 *
 * A test is one file tests/<area>_test.c with its own main(). A comment line
 *	// link: ../fs/file.c ../ipc/pipe.c
 * names the kernel files it needs (globs allowed, relative to tests/; host.c
 * is always linked). Everything in host.c is weak: a test may define its own.
 * Do not include libc headers that define struct stat, struct iovec or O_*:
 * the kernel's own headers are in force.
 */
#ifndef SEUSS_HOST_H
#define SEUSS_HOST_H

#include "../kernel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(cond)                                                                  \
	do {                                                                         \
		if (!(cond)) {                                                       \
			fprintf(stderr, "%s:%d: %s: failed: %s\n", __FILE__, __LINE__, __func__, #cond); \
			exit(1);                                                     \
		}                                                                    \
	} while (0)
/* Compares two integers and shows both. */
#define CHECK_EQ(got, want)                                                          \
	do {                                                                         \
		long long got_ = (long long)(got), want_ = (long long)(want);        \
		if (got_ != want_) {                                                 \
			fprintf(stderr, "%s:%d: %s: %s = %lld, want %s = %lld\n",    \
				__FILE__, __LINE__, __func__, #got, got_, #want, want_); \
			exit(1);                                                     \
		}                                                                    \
	} while (0)
#define CHECK_STR(got, want)                                                         \
	do {                                                                         \
		const char *g_ = (got), *w_ = (want);                                \
		if (strcmp(g_, w_)) {                                                \
			fprintf(stderr, "%s:%d: %s: %s = \"%s\", want \"%s\"\n",     \
				__FILE__, __LINE__, __func__, #got, g_, w_);         \
			exit(1);                                                     \
		}                                                                    \
	} while (0)

/* Called by wait_on() and wait_queued() instead of blocking: plays the other
 * side, then the wait returns what it returns. NULL: the wait ends at once
 * with -ETIMEDOUT if it has a deadline, else -ERESTARTSYS (a signal). */
extern long (*host_wait)(struct waitq *q, u64 deadline);
extern u64 host_mono_ns, host_wall_ns; /* the clocks; only tests move them */
void host_run_timers(void);            /* fires timers whose deadline has come */
extern u64 host_ram_pages;             /* page_alloc fails when more than this are out */
extern u64 host_pages_out, host_objects_out; /* allocated and not freed, for leak checks */
extern s64 host_fail_after;            /* the n-th allocation from now fails; -1: none does */
extern int host_last_signal;           /* of signal_self() */
extern u64 host_entropy_reads, host_clock_reads;
/* Addresses that user_readable() and user_writable() refuse: below 4096 and [host_bad, host_bad+4096). */
extern char *host_bad;
/* What console_write() got, the last 4 KiB of it, NUL terminated. */
extern char host_console[4097];
/* A deterministic pseudo-random stream, so that failures reproduce. */
extern u64 host_seed;
u32 host_random(u32 below);

#endif
