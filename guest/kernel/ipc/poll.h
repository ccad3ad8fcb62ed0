/* poll.h: waiting for several files at once, between poll.c and select.c. */
#ifndef SEUSS_IPC_POLL_H
#define SEUSS_IPC_POLL_H

#include "ipc.h"

struct poll_entry {
	struct waiter waiter;
	struct file *file; /* NULL: ignored */
	u32 want, got;     /* poll masks; got is written */
};
enum { POLL_ON_STACK = 16, POLL_MAX = 4096 }; /* POLL_MAX: RLIMIT_NOFILE's hard limit */

/* Entries for n files: few lie on the caller's stack. NULL: no memory. */
struct poll_entry *poll_entries(struct poll_entry on_stack[POLL_ON_STACK], u32 n);
void poll_entries_free(struct poll_entry *e, const struct poll_entry *on_stack);
/* Waits until an entry is ready: how many are, 0 at the deadline, -EINTR.
 * With block false it only looks. */
long poll_entries_wait(struct poll_entry *e, u32 n, bool block, u64 deadline);

/* A timeout that the program passed by pointer and wants the rest of. */
struct poll_timeout { bool block; u64 deadline; };
struct poll_timeout poll_timeout_ns(u64 ns);
u64 poll_timeout_left(const struct poll_timeout *t); /* ns; counts as a clock read if it tells anything */
long poll_timespec(const struct __kernel_timespec *ts, struct poll_timeout *t); /* ts NULL: for ever */
void poll_timespec_left(struct __kernel_timespec *ts, const struct poll_timeout *t);

#endif
