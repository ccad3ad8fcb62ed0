/*
 * extended.c: extended registers over a switch of threads.
 *
 * XSAVE and XRSTOR are microcode and take most of a switch, however little there
 * is to save. Where the CPU tells which components are in use, and a thread uses
 * none but the vector registers, plain stores and loads do it in a fraction of the
 * time (docs/decisions/guest.md). Components that are not in use are left so: their state is
 * nobody's, signal frames and snapshots leave it out, and on some CPUs upper
 * halves that are in use slow down code that uses the lower ones.
 */
#include "exec.h"
#include "extended.h"

/* State components, SDM vol. 1, 13.1. */
#define SSE 0x02ull
#define AVX 0x04ull
#define OPMASK 0x20ull
#define ZMM_HI256 0x40ull
#define HI16_ZMM 0x80ull
#define UPPER (AVX | ZMM_HI256) /* of the lower 16 registers */
#define AVX512 (OPMASK | ZMM_HI256 | HI16_ZMM)

u32 xsave_bytes;
static bool tells_use;    /* XGETBV tells what is in use */
static bool compact;      /* the CPU has XSAVEC */
static u64 plain;         /* components that plain stores and loads can move */

/* A thread's registers as plain stores leave them, in the memory of the other form,
 * whose header has bytes that must stay zero (SDM vol. 1, 13.4.2). */
struct vectors {
	u8 legacy_and_header[576];
	u32 mxcsr;
	u8 low[16][64] __attribute__((aligned(64)));
	u8 high[16][64];
	u64 masks[8];
};
_Static_assert(sizeof(struct vectors) <= PAGE_SIZE, "a thread has a page for either form");

static const u8 initial[576] __attribute__((aligned(64))); /* XSTATE_BV = 0: no component */

static void cpuid(u32 leaf, u32 sub, u32 *a, u32 *b)
{
	u32 c = sub, d;
	*a = leaf;
	__asm__ volatile("cpuid" : "+a"(*a), "=b"(*b), "+c"(c), "=d"(d));
}

void extended_init(void)
{
	u64 mask = boot_info->xsave_mask;
	u32 a, b;
	xsave_bytes = sizeof initial; /* legacy region and header; the standard format (SDM vol. 1, 13.4) */
	for (u32 i = 2; i < 63; i++)
		if (mask >> i & 1) {
			cpuid(0xd, i, &a, &b); /* size, offset */
			xsave_bytes = MAX(xsave_bytes, b + a);
		}
	cpuid(0xd, 1, &a, &b);
	compact = a & 2;
	tells_use = a & 4; /* XGETBV with ECX = 1, SDM vol. 1, 13.2 */
	cpuid(7, 0, &a, &b);
	plain = mask & (SSE | AVX | (b >> 30 & 1 ? AVX512 : 0)); /* AVX512BW has kmovq */
}

static u64 in_use(void)
{
	u32 a, d;
	if (!tells_use)
		return boot_info->xsave_mask;
	__asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(1));
	return ((u64)d << 32 | a) & boot_info->xsave_mask;
}

#define EACH_LOW(i) ".irp r,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n" i "\n.endr"
#define EACH_HIGH(i) ".irp r,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n" i "\n.endr"
#define EACH_MASK(i) ".irp r,0,1,2,3,4,5,6,7\n" i "\n.endr"

static void store(struct vectors *v, u64 used)
{
	__asm__ volatile("stmxcsr %0" : "=m"(v->mxcsr));
	if (used & ZMM_HI256)
		__asm__ volatile(EACH_LOW("vmovdqa64 %%zmm\\r, 64*\\r(%0)") ::"r"(v->low) : "memory");
	else if (used & AVX)
		__asm__ volatile(EACH_LOW("vmovdqa %%ymm\\r, 64*\\r(%0)") ::"r"(v->low) : "memory");
	else
		__asm__ volatile(EACH_LOW("movaps %%xmm\\r, 64*\\r(%0)") ::"r"(v->low) : "memory");
	if (used & HI16_ZMM)
		__asm__ volatile(EACH_HIGH("vmovdqa64 %%zmm\\r, 64*(\\r-16)(%0)") ::"r"(v->high) : "memory");
	if (used & OPMASK)
		__asm__ volatile(EACH_MASK("kmovq %%k\\r, 8*\\r(%0)") ::"r"(v->masks) : "memory");
}

/* gone: in use until now, and not in v. */
static void load(const struct vectors *v, u64 used, u64 gone)
{
	__asm__ volatile("ldmxcsr %0" ::"m"(v->mxcsr));
	if (gone & UPPER)
		__asm__ volatile("vzeroupper");
	if (used & ZMM_HI256)
		__asm__ volatile(EACH_LOW("vmovdqa64 64*\\r(%0), %%zmm\\r") ::"r"(v->low) : "memory");
	else if (used & AVX)
		__asm__ volatile(EACH_LOW("vmovdqa 64*\\r(%0), %%ymm\\r") ::"r"(v->low) : "memory");
	else
		__asm__ volatile(EACH_LOW("movaps 64*\\r(%0), %%xmm\\r") ::"r"(v->low) : "memory");
	if (used & HI16_ZMM)
		__asm__ volatile(EACH_HIGH("vmovdqa64 64*(\\r-16)(%0), %%zmm\\r") ::"r"(v->high) : "memory");
	else if (gone & HI16_ZMM)
		__asm__ volatile(EACH_HIGH("vpxorq %%zmm\\r, %%zmm\\r, %%zmm\\r") ::);
	if (used & OPMASK)
		__asm__ volatile(EACH_MASK("kmovq 8*\\r(%0), %%k\\r") ::"r"(v->masks) : "memory");
	else if (gone & OPMASK)
		__asm__ volatile(EACH_MASK("kxorq %%k\\r, %%k\\r, %%k\\r") ::);
}

static void save(struct thread *t, u64 used)
{
	if (!t->extended && !(t->extended = page_alloc(PAGE_UP(xsave_bytes) / PAGE_SIZE)))
		panic("no memory for the extended state of thread %u", t->tid);
	t->vectors_only = !(used & ~plain);
	t->extended_used = used;
	if (t->vectors_only) {
		store(t->extended, used);
		return;
	}
	u64 m = boot_info->xsave_mask;
	if (compact)
		__asm__ volatile("xsavec64 (%0)" ::"r"(t->extended), "a"((u32)m), "d"((u32)(m >> 32)) : "memory");
	else
		xsave(t->extended);
}

void extended_switch(struct thread *prev, struct thread *next)
{
	u64 used = in_use();
	if (prev->state != THREAD_DEAD)
		save(prev, used);
	if (!next->extended)
		return;
	if (!next->vectors_only) {
		xrstor(next->extended, boot_info->xsave_mask);
		return;
	}
	if (used & ~plain)
		xrstor(initial, used & ~plain);
	load(next->extended, next->extended_used, used & ~next->extended_used);
}

void extended_exec(void)
{
	const u32 mxcsr = 0x1f80; /* SDM vol. 1, 10.2.3: after reset */
	xrstor(initial, boot_info->xsave_mask);
	__asm__ volatile("ldmxcsr %0" ::"m"(mxcsr));
}

void extended_inherit(struct thread *t) { save(t, in_use()); }

void extended_free(struct thread *t)
{
	if (t->extended)
		page_free(t->extended, PAGE_UP(xsave_bytes) / PAGE_SIZE);
}
