/*
 * far_areas.c: reservations of the far window. One is an interval of addresses and
 * nothing else; what of it is memory is in far.c.
 */
#include "far.h"

#define FAR_FIRST (ABI_FAR_BASE / PAGE_SIZE)
#define FAR_PAGES (FAR_BYTES / PAGE_SIZE)

/* What is set aside, in page numbers: ascending; those of one kind do not touch one another. */
struct area {
	struct area *next;
	u64 start, end;
	enum far_kind kind;
};
static struct area *areas;

bool far_window(u64 addr, u64 bytes)
{
	return addr >= ABI_FAR_BASE && bytes <= FAR_BYTES && addr - ABI_FAR_BASE <= FAR_BYTES - bytes;
}

/* Inserts [start, end), nothing of which is set aside, behind *at. */
static bool area_insert(struct area **at, u64 start, u64 end, enum far_kind kind)
{
	struct area *next = *at, *a = container_of(at, struct area, next);
	bool below = at != &areas && a->end == start && a->kind == kind, above = next && next->start == end && next->kind == kind;
	if (below && above) {
		a->end = next->end;
		a->next = next->next;
		kfree(next);
	} else if (below) {
		a->end = end;
	} else if (above) {
		next->start = start;
	} else {
		struct area *n = kmalloc(sizeof *n);
		if (!n)
			return false;
		*n = (struct area){next, start, end, kind};
		*at = n;
	}
	return true;
}

u64 far_reserve(u64 bytes, enum far_kind kind)
{
	u64 n = bytes / PAGE_SIZE, start = FAR_FIRST;
	struct area **at = &areas;
	if (n == 0 || n > FAR_PAGES)
		return 0;
	for (; *at && (*at)->start - start < n; at = &(*at)->next)
		start = (*at)->end;
	if (start + n > FAR_FIRST + FAR_PAGES || !area_insert(at, start, start + n, kind))
		return 0;
	return start * PAGE_SIZE;
}

/* Takes [start, end) out of what is set aside. */
static bool area_cut(u64 start, u64 end)
{
	for (struct area **at = &areas, *a; (a = *at) && a->start < end;) {
		if (a->end <= start) {
			at = &a->next;
		} else if (a->start < start && end < a->end) {
			struct area *n = kmalloc(sizeof *n);
			if (!n)
				return false;
			*n = (struct area){a->next, end, a->end, a->kind};
			a->end = start;
			a->next = n;
			return true;
		} else if (a->start < start) {
			a->end = start;
			at = &a->next;
		} else if (end < a->end) {
			a->start = end;
			return true;
		} else {
			*at = a->next;
			kfree(a);
		}
	}
	return true;
}

long far_reserve_at(u64 addr, u64 bytes) { return far_set(addr, bytes, FAR_PLAIN); }

long far_set(u64 addr, u64 bytes, enum far_kind kind)
{
	u64 start = addr / PAGE_SIZE, end = start + bytes / PAGE_SIZE;
	if (!area_cut(start, end))
		return -ENOMEM;
	struct area **at = &areas;
	while (*at && (*at)->start < start)
		at = &(*at)->next;
	return area_insert(at, start, end, kind) ? 0 : -ENOMEM;
}

bool far_reserved(u64 addr, u64 bytes)
{
	u64 start = addr / PAGE_SIZE, end = (addr + bytes + PAGE_SIZE - 1) / PAGE_SIZE;
	if (!far_window(addr, bytes))
		return false;
	for (struct area *a = areas; a && a->start <= start; a = a->next) {
		if (end <= a->end)
			return true;
		start = MAX(start, a->end); /* one of another kind may go on there */
	}
	return false;
}

bool far_is(u64 addr, u64 bytes, enum far_kind kind)
{
	u64 start = addr / PAGE_SIZE, end = start + bytes / PAGE_SIZE;
	struct area *a = areas;
	while (a && a->end <= start)
		a = a->next;
	for (; a && a->start <= start && a->kind >= kind; a = a->next) {
		if (end <= a->end)
			return true;
		start = a->end;
	}
	return false;
}

u64 far_fresh_stacks(void)
{
	u64 n = 0, first, end;
	for (struct area *a = areas; a; a = a->next)
		n += a->kind == FAR_STACK && far_hole(a->end - 1, &first, &end);
	return n;
}

bool far_touches(u64 addr, u64 bytes)
{
	u64 start = addr / PAGE_SIZE, end = start + bytes / PAGE_SIZE;
	for (struct area *a = areas; a && a->start < end; a = a->next)
		if (start < a->end)
			return true;
	return false;
}

long far_release(u64 addr, u64 bytes)
{
	long err = far_drop(addr, bytes);
	if (!err && !area_cut(addr / PAGE_SIZE, (addr + bytes) / PAGE_SIZE))
		err = -ENOMEM;
	return err;
}

/* At once: between two kinds a mapping may go on, and to split it takes room in the list. */
void far_release_all(void) { far_release(ABI_FAR_BASE, FAR_BYTES); }

bool far_area(u64 page, u64 *start, u64 *end, enum far_kind *kind)
{
	struct area *a = areas;
	while (a && a->end <= page)
		a = a->next;
	if (!a)
		return false;
	*start = a->start;
	*end = a->end;
	*kind = a->kind;
	return true;
}
