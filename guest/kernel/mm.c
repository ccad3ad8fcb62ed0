/*
 * mm.c: the region allocator. Addresses are physical and identity mapped, so
 * a mapping is a run of RAM pages marked in a bitmap and nothing else.
 *
 * Two bitmaps, both read by the monitor at capture: `used` (allocated) and
 * `clean` (known to be zero: free, or set aside by PROT_NONE and never opened).
 * Free pages that are not clean are zeroed by the monitor when it captures, so
 * freed memory never enters a snapshot, and by page_take() when they are handed
 * out before that. When many have come together, the monitor gets them back.
 *
 * A third, `own`, is the kernel library's alone: pages that are its own and not the
 * program's, which execve therefore leaves.
 */
#include "core.h"
#include "far.h"
#include "map.h"
#include "protect.h"
#include "region.h"

static u64 *used, *clean, *own;
static u64 pages; /* RAM pages = bits */
static u64 free_pages;
static u64 own_pages;
static u64 dirty_pages; /* free and not clean, without those that the host did not take */

/* So many dirty pages go back to the host at once: fewer are likely to be taken
 * again soon, and then cost a page fault each in place of a memset. */
#define GIVE_PAGES 4096u
/* A used range is zeroed by the host from this length on. */
#define ZERO_PAGES 64u
static struct abi_range give[ABI_GIVE_RANGES];

/* The main stack's guard, which stays as long as the program. */
static u64 guard_start, guard_end;

static inline bool bit(const u64 *map, u64 n) { return map[n / 64] >> (n % 64) & 1; }
static inline void set_bit(u64 *map, u64 n) { map[n / 64] |= 1ull << (n % 64); }
static inline void clear_bit(u64 *map, u64 n) { map[n / 64] &= ~(1ull << (n % 64)); }

static bool range_free(u64 first, u64 n)
{
	for (u64 i = first; i < first + n; i++)
		if (bit(used, i))
			return false;
	return true;
}

static bool range_used(u64 first, u64 n)
{
	for (u64 i = first; i < first + n; i++)
		if (!bit(used, i))
			return false;
	return true;
}

/* Hands out pages, zeroed. */
static void page_take(u64 first, u64 n)
{
	u64 dirty = 0; /* length of the run of not-clean pages that ends here */
	protect_reset(first, n);
	for (u64 i = first; i < first + n; i++) {
		if (i % 64 == 0 && first + n - i >= 64 && !dirty && !used[i / 64] && clean[i / 64] == ~0ull) {
			used[i / 64] = ~0ull;
			clean[i / 64] = 0;
			free_pages -= 64;
			i += 63;
			continue;
		}
		if (!bit(used, i)) {
			set_bit(used, i);
			free_pages--;
			if (dirty_pages)
				dirty_pages -= !bit(clean, i);
		}
		if (bit(clean, i)) {
			clear_bit(clean, i);
			if (dirty)
				memset((void *)((i - dirty) * PAGE_SIZE), 0, dirty * PAGE_SIZE);
			dirty = 0;
		} else {
			dirty++;
		}
	}
	if (dirty)
		memset((void *)((first + n - dirty) * PAGE_SIZE), 0, dirty * PAGE_SIZE);
}

/* Sets pages aside that nothing may touch: they keep, or get, the mark of being
 * zero, so that mapping parts of a large reservation later costs nothing. */
static void page_reserve(u64 first, u64 n)
{
	for (u64 i = first; i < first + n; i++) {
		if (i % 64 == 0 && first + n - i >= 64 && !used[i / 64] && clean[i / 64] == ~0ull) {
			used[i / 64] = ~0ull;
			free_pages -= 64;
			i += 63;
			continue;
		}
		if (bit(used, i) || !bit(clean, i))
			page_take(i, 1);
		else
			free_pages--;
		set_bit(used, i);
		set_bit(clean, i);
	}
}

static void flush_ranges(u32 *n)
{
	if (*n)
		doorbell(ABI_DOORBELL_GIVE, *n);
	*n = 0;
}

static void add_range(u32 *n, u64 first, u64 count)
{
	give[(*n)++] = (struct abi_range){first, count};
	if (*n == ABI_GIVE_RANGES)
		flush_ranges(n);
}

/* Offers free pages that are marked as clean to the host. What it does not take
 * is not clean. */
static void flush_offer(u32 *n)
{
	if (*n)
		doorbell(ABI_DOORBELL_OFFER, *n);
	for (u32 r = 0; r < *n; r++) {
		const volatile struct abi_range *kept = &give[r];
		for (u64 i = kept->first, end = i + kept->count; i < end; i++)
			clear_bit(clean, i);
	}
	*n = 0;
}

/* Offers all dirty pages to the host: those of a snapshot are cheaper to keep. */
static void give_back(void)
{
	u32 n = 0;
	for (u64 i = 0; i < pages;) {
		if (i % 64 == 0 && (used[i / 64] | clean[i / 64]) == ~0ull) {
			i += 64;
			continue;
		}
		u64 first = i;
		for (; i < pages && !bit(used, i) && !bit(clean, i); i++)
			set_bit(clean, i);
		if (i == first) {
			i++;
			continue;
		}
		give[n++] = (struct abi_range){first, i - first};
		if (n == ABI_GIVE_RANGES)
			flush_offer(&n);
	}
	flush_offer(&n);
	dirty_pages = 0;
}

static void page_give(u64 first, u64 n)
{
	for (u64 i = first; i < first + n; i++)
		if (bit(used, i)) {
			clear_bit(used, i);
			free_pages++;
			dirty_pages += !bit(clean, i);
		}
	if (dirty_pages >= GIVE_PAGES)
		give_back();
}

/* The highest run of n free pages that ends at or below limit; 0: none. */
static u64 find_free(u64 n, u64 limit, u64 align)
{
	u64 run = 0;
	for (u64 i = limit; i-- > 1;) {
		if (run == 0 && used[i / 64] == ~0ull) {
			i = i / 64 * 64; /* a word of used pages */
			continue;
		}
		if (bit(used, i)) {
			run = 0;
			continue;
		}
		if (i % 64 == 63 && !used[i / 64] && i >= 64 && run + 64 < n) {
			run += 64; /* a word of free pages, and not the last of the run */
			i -= 63;
			continue;
		}
		if (++run >= n && i % align == 0)
			return i;
	}
	return 0;
}

void mm_init(void)
{
	pages = boot_info->ram_bytes / PAGE_SIZE;
	u64 words = (pages + 63) / 64, map_pages = (words * 8 + PAGE_SIZE - 1) / PAGE_SIZE;
	u64 top = boot_info->tables_gpa / PAGE_SIZE, first = top - 3 * map_pages;
	own = (u64 *)(first * PAGE_SIZE);
	used = (u64 *)((first + map_pages) * PAGE_SIZE);
	clean = (u64 *)((first + 2 * map_pages) * PAGE_SIZE);
	free_pages = pages;
	memset(clean, 0xff, words * 8);
	if (pages % 64) /* bits past the end are used for ever */
		used[words - 1] = own[words - 1] = ~0ull << (pages % 64);
	mm_claim(0, (u64)kernel_end / PAGE_SIZE);
	mm_own(0, (u64)kernel_end / PAGE_SIZE, true);
	mm_claim(first * PAGE_SIZE, pages - first);
	mm_own(first * PAGE_SIZE, pages - first, true);
	control->used_bitmap = (u64)used;
	control->clean_bitmap = (u64)clean;
	control->bitmap_pages = pages;
	control->give_gpa = (u64)give;
}

long mm_claim(u64 addr, u64 n)
{
	u64 first = addr / PAGE_SIZE;
	if (first + n > pages || first + n < first)
		return -ENOMEM;
	for (u64 i = first; i < first + n; i++) {
		if (!bit(used, i)) {
			set_bit(used, i);
			free_pages--;
			if (dirty_pages)
				dirty_pages -= !bit(clean, i);
		}
		clear_bit(clean, i);
	}
	return 0;
}

u64 mm_map_anywhere(u64 n)
{
	if (n == 0 || n > free_pages)
		return 0;
	u64 first = find_free(n, pages, 1);
	if (first)
		page_take(first, n);
	return first * PAGE_SIZE;
}

void mm_own(u64 addr, u64 n, bool is)
{
	for (u64 i = addr / PAGE_SIZE, end = i + n; i < end; i++)
		if (bit(own, i) != is) {
			own[i / 64] ^= 1ull << (i % 64);
			own_pages += is ? 1 : ~0ull;
		}
}

u64 mm_own_pages(void) { return own_pages; }

bool mm_owns(u64 addr, u64 n)
{
	for (u64 i = addr / PAGE_SIZE, end = i + n; i < end; i++)
		if (bit(own, i))
			return true;
	return false;
}

void mm_give_program(void)
{
	for (u64 i = 0; i < pages;) {
		u64 word = used[i / 64] & ~own[i / 64];
		if (i % 64 == 0 && !word) {
			i += 64;
			continue;
		}
		u64 first = i;
		while (i < pages && bit(used, i) && !bit(own, i))
			i++;
		if (i == first)
			i++;
		else
			page_give(first, i - first);
	}
	guard_start = guard_end = 0;
}

void *page_alloc(u64 n)
{
	u64 addr = mm_map_anywhere(n);
	if (addr)
		mm_own(addr, n, true);
	return (void *)addr;
}

void page_free(void *addr, u64 n)
{
	mm_own((u64)addr, n, false);
	page_give((u64)addr / PAGE_SIZE, n);
}

u64 ram_pages_total(void) { return pages; }
u64 ram_pages_free(void) { return free_pages; }

static bool in_image(u64 addr, u64 n)
{
	u64 start = boot_info->image_gpa, len = boot_info->image_bytes;
	return addr >= start && n <= len && addr - start <= len - n;
}

void mm_guard(u64 addr, u64 bytes)
{
	guard_start = addr;
	guard_end = addr + bytes;
	guard_add(addr / PAGE_SIZE, bytes / PAGE_SIZE, false);
}

static bool in_ram(u64 addr, u64 n)
{
	u64 end = pages * PAGE_SIZE;
	if (addr < guard_end && addr + n > guard_start)
		return false;
	return addr >= (u64)kernel_end && n <= end && addr <= end - n;
}

static bool allowed(u64 addr, u64 n, bool write)
{
	if (far_address(addr))
		return far_access(addr, n);
	if (region_address(addr))
		return region_allows(addr, n, write);
	return (in_ram(addr, n) || in_image(addr, n)) && protect_allows(addr, n, write);
}

bool user_readable(const void *p, u64 n) { return allowed((u64)p, n, false); }
/* Libraries' data segments are written where they lie in the image: the
 * monitor maps it copy-on-write. */
bool user_writable(void *p, u64 n) { return allowed((u64)p, n, true); }

long user_strlen(const char *s, size_t max)
{
	for (size_t i = 0; i < max; i++) {
		if ((i == 0 || ((u64)(s + i) % PAGE_SIZE) == 0) && !user_readable(s + i, 1))
			return -EFAULT;
		if (!s[i])
			return (long)i;
	}
	return -ENAMETOOLONG;
}

/* ---- what the other mapping calls need (map.c) ------------------------------ */

bool mm_is_free(u64 addr, u64 n) { return addr / PAGE_SIZE + n <= pages && range_free(addr / PAGE_SIZE, n); }
bool mm_is_clean(u64 page) { return bit(clean, page); }
u64 mm_guard_end(void) { return guard_end; }
bool mm_is_used(u64 addr, u64 n) { return addr / PAGE_SIZE + n <= pages && range_used(addr / PAGE_SIZE, n); }
bool mm_in_ram(u64 addr, u64 bytes) { return in_ram(addr, bytes); }
bool mm_in_image(u64 addr, u64 bytes) { return in_image(addr, bytes); }
bool mm_mapped(u64 addr, u64 bytes)
{
	if (region_address(addr))
		return region_allows(addr, bytes, false);
	return in_image(addr, bytes) || (far_address(addr) && far_reserved(addr, bytes)) || (in_ram(addr, bytes) && range_used(addr / PAGE_SIZE, PAGE_UP(bytes) / PAGE_SIZE));
}
void mm_take(u64 addr, u64 n) { page_take(addr / PAGE_SIZE, n); }
void mm_reserve(u64 addr, u64 n) { page_reserve(addr / PAGE_SIZE, n); }
void mm_open(u64 addr, u64 n)
{
	u64 first = addr / PAGE_SIZE, below = first;
	guard_lift(first, n);
	for (u64 i = first; i < first + n; i++)
		if (bit(used, i))
			clear_bit(clean, i);
	/* What stays closed below is a guard, if it is that small: so threads' stacks are made. */
	while (first - below <= GUARD_PAGES && bit(used, below - 1) && bit(clean, below - 1))
		below--;
	if (below < first && first - below <= GUARD_PAGES)
		guard_add(below, first - below, false);
}
void mm_close(u64 addr, u64 n)
{
	u64 first = addr / PAGE_SIZE;
	bool touched = false;
	for (u64 i = first; i < first + n; i++) {
		touched |= !bit(clean, i);
		if (!bit(used, i) || fs_owns(i * PAGE_SIZE))
			return;
	}
	guard_add(first, n, touched);
}

static bool is_zero(const u64 *p)
{
	for (u64 i = 0; i < PAGE_SIZE / 8; i++)
		if (p[i])
			return false;
	return true;
}

void mm_zero(u64 addr, u64 n)
{
	u32 ranges = 0;
	u64 end = addr / PAGE_SIZE + n;
	for (u64 i = addr / PAGE_SIZE; i < end;) {
		if (bit(clean, i) || fs_owns(i * PAGE_SIZE)) {
			i++;
			continue;
		}
		u64 first = i;
		while (i < end && !bit(clean, i) && !fs_owns(i * PAGE_SIZE))
			i++;
		if (i - first >= ZERO_PAGES || !protect_allows(first * PAGE_SIZE, (i - first) * PAGE_SIZE, true)) {
			add_range(&ranges, first, i - first);
			continue;
		}
		for (u64 p = first; p < i; p++)
			if (!is_zero((void *)(p * PAGE_SIZE))) /* do not dirty what was never touched */
				memset((void *)(p * PAGE_SIZE), 0, PAGE_SIZE);
	}
	flush_ranges(&ranges);
}
void mm_give(u64 addr, u64 n) { page_give(addr / PAGE_SIZE, n); }
u64 mm_find(u64 n, u64 limit, u64 align) { return n && n <= free_pages ? find_free(n, limit / PAGE_SIZE, align / PAGE_SIZE) * PAGE_SIZE : 0; }
