/* signals.c: handlers, masks, the alternate stack, faults, interrupted calls. */
#include "abi.h"
#include <setjmp.h>
#include <sys/signalfd.h>
#include <ucontext.h>

static volatile int got, code;
static void *volatile where;
static sigjmp_buf back;

static void note(int sig, siginfo_t *i, void *u) { got = sig, code = i->si_code, where = i->si_addr; (void)u; }
static void leave(int sig, siginfo_t *i, void *u) { note(sig, i, u); siglongjmp(back, 1); }
static void skip(int sig, siginfo_t *i, void *u) { note(sig, i, u); ((ucontext_t *)u)->uc_mcontext.gregs[REG_RIP] += 2; }

static void on(int sig, void (*f)(int, siginfo_t *, void *), int flags)
{
	struct sigaction a = {.sa_flags = SA_SIGINFO | flags};
	a.sa_sigaction = f;
	R(sigaction(sig, &a, NULL));
}

static void arguments(void)
{
	struct sigaction a = {.sa_handler = SIG_IGN};
	R(sigaction(SIGKILL, &a, NULL));
	R(sigaction(0, &a, NULL));
	R(sigaction(65, &a, NULL));
	R(syscall(SYS_rt_sigaction, SIGUSR1, NULL, NULL, 4));
	R(kill(getpid(), 0));
	R(kill(getpid(), 99));
	R(kill(999999, 0));
	R(syscall(SYS_tgkill, getpid(), 999999, 0));
	R(syscall(SYS_tgkill, getpid(), -1, 0));
	R(syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), 65));
	sigset_t s;
	sigemptyset(&s);
	R(sigprocmask(99, &s, NULL));
	R(syscall(SYS_rt_sigprocmask, SIG_BLOCK, &s, NULL, 4));
	stack_t st = {.ss_sp = malloc(100), .ss_size = 100};
	R(sigaltstack(&st, NULL));
	st.ss_flags = 77;
	R(sigaltstack(&st, NULL));
}

static void masks(void)
{
	sigset_t s, p;
	siginfo_t i;
	sigemptyset(&s);
	sigaddset(&s, SIGUSR1), sigaddset(&s, SIGRTMIN);
	on(SIGUSR1, note, 0);
	R(sigprocmask(SIG_BLOCK, &s, NULL));
	R(raise(SIGUSR1));
	R(raise(SIGUSR1));
	R(got);
	R(sigpending(&p));
	R(sigismember(&p, SIGUSR1));
	R(sigprocmask(SIG_UNBLOCK, &s, NULL));
	R(got);
	R(sigprocmask(SIG_BLOCK, &s, NULL));
	union sigval v = {.sival_int = 1};
	R(sigqueue(getpid(), SIGRTMIN, v));
	v.sival_int = 2;
	R(sigqueue(getpid(), SIGRTMIN, v));
	struct timespec zero = {0, 0};
	R(sigtimedwait(&s, &i, &zero) == SIGRTMIN);
	R(i.si_value.sival_int + i.si_code);
	R(sigtimedwait(&s, &i, &zero) == SIGRTMIN);
	R(sigtimedwait(&s, &i, &zero));
	R(raise(SIGUSR1));
	sigfillset(&p), sigdelset(&p, SIGUSR1);
	R(sigsuspend(&p));
	R(sigprocmask(SIG_UNBLOCK, &s, NULL));
}

static volatile int zero_;
static void faults(void)
{
	on(SIGSEGV, leave, SA_NODEFER);
	if (!sigsetjmp(back, 1))
		*(volatile int *)16 = 1;
	R(got + (long)where);
	R(code);
	on(SIGFPE, leave, 0);
	if (!sigsetjmp(back, 1))
		zero_ = 1 / zero_;
	R(got + code);
	on(SIGILL, skip, 0);
	__asm__ volatile("ud2");
	R(got + code);
	on(SIGTRAP, note, 0);
	__asm__ volatile("int3");
	R(got);
	char *alt = malloc(SIGSTKSZ * 4);
	stack_t st = {.ss_sp = alt, .ss_size = (size_t)SIGSTKSZ * 4}, old;
	R(sigaltstack(&st, NULL));
	on(SIGUSR2, note, SA_ONSTACK);
	R(raise(SIGUSR2));
	R(sigaltstack(NULL, &old));
	R(old.ss_flags);
	got = 0;
	on(SIGUSR2, note, SA_RESETHAND);
	R(raise(SIGUSR2));
	R(got);
	struct sigaction now;
	R(sigaction(SIGUSR2, NULL, &now));
	R(now.sa_handler == SIG_DFL);
}

static int ends[2];
static void *poke(void *main)
{
	usleep(40000);
	pthread_kill(*(pthread_t *)main, SIGUSR1);
	usleep(40000);
	(void)!write(ends[1], "x", 1);
	return NULL;
}

static void interrupted(int flags)
{
	pthread_t self = pthread_self(), t;
	char b;
	R(pipe(ends));
	on(SIGUSR1, note, flags);
	pthread_create(&t, NULL, poke, &self);
	R(read(ends[0], &b, 1));
	pthread_join(t, NULL);
	close(ends[0]), close(ends[1]);
	R(pipe(ends));
	pthread_create(&t, NULL, poke, &self);
	struct pollfd f = {ends[0], POLLIN, 0};
	R(poll(&f, 1, 1000)); /* never restarted */
	pthread_join(t, NULL);
	pthread_create(&t, NULL, poke, &self);
	struct timespec s = {10, 0}, rem;
	R(nanosleep(&s, &rem));
	R(rem.tv_sec);
	pthread_join(t, NULL);
	close(ends[0]), close(ends[1]);
}

static void *send_later(void *to)
{
	usleep(40000);
	pthread_kill(*(pthread_t *)to, SIGUSR2);
	return NULL;
}

static void descriptors(void)
{
	sigset_t s, none;
	struct signalfd_siginfo i[3];
	sigemptyset(&none), sigemptyset(&s);
	sigaddset(&s, SIGUSR2), sigaddset(&s, SIGRTMIN), sigaddset(&s, SIGKILL);
	R(sigprocmask(SIG_BLOCK, &s, NULL));
	int fd = signalfd(-1, &s, SFD_NONBLOCK | SFD_CLOEXEC);
	R(fcntl(fd, F_GETFD));
	R(fcntl(fd, F_GETFL) & (O_NONBLOCK | O_ACCMODE));
	R(read(fd, i, sizeof i));
	R(read(fd, i, sizeof i[0] - 1));
	R(write(fd, i, sizeof i));
	struct pollfd p = {fd, POLLIN | POLLOUT, 0};
	R(poll(&p, 1, 0));
	R(kill(getpid(), SIGUSR2));
	union sigval v = {.sival_int = 5};
	R(sigqueue(getpid(), SIGRTMIN, v));
	R(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 6}));
	R(poll(&p, 1, 0));
	R(p.revents);
	R(read(fd, i, sizeof i));
	for (int n = 0; n < 3; n++) {
		R(i[n].ssi_signo);
		R(i[n].ssi_code);
		R(i[n].ssi_int);
		R(i[n].ssi_pid == (unsigned)getpid());
		R(i[n].ssi_uid);
	}
	R(read(fd, i, sizeof i));
	R(raise(SIGUSR2));
	R(signalfd(fd, &none, 0) == fd);
	R(read(fd, i, sizeof i));
	R(signalfd(fd, &s, 0) == fd);
	R(read(fd, i, sizeof i));
	R(fcntl(fd, F_SETFL, 0));
	pthread_t self = pthread_self(), t;
	pthread_create(&t, NULL, send_later, &self);
	R(read(fd, i, sizeof i));
	R(i[0].ssi_signo);
	pthread_join(t, NULL);
	int e = epoll_create1(0);
	struct epoll_event ev = {.events = EPOLLIN};
	R(epoll_ctl(e, EPOLL_CTL_ADD, fd, &ev));
	pthread_create(&t, NULL, send_later, &self);
	R(epoll_wait(e, &ev, 1, 5000));
	R(ev.events);
	pthread_join(t, NULL);
	R(close(fd));
	R(close(e));
	R(signalfd(-1, &s, 77));
	R(signalfd(0, &s, 0));
	R(signalfd(99, &s, 0));
	R(syscall(SYS_signalfd4, -1, &s, 4, 0));
	R(syscall(SYS_signalfd4, -1, NULL, 8, 0));
	siginfo_t info;
	R(sigtimedwait(&s, &info, &(struct timespec){0, 0}));
	R(sigprocmask(SIG_UNBLOCK, &s, NULL));
}

int main(void)
{
	descriptors(), arguments(), masks(), faults(), interrupted(0), interrupted(SA_RESTART);
	signal(SIGTERM, SIG_IGN);
	R(raise(SIGTERM));
	return 7;
}
