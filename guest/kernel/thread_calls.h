/* thread_calls.h: system calls on threads, time, signals and the process, and the structures they pass. */
#ifndef SEUSS_THREAD_CALLS_H
#define SEUSS_THREAD_CALLS_H

#include "core.h"

struct timespec_k { s64 sec, nsec; };  /* struct timespec */
struct timeval_k { s64 sec, usec; };   /* struct timeval */
struct itimerspec_k { struct timespec_k interval, value; };
struct itimerval_k { struct timeval_k interval, value; };
struct sigaction_k { u64 handler, flags, restorer, mask; }; /* the kernel's struct sigaction */
struct stack_k { u64 sp; s32 flags, pad; u64 size; };        /* stack_t */

/* Saturates: 292 years from now is for ever. */
static inline u64 timespec_ns(const struct timespec_k *t)
{
	return t->sec > 9000000000 ? NO_DEADLINE / 2 : (u64)t->sec * NS_PER_SEC + (u64)t->nsec;
}

long sys_futex(u32 *addr, int op, u32 val, u64 timeout, u32 *addr2, u32 val3);

/* signal.c */
long sys_rt_sigaction(int sig, const struct sigaction_k *act, struct sigaction_k *old, u64 size);
long sys_rt_sigprocmask(int how, const u64 *set, u64 *old, u64 size);
long sys_rt_sigpending(u64 *set, u64 size);
long sys_rt_sigsuspend(const u64 *mask, u64 size);
long sys_rt_sigtimedwait(const u64 *set, struct siginfo_k *info, const struct timespec_k *timeout, u64 size);
long sys_rt_sigqueueinfo(int pid, int sig, const struct siginfo_k *info);
long sys_rt_sigreturn(void);
long sys_sigaltstack(const struct stack_k *ss, struct stack_k *old);
long sys_kill(int pid, int sig);
long sys_tkill(int tid, int sig);
long sys_tgkill(int pid, int tid, int sig);
long sys_pause(void);

/* signalfd.c */
long sys_signalfd4(int fd, const u64 *mask, u64 size, int flags);
long sys_signalfd(int fd, const u64 *mask, u64 size);

/* exec.c */
long sys_execve(const char *path, const char *const *argv, const char *const *envp);

/* thread.c */
long sys_clone(u64 flags, u64 stack, u32 *parent_tid, u32 *child_tid, u64 tls);
long sys_clone3(const void *args, u64 size);
long sys_exit(int status);
long sys_exit_group(int status);
long sys_gettid(void);
long sys_set_tid_address(u32 *addr);
long sys_set_robust_list(void *head, u64 len);
long sys_get_robust_list(int pid, void **head, u64 *len);
long sys_arch_prctl(int code, u64 addr);
long sys_sched_yield(void);

/* clock.c */
long sys_clock_gettime(int clock, struct timespec_k *ts);
long sys_clock_getres(int clock, struct timespec_k *ts);
long sys_clock_nanosleep(int clock, int flags, const struct timespec_k *req, struct timespec_k *rem);
long sys_nanosleep(const struct timespec_k *req, struct timespec_k *rem);
long sys_gettimeofday(struct timeval_k *tv, void *tz);
long sys_time(s64 *t);
long sys_times(s64 *buf);
long sys_alarm(u32 seconds);
long sys_setitimer(int which, const struct itimerval_k *value, struct itimerval_k *old);
long sys_getitimer(int which, struct itimerval_k *value);
long sys_timer_create(int clock, const void *event, int *id);
long sys_timer_settime(int id, int flags, const struct itimerspec_k *value, struct itimerspec_k *old);
long sys_timer_gettime(int id, struct itimerspec_k *value);
long sys_timer_getoverrun(int id);
long sys_timer_delete(int id);

/* process.c */
long sys_getpid(void);
long sys_getppid(void);
long sys_eperm(void); /* what needs a capability */
long sys_zero(void); /* what is accepted without effect */
long sys_uname(void *buf);
long sys_sysinfo(void *info);
long sys_getrandom(void *buf, u64 n, u32 flags);
long sys_prlimit64(int pid, int resource, const u64 *value, u64 *old);
long sys_getrlimit(int resource, u64 *value);
long sys_getrusage(int who, void *usage);
long sys_prctl(int option, u64 a, u64 b);
long sys_sched_getaffinity(int pid, u64 size, u8 *mask);
long sys_sched_setaffinity(int pid, u64 size, const u8 *mask);
long sys_sched_getscheduler(int pid);
long sys_sched_getparam(int pid, int *param);
long sys_sched_get_priority_max(int policy);
long sys_sched_get_priority_min(int policy);
long sys_sched_setscheduler(int pid, int policy, const int *param);
long sys_sched_setparam(int pid, const int *param);
long sys_getpriority(u32 which, int who);
long sys_setpriority(u32 which, int who, int value);
long sys_getcpu(u32 *cpu, u32 *node, void *unused);
long sys_membarrier(int cmd, u32 flags, int cpu);
long sys_capget(void *header, void *data);
long sys_wait4(int pid, int *status, int options, void *usage);
long sys_getpgid(int pid);

#endif
