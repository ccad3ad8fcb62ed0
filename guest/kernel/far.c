/*
 * far.c: what is mapped in the far window. Where a program opens a part of what it
 * has set aside there (far_areas.c), pages of RAM are taken, and the monitor maps
 * them; what is to be mapped is in a list, struct abi_far.
 *
 * The pages keep their identity mapping, through which the kernel library zeroes
 * them. The program's accesses, and the kernel library's to its buffers, go through
 * the far address, where consecutive pages need not be so in RAM. A page is given
 * back only when it is not mapped any more.
 */
#include "far.h"
#include "map.h"
#include "protect.h"

static struct abi_far list[ABI_FAR_MAX];
static u32 count; /* control->far_count, which anybody can write */

/* The list has changed: the monitor maps what it says before this returns. */
static void publish(void)
{
	control->far_gpa = (u64)list;
	control->far_count = count;
	control->far_used = 1;
	protect_far();
}

/* ---- mappings ---------------------------------------------------------------------- */

u64 far_runs_left(void) { return ABI_FAR_MAX - count; }

/* Index of the first mapping that ends behind page. */
static u32 find(u64 page)
{
	u32 lo = 0, hi = count;
	while (lo < hi) {
		u32 mid = (lo + hi) / 2;
		if (list[mid].first + list[mid].count <= page)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static void insert(u32 i, struct abi_far e)
{
	memmove(&list[i + 1], &list[i], (count - i) * sizeof *list);
	list[i] = e;
	count++;
}

static void remove_at(u32 i)
{
	count--;
	memmove(&list[i], &list[i + 1], (count - i) * sizeof *list);
}

/* Joins the mapping i with the one before it, if they go on in both addresses. */
static bool join(u32 i)
{
	if (i == 0 || i >= count)
		return false;
	struct abi_far *a = &list[i - 1], *b = &list[i];
	if (a->first + a->count != b->first || a->ram + a->count != b->ram || a->open != b->open)
		return false;
	a->count += b->count;
	remove_at(i);
	return true;
}

/* Joins what can be joined in and beside [first, end). */
static void join_all(u64 first, u64 end)
{
	for (u32 i = find(first - 1); i < count && list[i].first <= end;)
		if (!join(i))
			i++;
}

/* Does a mapping reach over a boundary? */
static bool straddles(u64 at)
{
	u32 i = find(at);
	return i < count && list[i].first < at;
}

/* Makes mappings end at both ends of a range: false, the list has no room. */
static bool split(u64 first, u64 end)
{
	if (count + straddles(first) + straddles(end) > ABI_FAR_MAX)
		return false;
	for (int n = 0; n < 2; n++) {
		u64 at = n ? end : first;
		u32 i = find(at);
		if (!straddles(at))
			continue;
		struct abi_far e = list[i];
		u32 head = (u32)(at - e.first);
		list[i].count = head;
		insert(i + 1, (struct abi_far){at, e.ram + head, e.count - head, e.open});
	}
	return true;
}

/* Opens or closes what is mapped in a range, at whose ends mappings end. */
static void set_open(u64 first, u64 end, bool open)
{
	bool any = false;
	for (u32 i = find(first); i < count && list[i].first < end; i++) {
		any |= list[i].open != open;
		list[i].open = open;
	}
	if (any)
		publish();
}

long far_drop(u64 addr, u64 bytes)
{
	u64 first = addr / PAGE_SIZE, end = first + bytes / PAGE_SIZE;
	if (!split(first, end))
		return -ENOMEM;
	set_open(first, end, false);
	u32 i = find(first), j = i;
	for (; j < count && list[j].first < end; j++)
		mm_give(list[j].ram * PAGE_SIZE, list[j].count);
	memmove(&list[i], &list[j], (count - j) * sizeof *list);
	count -= j - i;
	control->far_count = count;
	return 0;
}

long far_close(u64 addr, u64 bytes) { return far_show(addr, bytes, false); }

long far_show(u64 addr, u64 bytes, bool open)
{
	u64 first = addr / PAGE_SIZE, end = first + bytes / PAGE_SIZE;
	if (!split(first, end))
		return -ENOMEM;
	set_open(first, end, open);
	join_all(first, end);
	control->far_count = count;
	return 0;
}

/* Takes up to n pages of RAM for what comes behind the mapping before i. They go on
 * that one's, if they can. Else they get room for as much again as there is: what
 * grows, grows often. */
static u64 take(u32 i, u64 first, u64 *n)
{
	u64 ram = 0, want = *n, limit = ram_pages_total() * PAGE_SIZE, behind = 0;
	if (i > 0 && list[i - 1].first + list[i - 1].count == first) {
		u64 next = list[i - 1].ram + list[i - 1].count, room = 0;
		while (room < want && mm_is_free((next + room) * PAGE_SIZE, 1))
			room++;
		if (room) {
			mm_take(next * PAGE_SIZE, room);
			*n = room;
			return next;
		}
		behind = list[i - 1].count;
	}
	ram = mm_find(2 * want + behind, limit, PAGE_SIZE);
	for (; !ram && want; want = ram ? want : want / 2)
		ram = mm_find(want, limit, PAGE_SIZE);
	if (ram)
		mm_take(ram, want);
	*n = want;
	return ram / PAGE_SIZE;
}

/* Takes pages for a gap between mappings. */
static bool fill(u64 first, u64 end)
{
	while (first < end) {
		u64 n = MIN(end - first, ~0u);
		u32 i = find(first);
		u64 ram = count < ABI_FAR_MAX ? take(i, first, &n) : 0;
		if (!ram)
			return false;
		insert(i, (struct abi_far){first, ram, (u32)n, 1});
		join(i);
		first += n;
	}
	return true;
}

bool far_hole(u64 page, u64 *first, u64 *end)
{
	u32 i = find(page);
	if (i < count && list[i].first <= page)
		return false;
	*first = i > 0 ? list[i - 1].first + list[i - 1].count : 0;
	*end = i < count ? list[i].first : ~0ull;
	return true;
}

bool far_fill(u64 first, u64 end)
{
	bool all = fill(first, end);
	join_all(first, end);
	publish();
	return all;
}

long far_open(u64 addr, u64 bytes)
{
	u64 first = addr / PAGE_SIZE, end = first + bytes / PAGE_SIZE, missing = end - first;
	bool changed = false;
	long err = 0;
	if (!split(first, end))
		return -ENOMEM;
	for (u32 i = find(first); i < count && list[i].first < end; i++)
		missing -= list[i].count;
	if (missing > ram_pages_free())
		err = -ENOMEM;
	for (u64 at = first; !err && at < end;) {
		u32 i = find(at);
		u64 next = i < count ? MIN(list[i].first, end) : end;
		if (at < next) {
			err = fill(at, next) ? 0 : -ENOMEM;
			changed = true;
			at = next;
			continue;
		}
		changed |= !list[i].open;
		list[i].open = 1;
		at = list[i].first + list[i].count;
	}
	join_all(first, end);
	control->far_count = count;
	if (changed)
		publish();
	return err;
}

void far_zero(u64 addr, u64 bytes)
{
	u64 first = addr / PAGE_SIZE, end = first + bytes / PAGE_SIZE;
	for (u32 i = find(first); i < count && list[i].first < end; i++) {
		u64 from = MAX(first, list[i].first), to = MIN(end, list[i].first + list[i].count);
		mm_zero((list[i].ram + from - list[i].first) * PAGE_SIZE, to - from);
	}
}

long far_move(u64 to, u64 from, u64 bytes)
{
	u64 first = from / PAGE_SIZE, end = first + bytes / PAGE_SIZE, shift = to / PAGE_SIZE - first;
	if (!split(first, end))
		return -ENOMEM;
	for (u32 i; (i = find(first)) < count && list[i].first < end;) {
		struct abi_far e = list[i];
		remove_at(i);
		e.first += shift;
		insert(find(e.first), e);
	}
	join_all(to / PAGE_SIZE, to / PAGE_SIZE + (end - first));
	publish();
	return 0;
}

bool far_usable(u64 addr, u64 bytes)
{
	if (!far_window(addr, bytes))
		return false;
	u64 page = addr / PAGE_SIZE, end = (addr + bytes + PAGE_SIZE - 1) / PAGE_SIZE;
	for (u32 i = find(page); page < end; i++) {
		if (i == count || list[i].first > page || !list[i].open)
			return false;
		page = list[i].first + list[i].count;
	}
	return true;
}

bool far_holds(u64 ram, u64 *n)
{
	u64 next = ~0ull;
	for (u32 i = 0; i < count; i++) {
		u64 start = list[i].ram, end = start + list[i].count;
		if (ram >= start && ram < end) {
			*n = end - ram;
			return true;
		}
		if (start > ram)
			next = MIN(next, start);
	}
	*n = next - ram;
	return false;
}

bool far_next(u64 addr, struct far_stretch *out)
{
	u64 page = addr / PAGE_SIZE, start, end, pages = 0;
	enum far_kind kind;
	if (!far_area(page, &start, &end, &kind))
		return false;
	u64 at = start = MAX(page, start);
	bool stack = kind == FAR_STACK, open = stack || far_usable(at * PAGE_SIZE, PAGE_SIZE);
	for (u32 i = find(at); at < end; i++) {
		u64 first = i < count ? MIN(list[i].first, end) : end;
		if (stack) {
			if (first >= end) {
				at = end;
				break;
			}
		} else if (open) {
			if (first > at || i == count || !list[i].open)
				break;
		} else if (first >= end || list[i].open) {
			at = first;
			break;
		}
		pages += list[i].first + list[i].count - MAX(first, at);
		at = list[i].first + list[i].count;
	}
	*out = (struct far_stretch){start * PAGE_SIZE, at * PAGE_SIZE, pages, open};
	return true;
}
