/*
 * futex.c: wait, wake, bitset, requeue and wake_op, as far as glibc, Go and
 * CPython use them; robust lists at thread exit. PI futexes are refused.
 */
#include "core.h"
#include "thread_calls.h"

#include <linux/futex.h>

enum { BUCKETS = 64 };

struct futex_waiter {
	struct futex_waiter *next;
	u32 *addr;
	u32 bitset;
	bool queued;
	struct waitq wq;
};
static struct futex_waiter *buckets[BUCKETS]; /* each in the order of arrival */

static struct futex_waiter **bucket(u32 *addr) { return &buckets[((u64)addr >> 2) % BUCKETS]; }

static void enqueue(struct futex_waiter *w)
{
	struct futex_waiter **p = bucket(w->addr);
	while (*p)
		p = &(*p)->next;
	w->next = NULL;
	w->queued = true;
	*p = w;
}

static void dequeue(struct futex_waiter *w)
{
	if (!w->queued)
		return;
	for (struct futex_waiter **p = bucket(w->addr); *p; p = &(*p)->next)
		if (*p == w) {
			*p = w->next;
			break;
		}
	w->queued = false;
}

static long wake_bits(u32 *addr, int count, u32 bitset)
{
	long woken = 0;
	struct futex_waiter *next;
	for (struct futex_waiter *w = *bucket(addr); w && woken < count; w = next) {
		next = w->next;
		if (w->addr != addr || !(w->bitset & bitset))
			continue;
		dequeue(w);
		wake_all(&w->wq);
		woken++;
	}
	return woken;
}

long futex_wake_at(u32 *addr, int count) { return wake_bits(addr, count, ~0u); }

static long futex_wait(u32 *addr, u32 expected, u64 deadline, u32 bitset)
{
	if (!bitset)
		return -EINVAL;
	if (*(volatile u32 *)addr != expected)
		return -EAGAIN;
	struct futex_waiter w = {.addr = addr, .bitset = bitset};
	enqueue(&w);
	long r;
	do
		r = wait_on(&w.wq, deadline);
	while (r == 0 && w.queued); /* spurious */
	bool was_woken = !w.queued;
	dequeue(&w);
	return was_woken ? 0 : r;
}

static long requeue(u32 *from, u32 *to, int wake, int move)
{
	long woken = wake_bits(from, wake, ~0u), moved = 0;
	struct futex_waiter *next;
	for (struct futex_waiter *w = *bucket(from); w && moved < move; w = next) {
		next = w->next;
		if (w->addr != from)
			continue;
		dequeue(w);
		w->addr = to;
		enqueue(w);
		moved++;
	}
	return woken + moved;
}

static long wake_op(u32 *addr, u32 *addr2, int wake, int wake2, u32 op)
{
	int kind = op >> 28 & 7, cmp = op >> 24 & 15;
	s32 arg = (s32)(op << 8) >> 20, cmparg = (s32)(op << 20) >> 20;
	if (op >> 31)
		arg = 1 << (arg & 31);
	u32 old = *addr2;
	switch (kind) {
	case FUTEX_OP_SET: *addr2 = (u32)arg; break;
	case FUTEX_OP_ADD: *addr2 = old + (u32)arg; break;
	case FUTEX_OP_OR: *addr2 = old | (u32)arg; break;
	case FUTEX_OP_ANDN: *addr2 = old & ~(u32)arg; break;
	case FUTEX_OP_XOR: *addr2 = old ^ (u32)arg; break;
	default: return -ENOSYS;
	}
	bool hit;
	switch (cmp) {
	case FUTEX_OP_CMP_EQ: hit = (s32)old == cmparg; break;
	case FUTEX_OP_CMP_NE: hit = (s32)old != cmparg; break;
	case FUTEX_OP_CMP_LT: hit = (s32)old < cmparg; break;
	case FUTEX_OP_CMP_LE: hit = (s32)old <= cmparg; break;
	case FUTEX_OP_CMP_GT: hit = (s32)old > cmparg; break;
	case FUTEX_OP_CMP_GE: hit = (s32)old >= cmparg; break;
	default: return -ENOSYS;
	}
	long n = wake_bits(addr, wake, ~0u);
	return hit ? n + wake_bits(addr2, wake2, ~0u) : n;
}

long sys_futex(u32 *addr, int op, u32 val, u64 timeout, u32 *addr2, u32 val3)
{
	int cmd = op & FUTEX_CMD_MASK;
	if ((u64)addr % 4)
		return -EINVAL;
	if (!user_writable(addr, 4))
		return -EFAULT;
	switch (cmd) {
	case FUTEX_WAIT:
	case FUTEX_WAIT_BITSET: {
		u64 deadline = NO_DEADLINE;
		if (timeout) {
			const struct timespec_k *ts = (void *)timeout;
			if (!user_readable(ts, sizeof *ts))
				return -EFAULT;
			if (ts->sec < 0 || ts->nsec < 0 || ts->nsec >= (s64)NS_PER_SEC)
				return -EINVAL;
			u64 ns = timespec_ns(ts);
			if (cmd == FUTEX_WAIT)
				deadline = mono_ns() + ns;
			else if (op & FUTEX_CLOCK_REALTIME)
				deadline = ns > wall_ns() ? mono_ns() + (ns - wall_ns()) : 0;
			else
				deadline = ns;
			if (deadline < ns && cmd == FUTEX_WAIT)
				deadline = NO_DEADLINE;
		}
		return futex_wait(addr, val, deadline, cmd == FUTEX_WAIT ? ~0u : val3);
	}
	case FUTEX_WAKE:
		return wake_bits(addr, (int)val, ~0u);
	case FUTEX_WAKE_BITSET:
		return val3 ? wake_bits(addr, (int)val, val3) : -EINVAL;
	case FUTEX_REQUEUE:
	case FUTEX_CMP_REQUEUE:
		if ((u64)addr2 % 4 || (s32)val < 0 || (s32)timeout < 0)
			return -EINVAL;
		if (!user_writable(addr2, 4))
			return -EFAULT;
		if (cmd == FUTEX_CMP_REQUEUE && *addr != val3)
			return -EAGAIN;
		return requeue(addr, addr2, (int)val, (int)timeout);
	case FUTEX_WAKE_OP:
		if ((u64)addr2 % 4)
			return -EINVAL;
		if (!user_writable(addr2, 4))
			return -EFAULT;
		return wake_op(addr, addr2, (int)val, (int)timeout, val3);
	default:
		return -ENOSYS;
	}
}

/* set_robust_list(2): owners' futexes are marked and their waiters woken. */
struct robust_list_k { struct robust_list_k *next; };
struct robust_head_k { struct robust_list_k list; s64 futex_offset; struct robust_list_k *pending; };

static void robust_death(struct thread *t, struct robust_list_k *entry, s64 offset)
{
	u32 *word = (u32 *)((u64)entry + (u64)offset);
	if ((u64)word % 4 || !user_writable(word, 4) || (*word & FUTEX_TID_MASK) != t->tid)
		return;
	*word = (*word & FUTEX_WAITERS) | FUTEX_OWNER_DIED;
	if (*word & FUTEX_WAITERS)
		futex_wake_at(word, 1);
}

void futex_thread_exit(struct thread *t)
{
	struct robust_head_k *head = t->robust_list;
	if (head && user_readable(head, sizeof *head)) {
		struct robust_list_k *e = head->list.next;
		for (int i = 0; i < 2048 && e != &head->list && user_readable(e, sizeof *e); i++, e = e->next)
			if (e != head->pending)
				robust_death(t, e, head->futex_offset);
		if (head->pending && user_readable(head->pending, sizeof *head->pending))
			robust_death(t, head->pending, head->futex_offset);
	}
	if (t->clear_child_tid && user_writable(t->clear_child_tid, 4)) {
		*t->clear_child_tid = 0;
		futex_wake_at(t->clear_child_tid, 1);
	}
}
