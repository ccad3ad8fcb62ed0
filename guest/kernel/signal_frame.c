/*
 * signal_frame.c: the rt_sigframe in Linux's layout, so that handlers may look into
 * their ucontext (Go does) and unwinders may walk through it, and the stack that it
 * goes to.
 */
#include "signal.h"
#include "extended.h"

#include <asm/sigcontext.h>

#define UC_FP_XSTATE 1
#define UC_SIGCONTEXT_SS 2
#define UC_STRICT_RESTORE_SS 4

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

static u64 frame_stack(struct thread *t, struct abi_frame *f, const struct sigaction_k *sa)
{
	bool on_alt = f->rsp - t->altstack_sp < t->altstack_size;
	if (sa->flags & SA_ONSTACK && t->altstack_size && !on_alt)
		return t->altstack_sp + t->altstack_size;
	return f->rsp - 128; /* the red zone */
}

bool signal_frame_build(struct abi_frame *f, const struct sigaction_k *sa, const struct siginfo_k *info, u64 oldmask)
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
