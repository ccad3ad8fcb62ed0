/*
 * core.h: what the core of the kernel library (threads, signals, memory,
 * program loading, system call entry) shares beyond kernel.h. fs/ and ipc/ do
 * not include it.
 */
#ifndef SEUSS_CORE_H
#define SEUSS_CORE_H

#include "kernel.h"

#include <asm/prctl.h>

#define KSTACK_BYTES 16384
#define SIGNALS 64
#define SIGBIT(n) (1ull << ((n) - 1))

enum thread_state { THREAD_READY, THREAD_RUNNING, THREAD_BLOCKED, THREAD_DEAD };

/* One program thread: kept at the low end of its kernel stack. */
struct thread {
	u64 ksp;        /* kernel stack pointer while it does not run */
	u64 kstack_top; /* where its next entry into the kernel library starts */
	u64 fs_base, gs_base;
	/* Extended registers while another thread runs (extended.c). */
	void *extended;     /* NULL until first needed */
	u64 extended_used;  /* components in it */
	bool vectors_only;  /* ... which are those of struct vectors */
	struct thread *run_next;
	struct thread *all_next;
	enum thread_state state;
	u32 tid;
	bool wake_pending; /* a waiter of this thread was woken */
	bool doomed;       /* ends before it returns to the program */
	struct timer sleep_timer;
	u64 cpu_ns; /* CPU time until it last stopped running */

	u32 *clear_child_tid;
	void *robust_list;

	u64 sigmask, sigpending;
	u64 saved_mask;        /* sigmask_push: the mask to put back ... */
	bool restore_mask;     /* ... once the interrupting signal's frame is built */
	u64 altstack_sp, altstack_size;
	u32 altstack_flags;
	struct abi_frame *frame; /* of the entry in progress */
	u8 policy, priority; /* of sched_setscheduler: kept for who asks, without effect */
	char name[16];
};

extern struct thread *current;
extern u64 kstack_top;
extern char kernel_end[];
extern struct thread *threads; /* all, linked by all_next */
extern u32 thread_count;

/* sched.c */
void sched_init(void);
struct thread *thread_new(void); /* not yet runnable; NULL: no memory */
void thread_ready(struct thread *t);
void thread_interrupt(struct thread *t); /* a signal came: end its wait */
void schedule(void);                     /* gives the CPU away unless current is RUNNING and alone */
void yield(void);
_Noreturn void thread_exit(void);
void threads_end_others(void); /* returns when there is only the current one, which is the first then */
void thread_end_doomed(void);  /* on the way to the program: ends a thread that another one ends */
struct thread *thread_by_tid(u32 tid);
u64 cpu_ns(void);                      /* CPU time of the process: time that was not idle */
u64 thread_cpu_ns(struct thread *t);
void poll_devices(void); /* vsock rings; wakes who waits */

/* time.c */
void timers_run(void);
void clock_lock_site(u64 address); /* ABI_SO_DRIVER */
u64 timers_next(void); /* earliest deadline or NO_DEADLINE */

/* mm.c */
void mm_init(void);
long mm_claim(u64 addr, u64 pages); /* marks pages used, e.g. a program's segments */
u64 mm_map_anywhere(u64 pages);     /* zeroed, 0: no memory */
void mm_set_brk(u64 start);
void mm_guard(u64 addr, u64 bytes); /* the one range of RAM that nothing may touch */
long mm_load_segment(struct file *f, u64 addr, u64 bytes, u64 off);
long mm_map_elf(struct file *f, u64 total, u64 *base); /* the whole span of an ET_DYN file */

/* exec.c: loads argv[0]; fills the first thread's frame. Panics with a reason. */
void exec_boot(struct abi_frame *frame);
extern u64 exec_auxv[]; /* for /proc/self/auxv */

/* signal.c */
struct siginfo_k { s32 signo, err, code, pad; u64 fields[14]; };
void signal_send_thread(struct thread *t, int sig, const struct siginfo_k *info);
void signal_send_process(int sig, const struct siginfo_k *info);
bool signal_pending(struct thread *t);
/* Delivers what is pending: rewrites the frame. True: return through return_full. */
bool signal_deliver(struct abi_frame *frame);
void signal_fault(struct abi_frame *frame, int sig, int code, u64 addr); /* synchronous: never ignored */
_Noreturn void die_by_signal(struct abi_frame *frame, int sig, u64 addr);

/* Takes a pending signal of mask for the current thread, as sigwait does. */
bool signal_take(u64 mask, struct siginfo_k *out);
u64 signal_waiting(void);   /* pending for the current thread, blocked or not */
void signalfd_notify(int sig); /* signalfd.c: a signal was sent */

/* futex.c */
long futex_wake_at(u32 *addr, int count);
void futex_thread_exit(struct thread *t);

/* vsock.c */
void vsock_poll(void);
void vsock_flush(void);
void vsock_set_driver(u32 port);

/* entry and exit (start.S) */
void switch_stacks(u64 *save_rsp, u64 rsp);
void thread_start(void);

/* ---- CPU ------------------------------------------------------------------ */

/* A platform that takes calls offers one in the identity page: there a store
 * to the device window costs a page fault and a signal. */
static inline void mmio_write32(u64 gpa, u32 v)
{
	u64 call = identity->device_store;
	if (call)
		__asm__ volatile("call *%0" ::"r"(call), "a"(v), "d"(gpa - ABI_DEVICE_GPA) : "memory");
	else
		__asm__ volatile("movl %0, (%1)" ::"a"(v), "r"(gpa) : "memory");
}
static inline u32 mmio_read32(u64 gpa)
{
	u32 v;
	__asm__ volatile("movl (%1), %0" : "=a"(v) : "r"(gpa) : "memory");
	return v;
}
static inline void doorbell(u32 reg, u32 v) { mmio_write32(ABI_DOORBELL_GPA + reg, v); }
static inline u64 rdtsc(void)
{
	u32 lo, hi;
	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (u64)hi << 32 | lo;
}
static inline u64 rdfsbase(void)
{
	u64 v;
	__asm__ volatile("rdfsbase %0" : "=r"(v));
	return v;
}
/* A host that does not keep a base that wrfsbase has set offers a call. */
static inline bool set_base_by_call(u64 which, u64 v)
{
	u64 call = identity->set_base;
	if (call)
		__asm__ volatile("call *%0" ::"r"(call), "D"(which), "S"(v) : "rax", "rcx", "r11", "memory");
	return call != 0;
}
static inline void wrfsbase(u64 v)
{
	if (!set_base_by_call(ARCH_SET_FS, v))
		__asm__ volatile("wrfsbase %0" ::"r"(v));
}
static inline u64 rdgsbase(void)
{
	u64 v;
	__asm__ volatile("rdgsbase %0" : "=r"(v));
	return v;
}
static inline void wrgsbase(u64 v)
{
	if (!set_base_by_call(ARCH_SET_GS, v))
		__asm__ volatile("wrgsbase %0" ::"r"(v));
}
#endif
