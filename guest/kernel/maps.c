/*
 * maps.c: what /proc/self/maps and smaps show of memory.
 */
#include "core.h"
#include "far.h"
#include "map.h"
#include "protect.h"
#include "region.h"

/* What smaps says of a range, in kB: of what is there nothing is shared or swapped. */
static u64 sizes_of(char *buf, u64 room, u64 n, u64 used_pages, const char *flags)
{
	u64 kb = PAGE_SIZE / 1024, there = used_pages * kb;
	return (u64)ksnprintf(buf, room,
			      "Size:           %8lu kB\nKernelPageSize: %8lu kB\nMMUPageSize:    %8lu kB\nRss:            %8lu kB\n"
			      "Pss:            %8lu kB\nShared_Clean:          0 kB\nShared_Dirty:          0 kB\nPrivate_Clean:         0 kB\n"
			      "Private_Dirty:  %8lu kB\nReferenced:     %8lu kB\nAnonymous:      %8lu kB\nAnonHugePages:         0 kB\n"
			      "Swap:                  0 kB\nLocked:                0 kB\nVmFlags: %s\n",
			      n * kb, kb, kb, there, there, there, there, there, flags);
}

/* One range of maps or smaps, behind len bytes; what buf has no room for only counts. */
static u64 map_line(char *buf, u64 n, u64 len, u64 first, u64 end, bool open, bool write, const char *name, bool sizes, u64 used_pages)
{
	len += (u64)ksnprintf(buf + MIN(len, n), n - MIN(len, n), "%08lx-%08lx %s 00000000 00:00 0 %s\n",
			      first * PAGE_SIZE, end * PAGE_SIZE, !open ? "---p" : write ? "rwxp" : "r-xp", name);
	if (sizes)
		len += sizes_of(buf + MIN(len, n), n - MIN(len, n), end - first, used_pages, !open ? "" : write ? "rd wr ex" : "rd ex");
	return len;
}

/* /proc/self/maps and smaps: runs of used pages that are protected in the same way,
 * and what is set aside in the far window. Pages that are mapped there count there. */
long mm_maps(char *buf, size_t n, bool sizes)
{
	u64 heap = mm_brk_start(), total = ram_pages_total();
	u64 len = 0, until = 0; /* far holds for all pages below */
	bool far = false;
	for (u64 i = (u64)kernel_end / PAGE_SIZE; i < total;) {
		if (i >= until) {
			u64 run;
			far = far_holds(i, &run);
			until = i + MIN(run, total - i);
		}
		if (far || !mm_is_used(i * PAGE_SIZE, 1)) {
			i = far ? until : i + 1;
			continue;
		}
		u64 first = i, there = 0;
		bool open = protect_allows(first * PAGE_SIZE, 1, false), write = protect_allows(first * PAGE_SIZE, 1, true);
		for (; i < until && mm_is_used(i * PAGE_SIZE, 1) && (i == first || i * PAGE_SIZE != mm_guard_end()) &&
		       protect_allows(i * PAGE_SIZE, 1, false) == open && protect_allows(i * PAGE_SIZE, 1, true) == write; i++)
			there += !mm_is_clean(i);
		const char *name = first * PAGE_SIZE <= heap && heap <= i * PAGE_SIZE ? "[heap]" : "";
		if (first * PAGE_SIZE == mm_guard_end())
			name = "[stack]";
		len = map_line(buf, n, len, first, i, open, write, name, sizes, there);
	}
	struct far_stretch s;
	for (u64 at = 0; far_next(at, &s); at = s.end)
		len = map_line(buf, n, len, s.start / PAGE_SIZE, s.end / PAGE_SIZE, s.open, s.open, "", sizes, s.pages);
	struct abi_region r;
	for (u64 at = ABI_REGION_BASE; region_next(at, &r); at = (r.first + r.count) * PAGE_SIZE) {
		char path[ABI_REGION_NAME_MAX + 32];
		ksnprintf(path, sizeof path, "/dev/seuss/region/");
		u64 start = strlen(path);
		memcpy(path + start, r.name, r.name_bytes);
		path[start + r.name_bytes] = 0;
		len = map_line(buf, n, len, r.first, r.first + r.count, true, r.flags & ABI_REGION_WRITE, path, sizes, r.count);
	}
	return (long)len;
}
