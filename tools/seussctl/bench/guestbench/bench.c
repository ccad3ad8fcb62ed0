/*
 * bench.c: what system calls and threads cost. It runs natively and in a guest;
 * each line is a name, nanoseconds, the best of some rounds, which are short enough to
 * fall between two turns of other programs on a busy machine, and how many system
 * calls that took. Started with an argument it prints when main began, and ends.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 30, ROUND_NS = 1000000, MIB = 1 << 20 };

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

/* Prints the time of one call of f, whose argument is how many to make. */
static void measure(const char *name, void (*f)(long n), double per, int calls)
{
	long n = 1;
	double best = 1e18;
	for (int round = 0; round < ROUNDS;) {
		double start = now();
		f(n);
		double took = now() - start;
		if (took < ROUND_NS && n < 1L << 30) {
			n *= 2;
			continue;
		}
		if (took / n < best)
			best = took / n;
		round++;
	}
	printf("%s\t%.2f\t%d\n", name, best / per, calls);
	fflush(stdout);
}

static int ends[2], back[2];
static char byte;

static void empty_call(long n) { while (n--) syscall(100000); } /* no kernel knows it: ENOSYS */
static void getpid_call(long n) { while (n--) syscall(SYS_getpid); }
static void clock_call(long n) { struct timespec t; while (n--) clock_gettime(CLOCK_MONOTONIC, &t); }
static void pipe_call(long n) { while (n--) if (write(ends[1], &byte, 1) != 1 || read(ends[0], &byte, 1) != 1) exit(1); }
static void open_call(long n) { while (n--) close(open("/tmp", O_RDONLY)); }
static void stat_call(long n) { struct stat s; while (n--) stat("/tmp", &s); }
static void mmap_call(long n) { while (n--) munmap(mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 65536); }
static void futex_call(long n) { static int word; while (n--) syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0); }
static void touch(long n)
{
	while (n--) {
		char *p = mmap(NULL, 64 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		for (int i = 0; i < 64; i++)
			p[i * 4096L] = 1;
		munmap(p, 64 * 4096);
	}
}

/* Two threads in turns: by yielding, by a futex, by pipes. */
static volatile int turn, stop;
static void *yielder(void *arg)
{
	while (!stop)
		sched_yield();
	return arg;
}
static void yield_call(long n)
{
	pthread_t t;
	stop = 0;
	pthread_create(&t, NULL, yielder, NULL);
	while (n--)
		sched_yield();
	stop = 1;
	pthread_join(t, NULL);
}
static void hand_over(int to)
{
	__atomic_store_n(&turn, to, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}
static void await(int mine)
{
	int seen;
	while ((seen = __atomic_load_n(&turn, __ATOMIC_SEQ_CST)) != mine)
		syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}
static void *futex_partner(void *arg)
{
	for (long n = (long)arg; n--;) {
		await(1);
		hand_over(0);
	}
	return NULL;
}
static void futex_ping_pong(long n)
{
	pthread_t t;
	turn = 0;
	pthread_create(&t, NULL, futex_partner, (void *)n);
	while (n--) {
		hand_over(1);
		await(0);
	}
	pthread_join(t, NULL);
}
static void *pipe_partner(void *arg)
{
	char b;
	for (long n = (long)arg; n--;)
		if (read(ends[0], &b, 1) != 1 || write(back[1], &b, 1) != 1)
			exit(1);
	return NULL;
}
static void pipe_ping_pong(long n)
{
	pthread_t t;
	pthread_create(&t, NULL, pipe_partner, (void *)n);
	while (n--)
		if (write(ends[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
			exit(1);
	pthread_join(t, NULL);
}

static char *from, *to;
static void copy(long n)
{
	while (n--) {
		memcpy(to, from, 32 * MIB);
		__asm__ volatile("" ::: "memory");
	}
}
static volatile double sink;
static void compute(long n)
{
	double x = 1, y = 0.5;
	for (long i = 0; i < n; i++)
		x = x * 1.0000001 + y, y = y * 0.9999999 + 0.25;
	sink = x + y;
}

int main(int argc, char **argv)
{
	(void)argv;
	if (argc > 1) { /* only started */
		struct timespec t;
		clock_gettime(CLOCK_REALTIME, &t);
		printf("main\t%lld\n", t.tv_sec * 1000000000LL + t.tv_nsec);
		return 0;
	}
	if (pipe(ends) || pipe(back))
		return 1;
	measure("empty call", empty_call, 1, 1);
	measure("getpid", getpid_call, 1, 1);
	measure("clock_gettime", clock_call, 1, 0);
	measure("write and read, pipe", pipe_call, 1, 2);
	measure("open and close", open_call, 1, 2);
	measure("stat", stat_call, 1, 1);
	measure("mmap and munmap, 64 KiB", mmap_call, 1, 2);
	measure("first touch of a page", touch, 64, 0);
	measure("futex wake, nobody waits", futex_call, 1, 1);
	measure("sched_yield, two threads", yield_call, 1, 2);
	measure("futex ping-pong", futex_ping_pong, 1, 4);
	measure("pipe ping-pong", pipe_ping_pong, 1, 4);
	from = malloc(32 * MIB), to = malloc(32 * MIB);
	memset(from, 1, 32 * MIB), memset(to, 2, 32 * MIB);
	measure("memcpy, 1 MiB", copy, 32, 0);
	measure("floating point loop, 1000 steps", compute, 0.001, 0);
	return 0;
}
