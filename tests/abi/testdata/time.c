/* time.c: clocks, sleeping, interval timers, POSIX timers, timerfd. */
#include "abi.h"
#include <sys/times.h>

static volatile int fired;
static void count(int sig) { fired++; (void)sig; }

static void clocks(void)
{
	struct timespec t;
	for (int c = -3; c < 14; c++) {
		if (c == CLOCK_REALTIME_ALARM || c == CLOCK_BOOTTIME_ALARM)
			continue; /* they need a real-time clock, which not every machine has */
		printf("clock %d: ", c);
		R(c == 10 ? 0 : syscall(SYS_clock_getres, c, NULL));
		R(syscall(SYS_clock_gettime, c, &t) ? -1 : t.tv_nsec < 0 || t.tv_nsec > 999999999);
	}
	R(syscall(SYS_clock_gettime, CLOCK_REALTIME, 8));
	struct timespec a, b;
	clock_gettime(CLOCK_MONOTONIC, &a);
	usleep(1000);
	clock_gettime(CLOCK_MONOTONIC, &b);
	R((b.tv_sec - a.tv_sec) * 1000000000 + b.tv_nsec - a.tv_nsec >= 1000000);
	/* Sleeping takes no CPU time, computing does. */
	struct timespec c0, c1, c2;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &c0);
	usleep(300000);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &c1);
	R((c1.tv_sec - c0.tv_sec) * 1000000000 + c1.tv_nsec - c0.tv_nsec < 200000000);
	for (volatile int i = 0; i < 3000000; i++)
		;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &c2);
	R(c2.tv_sec * 1000000000 + c2.tv_nsec > 100000);
	clockid_t id;
	R(clock_getcpuclockid(0, &id));
	R(clock_gettime(id, &t));
	R(pthread_getcpuclockid(pthread_self(), &id));
	R(clock_gettime(id, &t));
}

static void sleeps(void)
{
	struct timespec bad = {0, 1000000000}, neg = {-1, 0}, past = {1, 0};
	R(nanosleep(&bad, NULL));
	R(nanosleep(&neg, NULL));
	R(nanosleep((void *)8, NULL));
	R(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &past, NULL));
	R(syscall(SYS_clock_nanosleep, 77, 0, &past, NULL));
	R(syscall(SYS_clock_nanosleep, CLOCK_THREAD_CPUTIME_ID, 0, &past, NULL));
	R(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC_COARSE, 0, &past, NULL));
}

static void itimers(void)
{
	struct itimerval v = {{0, 5000}, {0, 5000}}, old, off = {{0, 0}, {0, 0}}, bad = {{0, 0}, {0, 1000000}};
	signal(SIGALRM, count), signal(SIGVTALRM, count), signal(SIGPROF, count);
	R(setitimer(ITIMER_REAL, &bad, NULL));
	R(setitimer(9, &v, NULL));
	R(getitimer(9, &v));
	R(setitimer(ITIMER_REAL, &v, NULL));
	while (fired < 3)
		pause();
	R(setitimer(ITIMER_REAL, &off, &old));
	R(old.it_interval.tv_usec);
	R(getitimer(ITIMER_REAL, &old));
	R(old.it_value.tv_sec + old.it_value.tv_usec);
	for (int which = ITIMER_VIRTUAL; which <= ITIMER_PROF; which++) {
		fired = 0;
		R(setitimer(which, &v, NULL));
		while (fired < 2)
			;
		R(setitimer(which, &off, &old));
		R(old.it_interval.tv_usec);
	}
	R(alarm(100));
	R(alarm(0));
	R(alarm(0));
}

static void timers(void)
{
	timer_t t;
	struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 1, .sigev_value.sival_int = 99}, bad = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = 100};
	sigset_t s;
	siginfo_t i;
	sigemptyset(&s), sigaddset(&s, SIGRTMIN + 1);
	sigprocmask(SIG_BLOCK, &s, NULL);
	R(timer_create(77, &e, &t));
	R(timer_create(CLOCK_MONOTONIC, &bad, &t));
	R(timer_create(CLOCK_MONOTONIC, &e, &t));
	struct itimerspec v = {{0, 0}, {0, 2000000}}, cur, wrong = {{0, 0}, {0, 1000000000}};
	R(timer_settime(t, 0, &wrong, NULL));
	R(timer_gettime(t, &cur));
	R(cur.it_value.tv_sec + cur.it_value.tv_nsec);
	R(timer_settime(t, 0, &v, NULL));
	R(sigwaitinfo(&s, &i) == SIGRTMIN + 1);
	R(i.si_value.sival_int + i.si_code);
	R(timer_getoverrun(t));
	R(timer_delete(t));
	R(syscall(SYS_timer_delete, 12345));
	R(syscall(SYS_timer_gettime, 12345, &cur));
}

static void timerfds(void)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	uint64_t n;
	struct itimerspec v = {{0, 0}, {0, 2000000}}, bad = {{0, 0}, {0, -1}}, cur;
	R(timerfd_create(77, 0));
	R(timerfd_create(CLOCK_MONOTONIC, 5));
	R(read(fd, &n, 8));
	R(read(fd, &n, 4));
	R(timerfd_settime(fd, 0, &bad, NULL));
	R(timerfd_settime(0, 0, &v, NULL));
	R(timerfd_settime(fd, 0, &v, NULL));
	struct pollfd f = {fd, POLLIN, 0};
	R(poll(&f, 1, 1000));
	R(read(fd, &n, 8));
	R((long)n);
	R(timerfd_gettime(fd, &cur));
	R(cur.it_value.tv_sec + cur.it_value.tv_nsec);
	R(timerfd_gettime(99, &cur));
}

static int64_t read_clock(int clock, int by_call)
{
	struct timespec t = {-1, -1};
	if (by_call ? syscall(SYS_clock_gettime, clock, &t) : clock_gettime(clock, &t))
		return -1;
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

/* The C library's own way to the clocks tells the same time as the calls. */
static void both_ways(void)
{
	const int clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_BOOTTIME, CLOCK_TAI,
			      CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE, CLOCK_PROCESS_CPUTIME_ID};
	for (int i = 0; i < 8; i++) {
		int wrong = 0;
		int64_t slack = clocks[i] == CLOCK_REALTIME_COARSE || clocks[i] == CLOCK_MONOTONIC_COARSE ? 20000000 : 0;
		for (int n = 0; n < 1000; n++) {
			int64_t a = read_clock(clocks[i], n & 1), b = read_clock(clocks[i], !(n & 1)), c = read_clock(clocks[i], n & 1);
			wrong += a < 0 || b + slack < a || c + slack < b;
		}
		R(wrong);
	}
	struct timeval v;
	R(gettimeofday(&v, NULL));
	R(llabs(v.tv_sec - read_clock(CLOCK_REALTIME, 1) / 1000000000) <= 1);
	R(llabs(time(NULL) - v.tv_sec) <= 1);
	R(clock_gettime(77, &(struct timespec){0}));
	R(clock_gettime(-1, &(struct timespec){0}));
}

int main(void)
{
	both_ways();
	clocks(), sleeps(), itimers(), timers(), timerfds();
	struct rusage u;
	R(getrusage(RUSAGE_SELF, &u));
	R(getrusage(99, &u));
	R(getpriority(PRIO_PROCESS, 0));
	R(setpriority(PRIO_PROCESS, 0, 5));
	R(getpriority(PRIO_PROCESS, 0));
	R(getpriority(7, 0));
	return 0;
}
