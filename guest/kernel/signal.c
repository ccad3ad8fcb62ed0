/*
 * signal.c: dispositions, pending signals, and their delivery. A fault that no
 * handler takes ends the guest with a report.
 */
#include "exec.h"
#include "hold.h"
#include "signal.h"

struct sigaction_k signal_actions[SIGNALS + 1];

/* A sent signal that waits for delivery; target NULL: any thread. */
struct pending {
	struct pending *next;
	struct thread *target;
	struct siginfo_k info;
};
static struct pending *queue;
static u64 process_pending;

#define IGNORED_BY_DEFAULT (SIGBIT(SIGCHLD) | SIGBIT(SIGURG) | SIGBIT(SIGWINCH) | SIGBIT(SIGCONT))

static bool ignored(int sig)
{
	u64 h = signal_actions[sig].handler;
	return h == (u64)SIG_IGN || (h == (u64)SIG_DFL && SIGBIT(sig) & IGNORED_BY_DEFAULT);
}

bool signal_pending(struct thread *t)
{
	return t->doomed || (!hold_driver() && ((t->sigpending | process_pending) & ~t->sigmask) != 0);
}

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

void signals_exec(void)
{
	for (int sig = 1; sig <= SIGNALS; sig++) {
		u64 handler = signal_actions[sig].handler == (u64)SIG_IGN ? (u64)SIG_IGN : (u64)SIG_DFL;
		signal_actions[sig] = (struct sigaction_k){.handler = handler};
	}
	current->altstack_sp = current->altstack_size = 0;
	current->altstack_flags = 0;
}

static void run_handler(struct abi_frame *f, const struct siginfo_k *info)
{
	int sig = info->signo;
	struct sigaction_k sa = signal_actions[sig];
	u64 oldmask = current->restore_mask ? current->saved_mask : current->sigmask;
	current->restore_mask = false;
	if (!signal_frame_build(f, &sa, info, oldmask))
		die_by_signal(f, SIGSEGV, f->vector == 14 ? info->fields[0] : f->rsp);
	current->sigmask |= sa.mask | (sa.flags & SA_NODEFER ? 0 : SIGBIT(sig));
	current->sigmask &= ~UNBLOCKABLE;
	if (sa.flags & SA_RESETHAND)
		signal_actions[sig].handler = (u64)SIG_DFL;
}

bool signal_deliver(struct abi_frame *f)
{
	bool syscall = f->vector == ABI_VEC_SYSCALL, rewritten = false;
	long result = (long)f->rax;
	struct siginfo_k info;
	while (!hold_driver() && take(current, ~current->sigmask, &info)) {
		int sig = info.signo;
		if (ignored(sig))
			continue;
		if (signal_actions[sig].handler == (u64)SIG_DFL)
			die_by_signal(f, sig, 0);
		if (syscall && result == -ERESTARTSYS) {
			if (signal_actions[sig].flags & SA_RESTART) {
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
	if (signal_actions[sig].handler == (u64)SIG_DFL || signal_actions[sig].handler == (u64)SIG_IGN || current->sigmask & SIGBIT(sig))
		die_by_signal(f, sig, addr);
	run_handler(f, &info);
}
