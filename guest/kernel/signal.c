/*
 * signal.c: dispositions, masks, pending signals, and the rt_sigframe in
 * Linux's layout, so that handlers may look into their ucontext (Go does) and
 * unwinders may walk through it.
 */
#include "extended.h"
#include "thread_calls.h"

#include <asm/sigcontext.h>
#include <asm/signal.h>

#define UC_FP_XSTATE 1
#define UC_SIGCONTEXT_SS 2
#define UC_STRICT_RESTORE_SS 4
/* sigaltstack(2) and siginfo values whose headers need a C library. */
#define SS_ONSTACK 1
#define SS_DISABLE 2
#define SS_AUTODISARM (1u << 31)
#define SI_USER 0
#define SI_TKILL (-6)

struct ucontext_k {
	u64 flags, link;
	struct stack_k stack;
	struct sigcontext_64 mc;
	u64 sigmask;
};
struct rt_sigframe {
	u64 pretcode;
	struct ucontext_k uc;
	struct siginfo_k info;
};
_Static_assert(sizeof(struct siginfo_k) == 128, "siginfo_t");

static struct sigaction_k actions[SIGNALS + 1];

/* A sent signal that waits for delivery; target NULL: any thread. */
struct pending {
	struct pending *next;
	struct thread *target;
	struct siginfo_k info;
};
static struct pending *queue;
static u64 process_pending;

#define UNBLOCKABLE (SIGBIT(SIGKILL) | SIGBIT(SIGSTOP))
#define IGNORED_BY_DEFAULT (SIGBIT(SIGCHLD) | SIGBIT(SIGURG) | SIGBIT(SIGWINCH) | SIGBIT(SIGCONT))

static bool ignored(int sig)
{
	u64 h = actions[sig].handler;
	return h == (u64)SIG_IGN || (h == (u64)SIG_DFL && SIGBIT(sig) & IGNORED_BY_DEFAULT);
}

bool signal_pending(struct thread *t) { return ((t->sigpending | process_pending) & ~t->sigmask) != 0; }

static void post(struct thread *target, int sig, const struct siginfo_k *info)
{
	struct thread *blocked_in = target ? target : current;
	if (ignored(sig) && !(blocked_in->sigmask & SIGBIT(sig)))
		return;
	u64 *mask = target ? &target->sigpending : &process_pending;
	if (*mask & SIGBIT(sig) && sig < SIGRTMIN)
		return; /* a standard signal is pending once */
	struct pending *p = kzalloc(sizeof *p);
	if (!p)
		return;
	p->target = target;
	p->info = info ? *info : (struct siginfo_k){.signo = sig};
	p->info.signo = sig;
	struct pending **tail = &queue;
	while (*tail)
		tail = &(*tail)->next;
	*tail = p;
	*mask |= SIGBIT(sig);
	signalfd_notify(sig);
	if (target) {
		if (!(target->sigmask & SIGBIT(sig)))
			thread_interrupt(target);
		return;
	}
	for (struct thread *t = threads; t; t = t->all_next)
		if (t->state != THREAD_DEAD && !(t->sigmask & SIGBIT(sig))) {
			thread_interrupt(t);
			break;
		}
}

void signal_send_thread(struct thread *t, int sig, const struct siginfo_k *info) { post(t, sig, info); }
void signal_send_process(int sig, const struct siginfo_k *info) { post(NULL, sig, info); }
void signal_self(int sig) { post(current, sig, NULL); }

/* Takes the first deliverable signal in mask off the queue. */
static bool take(struct thread *t, u64 mask, struct siginfo_k *out)
{
	for (struct pending **pp = &queue; *pp; pp = &(*pp)->next) {
		struct pending *p = *pp;
		if ((p->target && p->target != t) || !(SIGBIT(p->info.signo) & mask))
			continue;
		*out = p->info;
		*pp = p->next;
		u64 *bits = p->target ? &t->sigpending : &process_pending;
		*bits &= ~SIGBIT(out->signo);
		for (struct pending *q = queue; q; q = q->next) /* another instance waits */
			if (q->target == p->target && q->info.signo == out->signo)
				*bits |= SIGBIT(out->signo);
		kfree(p);
		return true;
	}
	return false;
}

bool signal_take(u64 mask, struct siginfo_k *out) { return take(current, mask, out); }
u64 signal_waiting(void) { return current->sigpending | process_pending; }

/* The last synchronous fault. A handler that only reports (faulthandler) sends
 * itself the same signal again to die: the report is to show the first cause. */
static struct abi_fault fault;

void die_by_signal(struct abi_frame *frame, int sig, u64 addr)
{
	if (fault.signal != (u32)sig || fault.tid != current->tid || frame->vector < 32)
		fault = (struct abi_fault){.signal = (u32)sig, .tid = current->tid, .address = addr, .frame = *frame, .fs_base = rdfsbase()};
	control->fault_gpa = (u64)&fault;
	for (;;)
		doorbell(ABI_DOORBELL_FAULT, (u32)sig);
}

static u64 frame_stack(struct thread *t, struct abi_frame *f, const struct sigaction_k *sa)
{
	bool on_alt = f->rsp - t->altstack_sp < t->altstack_size;
	if (sa->flags & SA_ONSTACK && t->altstack_size && !on_alt)
		return t->altstack_sp + t->altstack_size;
	return f->rsp - 128; /* the red zone */
}

static bool build_frame(struct abi_frame *f, const struct sigaction_k *sa, const struct siginfo_k *info, u64 oldmask)
{
	struct thread *t = current;
	u32 xbytes = xsave_bytes;
	u64 fp = (frame_stack(t, f, sa) - xbytes - FP_XSTATE_MAGIC2_SIZE) & ~63ull;
	struct rt_sigframe *sf = (void *)(((fp - sizeof *sf) & ~15ull) - 8);
	if (!user_writable(sf, fp - (u64)sf + xbytes + FP_XSTATE_MAGIC2_SIZE))
		return false;
	memset((void *)(fp + 512), 0, 64); /* xsave leaves reserved header bytes alone */
	xsave((void *)fp);
	struct _fpx_sw_bytes *sw = (void *)(fp + 464);
	memset(sw, 0, sizeof *sw);
	sw->magic1 = FP_XSTATE_MAGIC1;
	sw->extended_size = xbytes + FP_XSTATE_MAGIC2_SIZE;
	sw->xfeatures = *(u64 *)(fp + 512);
	sw->xstate_size = xbytes;
	*(u32 *)(fp + xbytes) = FP_XSTATE_MAGIC2;

	memset(&sf->uc, 0, sizeof sf->uc);
	sf->pretcode = sa->restorer;
	sf->uc.flags = UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS;
	sf->uc.stack = (struct stack_k){t->altstack_sp, t->altstack_size ? 0 : SS_DISABLE, 0, t->altstack_size};
	struct sigcontext_64 *mc = &sf->uc.mc;
	mc->r8 = f->r8, mc->r9 = f->r9, mc->r10 = f->r10, mc->r11 = f->r11;
	mc->r12 = f->r12, mc->r13 = f->r13, mc->r14 = f->r14, mc->r15 = f->r15;
	mc->di = f->rdi, mc->si = f->rsi, mc->bp = f->rbp, mc->bx = f->rbx;
	mc->dx = f->rdx, mc->ax = f->rax, mc->cx = f->rcx, mc->sp = f->rsp;
	mc->ip = f->rip, mc->flags = f->rflags, mc->cs = 0x33, mc->ss = 0x2b;
	if (f->vector < 32)
		mc->err = f->error, mc->trapno = f->vector, mc->cr2 = info->fields[0];
	mc->oldmask = oldmask;
	mc->fpstate = fp;
	sf->uc.sigmask = oldmask;
	sf->info = *info;

	f->rdi = (u64)info->signo;
	f->rsi = (u64)&sf->info;
	f->rdx = (u64)&sf->uc;
	f->rax = 0;
	f->rip = sa->handler;
	f->rsp = (u64)sf;
	f->rflags &= ~0x500ull; /* DF, TF */
	return true;
}

static void run_handler(struct abi_frame *f, const struct siginfo_k *info)
{
	int sig = info->signo;
	struct sigaction_k sa = actions[sig];
	u64 oldmask = current->restore_mask ? current->saved_mask : current->sigmask;
	current->restore_mask = false;
	if (!build_frame(f, &sa, info, oldmask))
		die_by_signal(f, SIGSEGV, f->vector == 14 ? info->fields[0] : f->rsp);
	current->sigmask |= sa.mask | (sa.flags & SA_NODEFER ? 0 : SIGBIT(sig));
	current->sigmask &= ~UNBLOCKABLE;
	if (sa.flags & SA_RESETHAND)
		actions[sig].handler = (u64)SIG_DFL;
}

bool signal_deliver(struct abi_frame *f)
{
	bool syscall = f->vector == ABI_VEC_SYSCALL, rewritten = false;
	long result = (long)f->rax;
	struct siginfo_k info;
	while (take(current, ~current->sigmask, &info)) {
		int sig = info.signo;
		if (ignored(sig))
			continue;
		if (actions[sig].handler == (u64)SIG_DFL)
			die_by_signal(f, sig, 0);
		if (syscall && result == -ERESTARTSYS) {
			if (actions[sig].flags & SA_RESTART) {
				f->rip -= 2; /* back onto the syscall instruction */
				f->rax = f->error;
			} else {
				f->rax = (u64)-EINTR;
			}
			result = 0;
		}
		run_handler(f, &info);
		rewritten = true;
	}
	if (syscall && result == -ERESTARTSYS) { /* nothing ran: go back to waiting */
		f->rip -= 2;
		f->rax = f->error;
		rewritten = true;
	}
	if (current->restore_mask) {
		current->sigmask = current->saved_mask;
		current->restore_mask = false;
	}
	return rewritten;
}

void signal_fault(struct abi_frame *f, int sig, int code, u64 addr)
{
	struct siginfo_k info = {.signo = sig, .code = code, .fields = {addr}};
	fault = (struct abi_fault){.signal = (u32)sig, .tid = current->tid, .address = addr, .frame = *f, .fs_base = rdfsbase()};
	if (actions[sig].handler == (u64)SIG_DFL || actions[sig].handler == (u64)SIG_IGN || current->sigmask & SIGBIT(sig))
		die_by_signal(f, sig, addr);
	run_handler(f, &info);
}

long sys_rt_sigreturn(void)
{
	struct abi_frame *f = current->frame;
	struct rt_sigframe *sf = (void *)(f->rsp - 8); /* the restorer's address was popped */
	if (!user_readable(sf, sizeof *sf))
		die_by_signal(f, SIGSEGV, f->rsp);
	const struct sigcontext_64 *mc = &sf->uc.mc;
	f->r8 = mc->r8, f->r9 = mc->r9, f->r10 = mc->r10, f->r11 = mc->r11;
	f->r12 = mc->r12, f->r13 = mc->r13, f->r14 = mc->r14, f->r15 = mc->r15;
	f->rdi = mc->di, f->rsi = mc->si, f->rbp = mc->bp, f->rbx = mc->bx;
	f->rdx = mc->dx, f->rax = mc->ax, f->rcx = mc->cx, f->rsp = mc->sp;
	f->rip = mc->ip;
	f->rflags = (mc->flags & 0xcd5) | 2; /* arithmetic flags and DF only */
	f->vector = ABI_VEC_UPCALL;              /* rax is the program's, not a result */
	current->sigmask = sf->uc.sigmask & ~UNBLOCKABLE;
	u64 fp = mc->fpstate;
	if (fp && fp % 64 == 0 && user_readable((void *)fp, xsave_bytes)) {
		u8 *x = (void *)fp;
		memset(x + 520, 0, 56); /* XCOMP_BV and reserved bytes: anything else would fault */
		*(u64 *)(x + 512) &= ((const struct _fpx_sw_bytes *)(x + 464))->xfeatures;
		*(u32 *)(x + 24) &= 0xffff; /* MXCSR's reserved bits */
		xrstor(x, boot_info->xsave_mask);
	}
	return (long)f->rax;
}

long sys_rt_sigaction(int sig, const struct sigaction_k *act, struct sigaction_k *old, u64 size)
{
	if (sig < 1 || sig > SIGNALS || size != 8 || (act && SIGBIT(sig) & UNBLOCKABLE))
		return -EINVAL;
	if ((act && !user_readable(act, sizeof *act)) || (old && !user_writable(old, sizeof *old)))
		return -EFAULT;
	struct sigaction_k before = actions[sig];
	if (act)
		actions[sig] = *act;
	if (old)
		*old = before;
	return 0;
}

long sys_rt_sigprocmask(int how, const u64 *set, u64 *old, u64 size)
{
	if (size != 8)
		return -EINVAL;
	if ((set && !user_readable(set, 8)) || (old && !user_writable(old, 8)))
		return -EFAULT;
	u64 before = current->sigmask, bits = set ? *set : 0;
	if (set) {
		if (how == SIG_BLOCK)
			current->sigmask = before | bits;
		else if (how == SIG_UNBLOCK)
			current->sigmask = before & ~bits;
		else if (how == SIG_SETMASK)
			current->sigmask = bits;
		else
			return -EINVAL;
		current->sigmask &= ~UNBLOCKABLE;
	}
	if (old)
		*old = before;
	return 0;
}

long sys_rt_sigpending(u64 *set, u64 size)
{
	if (size > 8)
		return -EINVAL;
	if (!user_writable(set, 8))
		return -EFAULT;
	*set = (current->sigpending | process_pending) & current->sigmask;
	return 0;
}

void sigmask_push(const u64 *mask)
{
	current->saved_mask = current->sigmask;
	current->restore_mask = true;
	current->sigmask = *mask & ~UNBLOCKABLE;
}

/* The wait ended without a signal: the mask goes back at once. */
void sigmask_pop(void)
{
	if (!current->restore_mask || signal_pending(current))
		return; /* signal_deliver puts it back after the handler's frame is built */
	current->sigmask = current->saved_mask;
	current->restore_mask = false;
}

long sys_rt_sigsuspend(const u64 *mask, u64 size)
{
	if (size != 8)
		return -EINVAL;
	if (!user_readable(mask, 8))
		return -EFAULT;
	sigmask_push(mask);
	struct waitq never = {0};
	while (!signal_pending(current))
		wait_on(&never, NO_DEADLINE);
	return -EINTR;
}

long sys_pause(void)
{
	struct waitq never = {0};
	while (!signal_pending(current))
		wait_on(&never, NO_DEADLINE);
	return -EINTR;
}

long sys_rt_sigtimedwait(const u64 *set, struct siginfo_k *info, const struct timespec_k *timeout, u64 size)
{
	if (size != 8)
		return -EINVAL;
	if (!user_readable(set, 8) || (info && !user_writable(info, sizeof *info)) ||
	    (timeout && !user_readable(timeout, sizeof *timeout)))
		return -EFAULT;
	u64 deadline = timeout ? mono_ns() + timespec_ns(timeout) : NO_DEADLINE, saved = current->sigmask;
	struct siginfo_k got;
	struct waitq never = {0};
	long r = 0;
	while (!take(current, *set, &got)) {
		if (r == -ETIMEDOUT)
			return -EAGAIN;
		if (r == -ERESTARTSYS && !((current->sigpending | process_pending) & *set))
			return -EINTR;
		current->sigmask = saved & ~*set;
		r = wait_on(&never, deadline);
		current->sigmask = saved;
	}
	if (info)
		*info = got;
	return got.signo;
}

long sys_sigaltstack(const struct stack_k *ss, struct stack_k *old)
{
	struct thread *t = current;
	if ((ss && !user_readable(ss, sizeof *ss)) || (old && !user_writable(old, sizeof *old)))
		return -EFAULT;
	bool on_it = t->frame->rsp - t->altstack_sp < t->altstack_size;
	struct stack_k before = {t->altstack_sp, on_it ? SS_ONSTACK : t->altstack_size ? 0 : SS_DISABLE, 0, t->altstack_size};
	if (ss) {
		if (on_it)
			return -EPERM;
		if (ss->flags & SS_DISABLE) {
			t->altstack_sp = t->altstack_size = 0;
		} else {
			if ((u32)ss->flags & ~(SS_AUTODISARM | SS_ONSTACK))
				return -EINVAL;
			if (ss->size < MINSIGSTKSZ)
				return -ENOMEM;
			t->altstack_sp = ss->sp;
			t->altstack_size = ss->size;
		}
	}
	if (old)
		*old = before;
	return 0;
}

/* Permission never matters: one process, root. */
static long send(struct thread *t, int sig, s32 code)
{
	if (sig < 0 || sig > SIGNALS)
		return -EINVAL;
	struct siginfo_k info = {.signo = sig, .code = code, .fields = {1 /* si_pid; si_uid 0 */}};
	if (sig)
		post(t, sig, &info);
	return 0;
}

long sys_kill(int pid, int sig) { return pid == 1 || pid == 0 || pid == -1 ? send(NULL, sig, SI_USER) : -ESRCH; }

long sys_tgkill(int pid, int tid, int sig)
{
	if (pid <= 0 || tid <= 0)
		return -EINVAL;
	struct thread *t = thread_by_tid((u32)tid);
	return t && pid == 1 ? send(t, sig, SI_TKILL) : -ESRCH;
}

long sys_tkill(int tid, int sig) { return sys_tgkill(1, tid, sig); }

long sys_rt_sigqueueinfo(int pid, int sig, const struct siginfo_k *info)
{
	if (pid != 1)
		return -ESRCH;
	if (!user_readable(info, sizeof *info))
		return -EFAULT;
	if (sig < 1 || sig > SIGNALS)
		return -EINVAL;
	struct siginfo_k copy = *info;
	post(NULL, sig, &copy);
	return 0;
}
