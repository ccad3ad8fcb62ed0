/*
 * map_far.c: the mapping calls where a range lies in the far window. Protections
 * are two: nothing (PROT_NONE), which is enforced whatever the size, and
 * everything.
 */
#include "far.h"
#include "core.h"
#include "map.h"

#include <linux/mman.h>

long far_mmap_fixed(u64 addr, u64 bytes, int prot, int flags, struct file *f, u64 off)
{
	if (!far_window(addr, bytes))
		return -ENOMEM;
	if (flags & MAP_FIXED_NOREPLACE && far_touches(addr, bytes))
		return -EEXIST;
	long err = far_drop(addr, bytes); /* what was there goes */
	if (!err)
		err = far_reserve_at(addr, bytes);
	if (!err && (prot != PROT_NONE || f))
		err = far_open(addr, bytes);
	if (!err && f)
		err = mm_load_segment(f, addr, bytes, off);
	if (!err && f && prot == PROT_NONE)
		err = far_close(addr, bytes);
	return err ? err : (long)addr;
}

long far_mprotect(u64 addr, u64 bytes, int prot)
{
	if (!far_reserved(addr, bytes))
		return -ENOMEM;
	if (far_is(addr, bytes, FAR_GUARD))
		return far_stack_protect(addr, bytes, prot != PROT_NONE);
	return prot == PROT_NONE ? far_close(addr, bytes) : far_open(addr, bytes);
}

/* mremap to a place that is given, of which one is RAM: a copy. */
static long move_across(u64 old, u64 from, u64 to, u64 new_addr)
{
	u64 keep = MIN(from, to);
	if (far_address(old) && !far_usable(old, keep))
		return -ENOMEM; /* pages that cannot be read cannot be copied */
	long at = sys_mmap(new_addr, to, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	if (at < 0)
		return at;
	if (!far_address(old))
		mm_open(old, keep / PAGE_SIZE);
	memcpy((void *)new_addr, (void *)old, keep);
	long err = sys_munmap(old, from);
	return err ? err : at;
}

/* Sets aside what a mapping grows by, and opens it if the mapping's last page is. */
static long grow(u64 last, u64 addr, u64 bytes)
{
	long err = far_reserve_at(addr, bytes);
	if (!err && far_usable(last, PAGE_SIZE))
		err = far_open(addr, bytes);
	if (err)
		far_release(addr, bytes);
	return err;
}

long far_mremap(u64 old, u64 from, u64 to, int flags, u64 new_addr)
{
	u64 last = old + from - PAGE_SIZE;
	if (far_address(old) ? !far_reserved(old, from) : !mm_mapped(old, from))
		return -EFAULT;
	if (far_is(old, from, FAR_STACK) && !far_access(old, from))
		return -ENOMEM; /* a stack that is moved has all of its pages */
	if (!(flags & MREMAP_FIXED)) {
		if (to < from) {
			long err = far_release(old + to, from - to);
			return err ? err : (long)old;
		}
		if (to == from)
			return (long)old;
		if (far_window(old, to) && !far_touches(old + from, to - from) && !grow(last, old + from, to - from))
			return (long)old;
		if (!(flags & MREMAP_MAYMOVE))
			return -ENOMEM;
	} else if (!(flags & MREMAP_MAYMOVE) || new_addr % PAGE_SIZE || (new_addr < old + from && old < new_addr + to)) {
		return -EINVAL;
	} else if (!far_address(old) || !far_address(new_addr)) {
		return move_across(old, from, to, new_addr);
	}
	u64 at = new_addr, keep = MIN(from, to);
	long err = 0;
	if (!(flags & MREMAP_FIXED)) {
		at = far_reserve(to, FAR_PLAIN);
		if (!at)
			return -ENOMEM;
	} else if (!far_window(at, to)) {
		return -EINVAL;
	} else if ((err = far_drop(at, to)) || (err = far_reserve_at(at, to))) {
		return err;
	}
	if (to > from && far_usable(last, PAGE_SIZE))
		err = far_open(at + from, to - from);
	if (!err)
		err = far_move(at, old, keep);
	if (err) {
		far_release(at, to);
		return err;
	}
	err = far_release(old, from);
	return err ? err : (long)at;
}

long far_mincore(u64 addr, u64 pages, u8 *vec)
{
	if (!far_reserved(addr, pages * PAGE_SIZE))
		return -ENOMEM;
	for (u64 i = 0; i < pages; i++)
		vec[i] = far_usable(addr + i * PAGE_SIZE, PAGE_SIZE);
	return 0;
}
