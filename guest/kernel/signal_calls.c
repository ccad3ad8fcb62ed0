/*
 * signal_calls.c: the calls on signals: masks, waiting, sending.
 */
#include "signal.h"

/* siginfo's codes, whose header needs a C library. */
#define SI_USER 0
#define SI_TKILL (-6)

long sys_rt_sigaction(int sig, const struct sigaction_k *act, struct sigaction_k *old, u64 size)
{
	if (sig < 1 || sig > SIGNALS || size != 8 || (act && SIGBIT(sig) & UNBLOCKABLE))
		return -EINVAL;
	if ((act && !user_readable(act, sizeof *act)) || (old && !user_writable(old, sizeof *old)))
		return -EFAULT;
	struct sigaction_k before = signal_actions[sig];
	if (act)
		signal_actions[sig] = *act;
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
	*set = signal_waiting() & current->sigmask;
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
	while (!signal_take(*set, &got)) {
		if (r == -ETIMEDOUT)
			return -EAGAIN;
		if (r == -ERESTARTSYS && !(signal_waiting() & *set))
			return -EINTR;
		current->sigmask = saved & ~*set;
		r = wait_on(&never, deadline);
		current->sigmask = saved;
	}
	if (info)
		*info = got;
	return got.signo;
}

/* Permission never matters: one process, root. */
static long send(struct thread *t, int sig, s32 code)
{
	if (sig < 0 || sig > SIGNALS)
		return -EINVAL;
	struct siginfo_k info = {.signo = sig, .code = code, .fields = {1 /* si_pid; si_uid 0 */}};
	if (sig && t)
		signal_send_thread(t, sig, &info);
	else if (sig)
		signal_send_process(sig, &info);
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
	signal_send_process(sig, &copy);
	return 0;
}
