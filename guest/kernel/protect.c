/*
 * protect.c: what the program may do with a page: the page table entries of RAM
 * and image, and the guards, pages that nothing may touch.
 *
 * Under kvm_pvm the CPU walks copies of the tables that KVM makes entry by entry
 * when a page is first touched, and nothing at the guest's level can have one
 * dropped. So what is allowed again takes effect at once, and so does what is
 * forbidden where no page was touched yet, which guards below stacks are. For
 * other pages the monitor is asked, who can have KVM forget its copies; where
 * guests are processes it keeps the copies itself and is asked always. At CPL 0
 * an instruction does it.
 *
 * What is read-only in whole stretches of 2 MiB, most of the image and of a large
 * program, is mapped by one entry each until a page of it is opened.
 *
 * The kernel library runs with these entries as well: it must not touch a page
 * that they forbid. user_readable and user_writable ask here.
 */
#include "core.h"
#include "map.h"
#include "protect.h"

#define guards ((volatile struct abi_guards *)ABI_GUARDS_GPA)
#define directory ((volatile u64 *)ABI_PD_GPA) /* by 2 MiB */
#define WRITABLE ((u64)ABI_PTE_PRESENT | ABI_PTE_WRITABLE)
#define READ_ONLY ((u64)ABI_PTE_BITS & ~(u64)ABI_PTE_WRITABLE)
#define LARGE 512u /* pages that an entry of the directory maps */

static volatile u64 *entries; /* by page; those below a large entry say what it says */
static u64 text_start, text_end; /* RAM in which read-only segments lie, as page numbers */

static bool at_cpl0(void)
{
	u64 cs;
	__asm__ volatile("movq %%cs, %0" : "=r"(cs));
	return (cs & 3) == 0;
}

static void flush(u64 page)
{
	if (at_cpl0())
		__asm__ volatile("invlpg (%0)" ::"r"(page * PAGE_SIZE) : "memory");
}

/* Maps 2 MiB, all of them read-only, by one entry: where the host has huge pages
 * too, the first touch of any of it is the last that faults. */
static void join(u64 i)
{
	u64 large = i * LARGE * PAGE_SIZE | READ_ONLY | ABI_PTE_LARGE;
	if (directory[i] == large)
		return;
	directory[i] = large;
	flush(i * LARGE);
}

/* Maps them by the entries of their pages, one of which is about to change. */
static void split(u64 i)
{
	if (!(directory[i] & ABI_PTE_LARGE))
		return;
	directory[i] = ((u64)entries + i * PAGE_SIZE) | ABI_PTE_TABLE;
	flush(i * LARGE);
}

/* Joins what can be joined of pages. */
static void join_all(u64 first, u64 end)
{
	for (u64 i = (first + LARGE - 1) / LARGE; i < end / LARGE; i++) {
		u64 n = 0;
		while (n < LARGE && entries[i * LARGE + n] == ((i * LARGE + n) * PAGE_SIZE | READ_ONLY))
			n++;
		if (n == LARGE)
			join(i);
	}
}

void protect_init(void)
{
	entries = (volatile u64 *)boot_info->tables_gpa;
	/* The monitor has made the image read-only; to look would touch its tables. */
	u64 first = boot_info->image_gpa / PAGE_SIZE, end = first + boot_info->image_bytes / PAGE_SIZE;
	for (u64 i = (first + LARGE - 1) / LARGE; i < end / LARGE; i++)
		join(i);
}

bool protect_allows(u64 addr, u64 bytes, bool write)
{
	u64 need = write ? WRITABLE : ABI_PTE_PRESENT;
	if (!bytes)
		return true;
	for (u64 i = addr / PAGE_SIZE, last = (addr + bytes - 1) / PAGE_SIZE; i <= last; i++)
		if ((entries[i] & need) != need)
			return false;
	return true;
}

/* Gives n entries these bits, and reports whether any lost one. */
static bool set_entries(u64 first, u64 n, u64 bits)
{
	bool lost = false;
	for (u64 i = first; i < first + n; i++) {
		u64 old = entries[i], new = i * PAGE_SIZE | bits;
		if (old == new)
			continue;
		split(i / LARGE);
		entries[i] = new; /* an unchanged one is left alone: a store dirties the table */
		lost |= (old & ~new & WRITABLE) != 0;
		flush(i);
	}
	return lost;
}

/* Has copies of these entries dropped. touched: the pages may have been used. */
static void tell(u64 first, u64 n, bool touched)
{
	if (at_cpl0() || !(touched || identity->protect))
		return;
	control->protect.first = first;
	control->protect.count = n;
	doorbell(ABI_DOORBELL_PROTECT, 0);
}

void protect_far(void) { doorbell(ABI_DOORBELL_FAR, 0); }

static u64 bits_of(bool write) { return write ? ABI_PTE_BITS : READ_ONLY; }

void protect_reset(u64 first, u64 n)
{
	guard_lift(first, n);
	if (first < text_end && text_start < first + n)
		set_entries(first, n, ABI_PTE_BITS);
}

void protect_text(u64 addr, u64 bytes)
{
	u64 first = addr / PAGE_SIZE, end = first + PAGE_UP(bytes) / PAGE_SIZE;
	if (first >= text_start && end <= text_end)
		set_entries(first, end - first, bits_of(false));
}

void protect_set(u64 addr, u64 bytes, bool write)
{
	if (!write && mm_in_ram(addr, bytes)) {
		u64 first = addr / PAGE_SIZE, end = PAGE_UP(addr + bytes) / PAGE_SIZE;
		text_start = text_end ? MIN(text_start, first) : first;
		text_end = MAX(text_end, end);
	}
	set_entries(PAGE_DOWN(addr) / PAGE_SIZE, (PAGE_UP(addr + bytes) - PAGE_DOWN(addr)) / PAGE_SIZE, bits_of(write));
}

void protect_segments(const Elf64_Phdr *ph, u32 n, u64 bias, bool copied)
{
	bool joined = false;
	/* A page that two segments share is as writable as either. */
	for (int write = 0; write < 2; write++)
		for (u32 i = 0; i < n; i++) {
			u64 start = bias + ph[i].p_vaddr, bytes = ph[i].p_memsz;
			if (ph[i].p_type == PT_LOAD && bytes && !(ph[i].p_flags & PF_W) == !write &&
			    (mm_in_image(start, bytes) || mm_in_ram(start, bytes)))
				protect_set(start, bytes, write);
		}
	for (u32 i = 0; i < n; i++) {
		u64 start = bias + ph[i].p_vaddr, bytes = ph[i].p_memsz;
		if (ph[i].p_type != PT_LOAD || !bytes || ph[i].p_flags & PF_W || !mm_in_ram(start, bytes))
			continue;
		u64 first = start / PAGE_SIZE, end = PAGE_UP(start + bytes) / PAGE_SIZE;
		tell(first, end - first, copied);
		joined = true;
	}
	if (joined) /* only now: two segments may meet in a stretch */
		join_all(text_start, text_end);
}

/* ---- guards ------------------------------------------------------------------ */

/* Guards whose memory was given back stay until it is used again: the next
 * thread's stack often lies in the same place. They go when room is needed. */
static void drop_unused(void)
{
	for (u32 i = 0; i < guards->count;) {
		u64 first = guards->ranges[i].first, n = guards->ranges[i].count;
		if (mm_is_used(first * PAGE_SIZE, 1)) {
			i++;
			continue;
		}
		guards->ranges[i] = guards->ranges[--guards->count];
		set_entries(first, n, ABI_PTE_BITS);
	}
}

static bool append(u64 first, u64 n)
{
	if (guards->count == ABI_GUARDS_MAX)
		return false;
	guards->ranges[guards->count] = (struct abi_range){first, n};
	guards->count = guards->count + 1;
	return true;
}

void guard_lift(u64 first, u64 n)
{
	u64 end = first + n;
	for (u32 i = 0; i < guards->count;) {
		u64 from = guards->ranges[i].first, to = from + guards->ranges[i].count;
		if (to <= first || end <= from) {
			i++;
			continue;
		}
		guards->ranges[i] = guards->ranges[--guards->count];
		u64 lo = MAX(from, first), hi = MIN(to, end);
		if (from < lo && !append(from, lo - from))
			lo = from;
		if (hi < to && !append(hi, to - hi))
			hi = to;
		set_entries(lo, hi - lo, ABI_PTE_BITS);
	}
}

bool guard_add(u64 first, u64 n, bool touched)
{
	for (u32 i = 0; i < guards->count; i++)
		if (guards->ranges[i].first == first && guards->ranges[i].count == n)
			return true;
	guard_lift(first, n);
	if (guards->count == ABI_GUARDS_MAX)
		drop_unused();
	if (!append(first, n))
		return false;
	set_entries(first, n, 0);
	tell(first, n, touched);
	return true;
}
