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
 * The kernel library runs with these entries as well: it must not touch a page
 * that they forbid. user_readable and user_writable ask here.
 */
#include "core.h"
#include "map.h"
#include "protect.h"

#define guards ((volatile struct abi_guards *)ABI_GUARDS_GPA)
#define WRITABLE ((u64)ABI_PTE_PRESENT | ABI_PTE_WRITABLE)

static volatile u64 *entries; /* by page */
static u64 text_start, text_end; /* RAM in which read-only segments lie, as page numbers */

void protect_init(void) { entries = (volatile u64 *)boot_info->tables_gpa; }

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

static bool at_cpl0(void)
{
	u64 cs;
	__asm__ volatile("movq %%cs, %0" : "=r"(cs));
	return (cs & 3) == 0;
}

/* Gives n entries these bits, and reports whether any lost one. */
static bool set_entries(u64 first, u64 n, u64 bits)
{
	bool lost = false, flush = at_cpl0();
	for (u64 i = first; i < first + n; i++) {
		u64 old = entries[i], new = i * PAGE_SIZE | bits;
		if (old == new)
			continue;
		entries[i] = new; /* an unchanged one is left alone: a store dirties the table */
		lost |= (old & ~new & WRITABLE) != 0;
		if (flush)
			__asm__ volatile("invlpg (%0)" ::"r"(i * PAGE_SIZE) : "memory");
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

static u64 bits_of(bool write) { return write ? ABI_PTE_BITS : ABI_PTE_BITS & ~ABI_PTE_WRITABLE; }

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
	set_entries(PAGE_DOWN(addr) / PAGE_SIZE, (PAGE_UP(addr + bytes) - PAGE_DOWN(addr)) / PAGE_SIZE, bits_of(write));
}

void protect_segments(const Elf64_Phdr *ph, u32 n, u64 bias, bool copied)
{
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
		text_start = text_end ? MIN(text_start, first) : first;
		text_end = MAX(text_end, end);
		tell(first, end - first, copied);
	}
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
