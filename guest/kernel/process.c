/*
 * process.c: what the program may ask about its process and its system: one
 * process, pid 1, one CPU. Who it is, cred.c says.
 */
#include "cred.h"
#include "thread_calls.h"

#include <linux/capability.h>
#include <linux/prctl.h>
#include <linux/resource.h>
#include <linux/sched.h>
#include <linux/sysinfo.h>
#include <linux/utsname.h>

long sys_getpid(void) { return 1; }
long sys_getppid(void) { return 0; }
long sys_zero(void) { return 0; }
long sys_eperm(void) { return -EPERM; }
long sys_getpgid(int pid) { return pid == 0 || pid == 1 ? 1 : -ESRCH; }

long sys_uname(void *buf)
{
	struct new_utsname *u = buf;
	if (!user_writable(u, sizeof *u))
		return -EFAULT;
	memset(u, 0, sizeof *u);
	ksnprintf(u->sysname, sizeof u->sysname, "Linux");
	ksnprintf(u->nodename, sizeof u->nodename, "seuss");
	ksnprintf(u->release, sizeof u->release, KERNEL_RELEASE);
	ksnprintf(u->version, sizeof u->version, KERNEL_VERSION);
	ksnprintf(u->machine, sizeof u->machine, "x86_64");
	ksnprintf(u->domainname, sizeof u->domainname, "(none)");
	return 0;
}

long sys_sysinfo(void *info)
{
	struct sysinfo *s = info;
	if (!user_writable(s, sizeof *s))
		return -EFAULT;
	memset(s, 0, sizeof *s);
	s->uptime = (s64)(mono_ns() / NS_PER_SEC);
	s->totalram = ram_pages_total() * PAGE_SIZE;
	s->freeram = ram_pages_free() * PAGE_SIZE;
	s->procs = (u16)thread_count;
	s->mem_unit = 1;
	return 0;
}

long sys_getrandom(void *buf, u64 n, u32 flags)
{
	if (flags & ~7u)
		return -EINVAL;
	n = MIN(n, 0x7fffffffull);
	if (!user_writable(buf, n))
		return -EFAULT;
	purity_entropy();
	random_bytes(buf, n);
	return (long)n;
}

/* ---- limits -------------------------------------------------------------------- */

enum { STACK_BYTES = 8 << 20, FILES = 1024, INFINITE = -1 };

static u64 limits[RLIM_NLIMITS][2] = {
	[RLIMIT_CPU] = {INFINITE, INFINITE},     [RLIMIT_FSIZE] = {INFINITE, INFINITE},
	[RLIMIT_DATA] = {INFINITE, INFINITE},    [RLIMIT_STACK] = {STACK_BYTES, STACK_BYTES},
	[RLIMIT_RSS] = {INFINITE, INFINITE},     [RLIMIT_NPROC] = {1024, 1024},
	[RLIMIT_NOFILE] = {FILES, 4096},         [RLIMIT_MEMLOCK] = {INFINITE, INFINITE},
	[RLIMIT_AS] = {INFINITE, INFINITE},      [RLIMIT_LOCKS] = {INFINITE, INFINITE},
	[RLIMIT_SIGPENDING] = {1024, 1024},      [RLIMIT_MSGQUEUE] = {819200, 819200},
	[RLIMIT_RTTIME] = {INFINITE, INFINITE},
};

void limit_get(int resource, u64 out[2]) { memcpy(out, limits[resource], sizeof limits[resource]); }

long sys_prlimit64(int pid, int resource, const u64 *value, u64 *old)
{
	if (pid != 0 && pid != 1)
		return -ESRCH;
	if (resource < 0 || resource >= RLIM_NLIMITS)
		return -EINVAL;
	if ((value && !user_readable(value, 16)) || (old && !user_writable(old, 16)))
		return -EFAULT;
	u64 want[2] = {0, 0};
	if (value) {
		want[0] = value[0], want[1] = value[1];
		if (want[0] > want[1])
			return -EINVAL;
	}
	if (old)
		old[0] = limits[resource][0], old[1] = limits[resource][1];
	if (value) {
		limits[resource][0] = want[0], limits[resource][1] = want[1];
		if (resource == RLIMIT_NOFILE)
			fd_set_limit((u32)MIN(want[0], (u64)FD_MAX));
	}
	return 0;
}

long sys_getrlimit(int resource, u64 *value) { return sys_prlimit64(0, resource, NULL, value); }

long sys_getrusage(int who, void *usage)
{
	struct rusage *r = usage;
	if (who < -1 || who > 1)
		return -EINVAL;
	if (!user_writable(r, sizeof *r))
		return -EFAULT;
	purity_clock();
	memset(r, 0, sizeof *r);
	u64 us = (who == RUSAGE_SELF ? cpu_ns() : who == 1 /* RUSAGE_THREAD */ ? thread_cpu_ns(current) : 0) / 1000;
	r->ru_utime.tv_sec = (s64)(us / 1000000);
	r->ru_utime.tv_usec = (s64)(us % 1000000);
	if (who != RUSAGE_CHILDREN)
		r->ru_maxrss = (s64)((ram_pages_total() - ram_pages_free()) * PAGE_SIZE / 1024);
	return 0;
}

/* ---- prctl, scheduling ------------------------------------------------------------ */

long sys_prctl(int option, u64 a, u64 b)
{
	(void)b;
	switch (option) {
	case PR_SET_NAME:
		if (!user_readable((void *)a, 1))
			return -EFAULT;
		ksnprintf(current->name, sizeof current->name, "%s", (const char *)a);
		return 0;
	case PR_GET_NAME:
		if (!user_writable((void *)a, 16))
			return -EFAULT;
		memcpy((void *)a, current->name, 16);
		return 0;
	case PR_GET_DUMPABLE:
	case PR_GET_KEEPCAPS:
		return option == PR_GET_DUMPABLE;
	case PR_GET_NO_NEW_PRIVS:
		return cred_no_new_privs;
	case PR_SET_NO_NEW_PRIVS: /* there is no way back */
		cred_no_new_privs |= a == 1;
		return a == 1 ? 0 : -EINVAL;
	case PR_SET_DUMPABLE:
	case PR_SET_PDEATHSIG:
	case PR_SET_TIMERSLACK:
	case PR_SET_KEEPCAPS:
		return 0;
	default: /* PR_SET_VMA, PR_CAPBSET_READ, ...: programs cope */
		return -EINVAL;
	}
}

long sys_sched_getaffinity(int pid, u64 size, u8 *mask)
{
	if (pid && !thread_by_tid((u32)pid))
		return -ESRCH;
	if (size < 8 || size % 8)
		return -EINVAL;
	if (!user_writable(mask, 8))
		return -EFAULT;
	memset(mask, 0, 8);
	mask[0] = 1;
	return 8;
}

long sys_sched_setaffinity(int pid, u64 size, const u8 *mask)
{
	if (pid && !thread_by_tid((u32)pid))
		return -ESRCH;
	if (size == 0 || !user_readable(mask, 1))
		return -EFAULT;
	return mask[0] & 1 ? 0 : -EINVAL;
}

/* ---- scheduling: what was set is kept for who asks; threads take turns regardless -- */

static struct thread *scheduled(int pid, long *err)
{
	*err = pid < 0 ? -EINVAL : -ESRCH;
	return pid == 0 ? current : pid > 0 ? thread_by_tid((u32)pid) : NULL;
}

static bool real_time(int policy) { return policy == SCHED_FIFO || policy == SCHED_RR; }
static bool known_policy(int policy) { return policy >= 0 && policy <= SCHED_IDLE && policy != 4; }

long sys_sched_getscheduler(int pid)
{
	long err;
	struct thread *t = scheduled(pid, &err);
	return t ? t->policy : err;
}

long sys_sched_getparam(int pid, int *param)
{
	long err;
	struct thread *t = param ? scheduled(pid, &err) : (err = -EINVAL, NULL);
	if (!t)
		return err;
	if (!user_writable(param, 4))
		return -EFAULT;
	*param = t->priority;
	return 0;
}

long sys_sched_setscheduler(int pid, int policy, const int *param)
{
	long err;
	if (pid < 0 || policy < 0 || !param)
		return -EINVAL;
	if (!user_readable(param, 4))
		return -EFAULT;
	struct thread *t = scheduled(pid, &err);
	if (!t)
		return err;
	policy &= ~0x40000000; /* SCHED_RESET_ON_FORK */
	if (!known_policy(policy) || *param < 0 || *param > 99 || real_time(policy) != (*param > 0))
		return -EINVAL;
	t->policy = (u8)policy;
	t->priority = (u8)*param;
	return 0;
}

long sys_sched_setparam(int pid, const int *param)
{
	long err;
	if (pid < 0 || !param)
		return -EINVAL;
	struct thread *t = scheduled(pid, &err);
	return t ? sys_sched_setscheduler(pid, t->policy, param) : err;
}

long sys_sched_get_priority_max(int policy) { return real_time(policy) ? 99 : known_policy(policy) || policy == 6 ? 0 : -EINVAL; }
long sys_sched_get_priority_min(int policy) { return real_time(policy) ? 1 : known_policy(policy) || policy == 6 ? 0 : -EINVAL; }

static int nice_value;

static bool priority_of(u32 which, int who) { return who == 0 || (which == PRIO_USER ? false : which == PRIO_PGRP ? who == 1 : thread_by_tid((u32)who) != NULL); }

long sys_getpriority(u32 which, int who)
{
	if (which > PRIO_USER)
		return -EINVAL;
	return priority_of(which, who) ? 20 - nice_value : -ESRCH;
}

long sys_setpriority(u32 which, int who, int value)
{
	if (which > PRIO_USER)
		return -EINVAL;
	if (!priority_of(which, who))
		return -ESRCH;
	nice_value = value < -20 ? -20 : value > 19 ? 19 : value;
	return 0;
}

long sys_getcpu(u32 *cpu, u32 *node, void *unused)
{
	(void)unused;
	if ((cpu && !user_writable(cpu, 4)) || (node && !user_writable(node, 4)))
		return -EFAULT;
	if (cpu)
		*cpu = 0;
	if (node)
		*node = 0;
	return 0;
}

/* One CPU: every barrier has happened by the time the call returns. */
long sys_membarrier(int cmd, u32 flags, int cpu)
{
	(void)cpu;
	if (flags)
		return -EINVAL;
	return cmd == 0 ? 0x1ff : cmd > 0 && cmd <= 0x100 ? 0 : -EINVAL;
}

long sys_capget(void *header, void *data)
{
	struct __user_cap_header_struct *h = header;
	if (!user_writable(h, sizeof *h))
		return -EFAULT;
	if (h->version != _LINUX_CAPABILITY_VERSION_3) {
		h->version = _LINUX_CAPABILITY_VERSION_3;
		return data ? -EINVAL : 0;
	}
	if (data && !user_writable(data, 24))
		return -EFAULT;
	if (data)
		memset(data, 0, 24); /* no capabilities: nothing here could grant them */
	return 0;
}

long sys_wait4(int pid, int *status, int options, void *usage)
{
	(void)pid, (void)status, (void)options, (void)usage;
	return -ECHILD;
}
