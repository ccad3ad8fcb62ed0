/*
 * thread.c: creating and ending threads, thread-local storage, and the C side
 * of every entry: system call, upcall, exception.
 */
#include "syscall.h"
#include "extended.h"
#include "far.h"
#include "thread_calls.h"

#include <asm/prctl.h>
#include <asm/signal.h>
#include <asm/unistd_64.h>
#include <linux/sched.h>

/* What pthread_create asks for; anything less would be a process. */
#define THREAD_FLAGS (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD)

static long clone_thread(u64 flags, u64 stack, u32 *parent_tid, u32 *child_tid, u64 tls)
{
	if ((flags & THREAD_FLAGS) != THREAD_FLAGS) {
		syscall_unsupported(__NR_clone); /* clone3 too: counted under one name */
		return -ENOSYS; /* fork, vfork: another address space cannot exist here */
	}
	if ((flags & CLONE_PARENT_SETTID && !user_writable(parent_tid, 4)) ||
	    (flags & (CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID) && !user_writable(child_tid, 4)))
		return -EFAULT;
	struct thread *t = thread_new();
	if (!t)
		return -EAGAIN;
	struct abi_frame *f = (void *)(t->kstack_top - sizeof *f);
	*f = *current->frame;
	f->rax = 0;
	f->vector = ABI_VEC_UPCALL;
	if (stack)
		f->rsp = stack;
	/* What switch_stacks() pops: six registers and the return address. */
	u64 *sp = (u64 *)f;
	*--sp = (u64)thread_start;
	for (int i = 0; i < 6; i++)
		*--sp = 0;
	t->ksp = (u64)sp;
	t->sigmask = current->sigmask;
	t->fs_base = flags & CLONE_SETTLS ? tls : rdfsbase();
	t->gs_base = rdgsbase();
	memcpy(t->name, current->name, sizeof t->name);
	extended_inherit(t);
	if (flags & CLONE_PARENT_SETTID)
		*parent_tid = t->tid;
	if (flags & CLONE_CHILD_SETTID)
		*child_tid = t->tid;
	if (flags & CLONE_CHILD_CLEARTID)
		t->clear_child_tid = child_tid;
	thread_ready(t);
	return t->tid;
}

long sys_clone(u64 flags, u64 stack, u32 *parent_tid, u32 *child_tid, u64 tls)
{
	return clone_thread(flags, stack, parent_tid, child_tid, tls);
}

long sys_clone3(const void *args, u64 size)
{
	if (size < CLONE_ARGS_SIZE_VER0)
		return -EINVAL;
	if (!user_readable(args, size))
		return -EFAULT;
	const struct clone_args *a = args;
	return clone_thread(a->flags, a->stack ? a->stack + a->stack_size : 0, (u32 *)a->parent_tid, (u32 *)a->child_tid, a->tls);
}

long sys_exit(int status)
{
	futex_thread_exit(current);
	if (thread_count == 1)
		sys_exit_group(status);
	thread_exit();
}

long sys_exit_group(int status)
{
	for (;;)
		doorbell(ABI_DOORBELL_EXIT, (u32)status);
}

long sys_gettid(void) { return current->tid; }
long sys_sched_yield(void) { return yield(), 0; }

long sys_set_tid_address(u32 *addr)
{
	current->clear_child_tid = addr;
	return current->tid;
}

long sys_set_robust_list(void *head, u64 len)
{
	if (len != 24)
		return -EINVAL;
	current->robust_list = head;
	return 0;
}

long sys_get_robust_list(int pid, void **head, u64 *len)
{
	struct thread *t = pid ? thread_by_tid((u32)pid) : current;
	if (!t)
		return -ESRCH;
	if (!user_writable(head, 8) || !user_writable(len, 8))
		return -EFAULT;
	*head = t->robust_list;
	*len = 24;
	return 0;
}

long sys_arch_prctl(int code, u64 addr)
{
	switch (code) {
	case ARCH_SET_FS:
		return addr >> 47 ? -EPERM : (wrfsbase(addr), 0);
	case ARCH_SET_GS:
		return addr >> 47 ? -EPERM : (wrgsbase(addr), 0);
	case ARCH_GET_FS:
	case ARCH_GET_GS:
		if (!user_writable((void *)addr, 8))
			return -EFAULT;
		*(u64 *)addr = code == ARCH_GET_FS ? rdfsbase() : rdgsbase();
		return 0;
	default: /* CET, CPUID faulting */
		return -EINVAL;
	}
}

/* ---- entries -------------------------------------------------------------------- */

/* Before the program goes on: devices, timers, other threads, signals. */
static bool before_return(struct abi_frame *f)
{
	if (control->attention) {
		poll_devices();
		yield();
	}
	long result = (long)f->rax;
	bool restart = f->vector == ABI_VEC_SYSCALL && result == -ERESTARTSYS;
	if (!restart && !current->restore_mask && !signal_pending(current))
		return false;
	thread_end_doomed();
	return signal_deliver(f);
}

int syscall_dispatch(struct abi_frame *f);
int syscall_dispatch(struct abi_frame *f)
{
	u64 nr = f->rax;
	current->frame = f;
	f->error = nr; /* for a restart */
	f->rax = (u64)syscall_call(nr, f);
	bool rewritten = before_return(f);
	return rewritten || f->vector != ABI_VEC_SYSCALL; /* the latter: sigreturn */
}

void upcall_dispatch(struct abi_frame *f);
void upcall_dispatch(struct abi_frame *f)
{
	current->frame = f;
	poll_devices();
	yield();
	before_return(f);
}

struct abi_frame *exception_on_thread_stack(struct abi_frame *f);
struct abi_frame *exception_on_thread_stack(struct abi_frame *f)
{
	if (f->rip >= ABI_KERNEL_GPA && f->rip < (u64)kernel_end)
		panic("exception %lu (error %lx) in the kernel library at %lx, rsp %lx, rdi %lx, rsi %lx", f->vector, f->error,
		      f->rip, f->rsp, f->rdi, f->rsi);
	struct abi_frame *copy = (void *)(current->kstack_top - sizeof *copy);
	memcpy(copy, f, sizeof *copy);
	return copy;
}

static u64 fault_address(void)
{
	u64 v, cs;
	__asm__ volatile("movq %%cs, %0" : "=r"(cs));
	if ((cs & 3) == 0)
		__asm__ volatile("movq %%cr2, %0" : "=r"(v)); /* CPL 0 only */
	else
		__asm__ volatile("movq (%1), %0" : "=a"(v) : "r"((u64)ABI_DOORBELL_GPA + ABI_DOORBELL_CR2));
	return v;
}

void exception_dispatch(struct abi_frame *f);
void exception_dispatch(struct abi_frame *f)
{
	u64 address;
	current->frame = f;
	switch (f->vector) {
	case 0:
		signal_fault(f, SIGFPE, 1 /* FPE_INTDIV */, f->rip);
		return;
	case 16:
	case 19:
		signal_fault(f, SIGFPE, 3 /* FPE_FLTDIV */, f->rip);
		return;
	case 1:
	case 3:
		signal_fault(f, SIGTRAP, 1 /* TRAP_BRKPT */, f->rip);
		return;
	case 6:
		signal_fault(f, SIGILL, 2 /* ILL_ILLOPN */, f->rip);
		return;
	case 14:
		address = fault_address();
		if (far_touch(address))
			return;
		signal_fault(f, SIGSEGV, mm_mapped(PAGE_DOWN(address), 1) ? 2 : 1 /* SEGV_ACCERR, SEGV_MAPERR */, address);
		return;
	case 17:
		signal_fault(f, SIGBUS, 1 /* BUS_ADRALN */, f->rip);
		return;
	default: /* #GP and its like: privileged instruction, non-canonical address */
		signal_fault(f, SIGSEGV, 128 /* SI_KERNEL */, 0);
	}
}
