/*
 * protect.c: does one thing that must not be possible, named by its argument, and
 * returns 0 if it was; or one that must be possible, and returns 3 or more then.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { P = 4096, WORKED = 3 };
static const char constant[] = "constant";
static const char large[6 << 20] = {1}; /* several stretches of 2 MiB, which one entry may map */
static int failed;

#define CHECK(x) ((x) ? (void)0 : (void)(failed = 1, printf("line %d: %s: %s\n", __LINE__, #x, strerror(errno))))

static int deep(volatile char *below, int n)
{
	volatile char frame[256];
	frame[0] = (char)n;
	return n < 0 ? below[0] : deep(frame, n + 1) + frame[0];
}

static void *overflow(void *unused)
{
	(void)unused;
	exit(deep("", 0) == 12345);
}

static void store(const void *at) { *(volatile char *)at = 1; }

static void thread(size_t stack)
{
	pthread_t t;
	pthread_attr_t a;
	pthread_attr_init(&a);
	if (stack)
		pthread_attr_setstacksize(&a, stack);
	pthread_create(&t, &a, overflow, NULL);
	pthread_join(t, NULL);
}

static char *pages(int n, int prot) { return mmap(NULL, (size_t)n * P, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }

static void *idle(void *unused) { return unused; }

/* What stays possible around guards. */
static void allowed(void)
{
	char *p = pages(8, PROT_READ | PROT_WRITE);
	memset(p, 5, 8 * P);
	CHECK(mprotect(p + P, P, PROT_NONE) == 0);
	p[0] = p[2 * P];
	int fd[2];
	CHECK(pipe(fd) == 0 && write(fd[1], p, 3) == 3);
	CHECK(read(fd[0], p + P, 3) == -1 && errno == EFAULT);
	CHECK(read(fd[0], (void *)(uintptr_t)constant, 3) == -1 && errno == EFAULT);
	CHECK(write(fd[1], p + P, 3) == -1 && errno == EFAULT);
	CHECK(write(fd[1], p + P - 1, 3) <= 1);
	CHECK(mprotect(p + P, P, PROT_READ | PROT_WRITE) == 0);
	CHECK(p[P] == 5 && p[2 * P - 1] == 5); /* kept */
	p[P] = 6;
	CHECK(mprotect(p + 2 * P, 2 * P, PROT_NONE) == 0);
	CHECK(madvise(p, 8 * P, MADV_DONTNEED) == 0);
	CHECK(mprotect(p + 2 * P, 2 * P, PROT_READ | PROT_WRITE) == 0 && p[2 * P] == 0 && p[P] == 0);
	for (int i = 0; i < 1000; i++) { /* more guards than there can be at once */
		char *q = pages(3, PROT_READ | PROT_WRITE);
		CHECK(mprotect(q, P, PROT_NONE) == 0);
		q[P] = 1;
		if (i % 3 == 0)
			CHECK(munmap(q, 3 * P) == 0);
	}
	char *big = pages(4096, PROT_READ | PROT_WRITE); /* over places where guards were */
	CHECK(big != MAP_FAILED);
	memset(big, 7, 4096 * P);
	CHECK(munmap(big, 4096 * P) == 0);
	for (int i = 0; i < 50; i++) {
		pthread_t t;
		CHECK(pthread_create(&t, NULL, idle, NULL) == 0 && pthread_join(t, NULL) == 0);
	}
	char *at = (char *)((uintptr_t)allowed & ~(uintptr_t)(P - 1)), *text = (char *)(uintptr_t)allowed;
	CHECK(mprotect(at, P, PROT_READ | PROT_WRITE | PROT_EXEC) == 0);
	*(volatile char *)text = *(volatile char *)text; /* as debuggers and JITs do */
	CHECK(mprotect(at, P, PROT_READ | PROT_EXEC) == 0);
	CHECK(munmap(p, 8 * P) == 0);
}

/* Pages in the midst of a large read-only range are opened, changed and closed. */
static void opened(void)
{
	volatile char *mid = (char *)(((uintptr_t)large + sizeof large / 2) & ~(uintptr_t)(P - 1));
	CHECK(mid[-1] == 0 && mid[0] == 0 && mid[P] == 0);
	CHECK(mprotect((char *)mid, P, PROT_READ | PROT_WRITE) == 0);
	mid[0] = 7, mid[P - 1] = 8;
	CHECK(mid[0] == 7 && mid[P - 1] == 8 && mid[-1] == 0 && mid[P] == 0);
	CHECK(mprotect((char *)mid, P, PROT_READ) == 0 && mid[0] == 7);
	int n = 0;
	for (size_t i = 0; i < sizeof large; i += P)
		n += ((volatile const char *)large)[i];
	CHECK(n == 1 + (((char *)mid - large) % P ? 0 : 7));
	int fd[2];
	CHECK(pipe(fd) == 0 && write(fd[1], "xyz", 3) == 3);
	CHECK(read(fd[0], (char *)mid + P, 3) == -1 && errno == EFAULT); /* its neighbour is as it was */
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
	(void)context;
	_exit(sig == SIGSEGV ? WORKED + info->si_code : 1);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	char *p = pages(3, PROT_READ | PROT_WRITE);
	setvbuf(stdout, NULL, _IONBF, 0);
	if (!strcmp(what, "null"))
		store((void *)0x100);
	if (!strcmp(what, "text"))
		store((void *)(uintptr_t)main);
	if (!strcmp(what, "library"))
		store((void *)(uintptr_t)strtoull);
	if (!strcmp(what, "constant"))
		store(constant);
	if (!strcmp(what, "large"))
		store(large + sizeof large / 2);
	if (!strcmp(what, "beside-opened")) {
		opened();
		store((char *)(((uintptr_t)large + sizeof large / 2) & ~(uintptr_t)(P - 1)) + P);
	}
	if (!strcmp(what, "opened")) {
		opened();
		return failed ? 1 : WORKED;
	}
	if (!strcmp(what, "kernel"))
		store((void *)0x30100);
	if (!strcmp(what, "main-stack"))
		overflow(NULL);
	if (!strcmp(what, "thread"))
		thread(0);
	if (!strcmp(what, "small-thread"))
		thread(64 << 10);
	if (!strcmp(what, "guard")) {
		memset(p, 1, 3 * P);
		mprotect(p + P, P, PROT_NONE);
		store(p + P);
	}
	if (!strcmp(what, "reservation")) {
		char *r = pages(16, PROT_NONE);
		mprotect(r + P, 15 * P, PROT_READ | PROT_WRITE);
		r[P] = 1;
		store(r + P - 1);
	}
	if (!strcmp(what, "handler")) { /* on a stack of its own, as runtimes report */
		stack_t alt = {.ss_sp = malloc(65536), .ss_size = 65536};
		sigaltstack(&alt, NULL);
		struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
		sigaction(SIGSEGV, &sa, NULL);
		overflow(NULL);
	}
	if (!strcmp(what, "handler-guard")) {
		struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
		sigaction(SIGSEGV, &sa, NULL);
		mprotect(p, P, PROT_NONE);
		store(p);
	}
	if (!strcmp(what, "allowed")) {
		allowed();
		return failed ? 1 : WORKED;
	}
	return 0;
}
