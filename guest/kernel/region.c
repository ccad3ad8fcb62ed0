/*
 * region.c: what is mapped of regions, a list that the monitor follows (struct
 * abi_region), and what the monitor is asked for: whether a region may be opened, to map
 * what the list says, to keep what was written, to remove one.
 *
 * The list is memory like any other, so a snapshot has it. The monitor believes nothing
 * of it: it opens what is named there anew each time.
 */
#include "region.h"
#include "core.h"

#define FIRST (ABI_REGION_BASE / PAGE_SIZE)
#define PAGES (ABI_REGION_WINDOW / PAGE_SIZE)
#define APART 512u /* mappings begin at 2 MiB, and at least a page lies between two */

static struct abi_region list[ABI_REGIONS_MAX]; /* ascending */
static u32 count;                               /* control->region_count, which anybody can write */
static struct abi_region_call call;

static long ask(u32 what)
{
	control->region_call_gpa = (u64)&call;
	control->region_gpa = (u64)list;
	control->region_count = count;
	if (what == ABI_REGION_OPEN || what == ABI_REGION_MAP)
		control->regions_opened = control->regions_opened + 1;
	call.what = what;
	call.result = -EIO;
	doorbell(ABI_DOORBELL_REGION, 0);
	return call.result;
}

static bool name_call(const char *name, u64 len)
{
	if (len == 0 || len > ABI_REGION_NAME_MAX)
		return false;
	call = (struct abi_region_call){.name_bytes = (u32)len};
	memcpy(call.name, name, len);
	return true;
}

long region_open(const char *name, u64 len, u32 flags, u64 *size)
{
	if (!name_call(name, len))
		return -ENAMETOOLONG;
	call.flags = flags;
	call.size = *size;
	long err = ask(ABI_REGION_OPEN);
	if (!err)
		*size = call.size;
	return err;
}

long region_remove(const char *name, u64 len) { return name_call(name, len) ? ask(ABI_REGION_REMOVE) : -ENAMETOOLONG; }

/* Index of the first mapping that ends behind page. */
static u32 find(u64 page)
{
	u32 i = 0;
	while (i < count && list[i].first + list[i].count <= page)
		i++;
	return i;
}

static void remove_at(u32 i)
{
	count--;
	memmove(&list[i], &list[i + 1], (count - i) * sizeof *list);
}

static void insert(u32 i, const struct abi_region *r)
{
	memmove(&list[i + 1], &list[i], (count - i) * sizeof *list);
	list[i] = *r;
	count++;
}

long region_map(const char *name, u64 len, u64 off, u64 bytes, bool write)
{
	u64 n = bytes / PAGE_SIZE, at = FIRST;
	u32 i = 0;
	if (count == ABI_REGIONS_MAX || n > PAGES)
		return -ENOMEM;
	for (; i < count && list[i].first < at + n + 1; i++)
		at = (list[i].first + list[i].count + APART) / APART * APART;
	if (len > ABI_REGION_NAME_MAX || at + n > FIRST + PAGES)
		return -ENOMEM;
	struct abi_region r = {.first = at, .count = n, .offset = off / PAGE_SIZE, .flags = write ? ABI_REGION_WRITE : 0, .name_bytes = (u32)len};
	memcpy(r.name, name, len);
	insert(i, &r);
	long err = ask(ABI_REGION_MAP);
	if (err) {
		remove_at(i);
		control->region_count = count;
	}
	return err ? err : (long)(at * PAGE_SIZE);
}

/* Makes a mapping end, and another one begin, at a page: false, there is no room. */
static bool split(u64 at)
{
	u32 i = find(at);
	if (i == count || list[i].first >= at)
		return true;
	if (count == ABI_REGIONS_MAX)
		return false;
	struct abi_region tail = list[i];
	u64 head = at - tail.first;
	tail.first += head;
	tail.offset += head;
	tail.count -= head;
	list[i].count = head;
	insert(i + 1, &tail);
	return true;
}

long region_unmap(u64 addr, u64 bytes)
{
	u64 first = addr / PAGE_SIZE, end = first + bytes / PAGE_SIZE, had = count;
	if (bytes > ABI_REGION_WINDOW || !region_address(addr + bytes - 1))
		return -EINVAL;
	if (!split(first) || !split(end)) {
		control->region_count = count; /* a snapshot that is taken now has the first split */
		return -ENOMEM;
	}
	u32 i = find(first);
	bool any = count != had;
	while (i < count && list[i].first < end) {
		remove_at(i);
		any = true;
	}
	return any ? ask(ABI_REGION_MAP) : 0;
}

void region_unmap_all(void)
{
	if (!count)
		return;
	count = 0;
	ask(ABI_REGION_MAP);
}

long region_protect(u64 addr, u64 bytes, bool write)
{
	u64 first = addr / PAGE_SIZE, end = first + bytes / PAGE_SIZE;
	u32 from = find(first), to = from;
	if (!region_allows(addr, bytes, false))
		return -ENOMEM;
	while (to < count && list[to].first < end)
		to++;
	if (list[from].first != first || list[to - 1].first + list[to - 1].count != end)
		return -EACCES; /* a part of a mapping: as for the pages of a device */
	u32 was = list[from].flags;
	for (u32 i = from; i < to; i++)
		list[i].flags = write ? ABI_REGION_WRITE : 0;
	long err = ask(ABI_REGION_MAP);
	for (u32 i = from; err && i < to; i++)
		list[i].flags = was;
	return err;
}

long region_sync(u64 addr, u64 bytes)
{
	u64 page = addr / PAGE_SIZE, end = page + bytes / PAGE_SIZE;
	if (!region_allows(addr, bytes, false))
		return -ENOMEM;
	for (u32 i = find(page); page < end; i++) {
		struct abi_region *r = &list[i];
		u64 until = MIN(end, r->first + r->count);
		name_call((const char *)r->name, r->name_bytes);
		call.offset = (r->offset + page - r->first) * PAGE_SIZE;
		call.size = (until - page) * PAGE_SIZE;
		long err = r->flags & ABI_REGION_WRITE ? ask(ABI_REGION_SYNC) : 0;
		if (err)
			return err;
		page = until;
	}
	return 0;
}

bool region_allows(u64 addr, u64 bytes, bool write)
{
	u64 page = addr / PAGE_SIZE, end = PAGE_UP(addr + bytes) / PAGE_SIZE;
	if (bytes > ABI_REGION_WINDOW || !region_address(addr + bytes - (bytes > 0)))
		return false;
	for (u32 i = find(page); page < end; i++) {
		if (i == count || list[i].first > page || (write && !(list[i].flags & ABI_REGION_WRITE)))
			return false;
		page = list[i].first + list[i].count;
	}
	return true;
}

bool region_next(u64 addr, struct abi_region *out)
{
	u32 i = find(addr / PAGE_SIZE);
	if (i == count)
		return false;
	*out = list[i];
	return true;
}
