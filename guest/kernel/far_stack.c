/*
 * far_stack.c: stacks of threads in the far window. A program asks for far more stack
 * than it uses, 8 MiB for each of glibc's threads, and a mapping in RAM takes as much
 * of it. So once half of RAM is used a stack gets addresses alone, and pages where the
 * thread first touches them: a page fault, or a system call that is handed a buffer.
 * Threads before that have theirs in RAM, where nothing faults.
 */
#include "far.h"
#include "map.h"

/* Pages that a stack gets at once: what most threads ever touch. One that goes deeper
 * gets as many again as it has there, so that a stack is a few mappings. */
#define STEP 16u

u64 far_stack(u64 bytes)
{
	u64 left = ram_pages_free(), n = bytes / PAGE_SIZE, fresh = far_fresh_stacks() + 1;
	if (n <= STEP || (left > n && left - n >= ram_pages_total() / 2))
		return 0; /* RAM does */
	/* Each gets its first pages for sure, and a mapping for them. */
	if (fresh * STEP > left || fresh > far_runs_left())
		return 0;
	return far_reserve(bytes, FAR_GUARD);
}

long far_stack_protect(u64 addr, u64 bytes, bool open)
{
	long err = far_show(addr, bytes, open);
	return err ? err : far_set(addr, bytes, open ? FAR_STACK : FAR_GUARD);
}

bool far_touch(u64 addr)
{
	u64 page = addr / PAGE_SIZE, start, end, hole, hole_end;
	enum far_kind kind;
	if (!far_address(addr) || !far_area(page, &start, &end, &kind) || kind != FAR_STACK || page < start)
		return false;
	if (!far_hole(page, &hole, &hole_end))
		return false; /* it has its page: something else is wrong */
	u64 until = end - (end - 1 - page) / STEP * STEP, first = until - MIN(until, STEP);
	u64 more = hole_end < end ? MAX(end - hole_end, STEP) : 0;
	if (more && hole_end - page <= more) { /* it goes deeper */
		first = MIN(first, hole_end - more);
		until = hole_end;
	}
	return far_fill(MAX(first, MAX(start, hole)), MIN(until, MIN(end, hole_end))) || far_usable(page * PAGE_SIZE, PAGE_SIZE);
}

bool far_access(u64 addr, u64 bytes)
{
	if (!far_window(addr, bytes))
		return false;
	while (!far_usable(addr, bytes)) {
		u64 at = addr;
		while (far_usable(at, 1))
			at = PAGE_DOWN(at) + PAGE_SIZE;
		if (!far_touch(at))
			return false;
	}
	return true;
}
