/*
 * stub.c: what the stub does between two entries of the guest: waits for its
 * turn, makes the calls that the monitor lists, takes the guest's signals.
 * It has no data; its stack and all it knows are in the shared area.
 */
#include "stub.h"

#include <asm/signal.h>
#include <asm/sigcontext.h>
#include <asm/unistd.h>

struct ucontext {
	uint64_t flags, link, stack[3];
	struct sigcontext_64 mc;
};

void stub_enter(void) __attribute__((noreturn));
void stub_park(void) __attribute__((noreturn));
void stub_resume(void) __attribute__((noreturn));
long stub_call(const volatile struct abi_call *);

static inline uint64_t ticks(void)
{
	uint32_t lo, hi;
	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (uint64_t)hi << 32 | lo;
}

static inline uint64_t fs_base(void)
{
	uint64_t v;
	__asm__ volatile("rdfsbase %0" : "=r"(v));
	return v;
}

static inline uint64_t gs_base(void)
{
	uint64_t v;
	__asm__ volatile("rdgsbase %0" : "=r"(v));
	return v;
}

static inline void copy(void *to, const void *from, uint64_t n)
{
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n)::"memory");
}

static void __attribute__((noreturn)) wait_in_kernel(void)
{
	uint32_t spinning = ABI_TURN_MONITOR;
	if (AREA->sealed && __atomic_compare_exchange_n(&AREA->turn, &spinning, ABI_TURN_PARKED, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		stub_park();
	/* Another turn came in between. Before the filter is in place there is no
	 * parking: setting up takes a millisecond. */
	if (!AREA->sealed)
		__asm__ volatile("syscall" ::"a"(__NR_sched_yield) : "rcx", "r11", "memory");
	stub_resume();
}

void stub_give(uint32_t reason) __attribute__((noreturn));
void stub_give(uint32_t reason)
{
	AREA->reason = reason;
	__atomic_store_n(&AREA->turn, ABI_TURN_MONITOR, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&AREA->asleep, __ATOMIC_SEQ_CST))
		wait_in_kernel();
	stub_resume();
}

static void make_calls(void)
{
	uint32_t n = AREA->call_count;
	for (uint32_t i = 0; i < n && i < ABI_CALLS; i++)
		AREA->calls[i].result = stub_call(&AREA->calls[i]);
}

static void save_extended(void)
{
	if (AREA->load_xsave)
		return;
	uint64_t mask = AREA->xsave_mask;
	uint8_t *to = (uint8_t *)(ABI_SHARED + ABI_XSAVE_OFFSET);
	for (int i = 512; i < 576; i++)
		to[i] = 0; /* xsave leaves reserved header bytes alone */
	__asm__ volatile("xsave64 (%0)" ::"r"(to), "a"((uint32_t)mask), "d"((uint32_t)(mask >> 32)) : "memory");
	AREA->load_xsave = 1;
}

/* Waits for a turn and takes it. */
void stub_wait(void) __attribute__((noreturn));
void stub_wait(void)
{
	uint64_t start = ticks();
	while (__atomic_load_n(&AREA->turn, __ATOMIC_ACQUIRE) != ABI_TURN_STUB) {
		if (ticks() - start > AREA->spin)
			wait_in_kernel();
		__asm__ volatile("pause");
	}
	switch (AREA->command) {
	case ABI_COMMAND_RUN:
		if (__atomic_load_n(&AREA->kick, __ATOMIC_SEQ_CST))
			stub_give(ABI_REASON_INTERRUPTED);
		stub_enter();
	case ABI_COMMAND_CALLS:
		make_calls();
		stub_give(ABI_REASON_DONE);
	case ABI_COMMAND_SAVE:
		save_extended();
		stub_give(ABI_REASON_DONE);
	default:
		AREA->turn = ABI_TURN_PARKED;
		stub_park();
	}
}

static void save(const struct sigcontext_64 *mc)
{
	volatile struct abi_area *a = AREA;
	a->rax = mc->ax, a->rbx = mc->bx, a->rcx = mc->cx, a->rdx = mc->dx;
	a->rsi = mc->si, a->rdi = mc->di, a->rsp = mc->sp, a->rbp = mc->bp;
	a->r8 = mc->r8, a->r9 = mc->r9, a->r10 = mc->r10, a->r11 = mc->r11;
	a->r12 = mc->r12, a->r13 = mc->r13, a->r14 = mc->r14, a->r15 = mc->r15;
	a->rip = mc->ip;
	a->rflags = mc->flags;
	a->fs_base = fs_base();
	a->gs_base = gs_base();
	__asm__ volatile("movw %%ds, %0\n\tmovw %%es, %1\n\tmovw %%fs, %2\n\tmovw %%gs, %3"
			 : "=m"(a->ds), "=m"(a->es), "=m"(a->fs), "=m"(a->gs));
	uint64_t n = a->xsave_bytes;
	copy((void *)(ABI_SHARED + ABI_XSAVE_OFFSET), (const void *)mc->fpstate, n < ABI_XSAVE_MAX ? n : ABI_XSAVE_MAX);
	a->load_xsave = 1;
}

void stub_on_signal(int signal, const void *info, const struct ucontext *uc);
void stub_on_signal(int signal, const void *info, const struct ucontext *uc)
{
	(void)info;
	const struct sigcontext_64 *mc = &uc->mc;
	if (signal == SIGUSR1)
		AREA->signalled = 0;
	if (mc->ip - ABI_TEXT < ABI_TEXT_SIZE) {
		if (signal == SIGUSR1)
			return; /* too late, or too early: the monitor kicks again */
		AREA->address = mc->cr2;
		stub_give(ABI_REASON_BROKEN);
	}
	if (signal == SIGUSR1) {
		save(mc);
		stub_give(ABI_REASON_INTERRUPTED);
	}
	save(mc);
	AREA->signal = (uint32_t)signal;
	AREA->trap = mc->trapno;
	AREA->error = mc->err;
	AREA->address = mc->cr2;
	stub_give(ABI_REASON_SIGNAL);
}
