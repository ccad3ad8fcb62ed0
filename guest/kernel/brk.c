/*
 * brk.c: the heap that grows at its end.
 */
#include "core.h"
#include "map.h"

static u64 brk_start, brk_now;

u64 mm_brk_start(void) { return brk_start; }
void mm_set_brk(u64 start) { brk_start = brk_now = PAGE_UP(start); }

long sys_brk(u64 want)
{
	if (want < brk_start)
		return (long)brk_now;
	u64 have = PAGE_UP(brk_now), need = PAGE_UP(want);
	if (need / PAGE_SIZE > ram_pages_total())
		return (long)brk_now;
	if (need > have) {
		if (!mm_is_free(have, (need - have) / PAGE_SIZE))
			return (long)brk_now;
		mm_take(have, (need - have) / PAGE_SIZE);
	} else {
		mm_give(need, (have - need) / PAGE_SIZE);
		if (want < brk_now && want % PAGE_SIZE) /* what comes back later must be zero */
			memset((void *)want, 0, MIN(PAGE_UP(want), brk_now) - want);
	}
	brk_now = want;
	return (long)want;
}
