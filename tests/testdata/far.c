/*
 * far.c: what a program can do with address space that it sets aside by the gigabyte.
 * Each feature, named by the argument, prints the same in a guest as natively.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define G ((size_t)1 << 30)
#define M ((size_t)1 << 20)
#define P ((size_t)4096)
#define TRY(x) do { long r_ = (long)(x); printf("%s: %ld %s\n", #x, r_, r_ < 0 ? strerror(errno) : "ok"); } while (0)
#define SAY(x) printf("%s: %ld\n", #x, (long)(x))

static sigjmp_buf back;
static siginfo_t last;

static void on_fault(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)context;
	last = *info;
	siglongjmp(back, 1);
}

static void catch_faults(void)
{
	struct sigaction a = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
	sigaction(SIGSEGV, &a, NULL);
}

/* Does a store, or a load, fault, and in the right place? */
static const char *touch(char *at, int store)
{
	if (sigsetjmp(back, 1))
		return last.si_addr != at ? "faults elsewhere" : last.si_code == SEGV_MAPERR ? "faults: not mapped" : "faults: not allowed";
	if (store)
		*(volatile char *)at = 1;
	else
		(void)*(volatile char *)at;
	return "passes";
}
#define TOUCH(x, store) printf("%s %s: %s\n", store ? "store to" : "load from", #x, touch(x, store))

static char *aside(size_t bytes)
{
	char *p = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED) {
		printf("cannot set %zu bytes aside: %s\n", bytes, strerror(errno));
		exit(1);
	}
	return p;
}

static int open_at(char *p, size_t bytes) { return mprotect(p, bytes, PROT_READ | PROT_WRITE); }

static int zero(const char *p, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		if (p[i])
			return 0;
	return 1;
}

static void fill(char *p, size_t pages)
{
	for (size_t i = 0; i < pages; i++)
		memset(p + i * P, (int)(i % 200) + 1, P);
}

static unsigned sum(const char *p, size_t bytes)
{
	unsigned s = 17;
	for (size_t i = 0; i < bytes; i++)
		s = s * 31 + (unsigned char)p[i];
	return s;
}

static void reserve(void)
{
	char *a = aside(10 * G), *b = aside(64 * G), *c = aside(1024 * G);
	SAY(a != b && b != c);
	TRY(open_at(a + 2 * G, 3 * P));
	SAY(zero(a + 2 * G, 3 * P));
	fill(a + 2 * G, 3);
	SAY(sum(a + 2 * G, 3 * P));
	TOUCH(a + 2 * G - 1, 0);
	TOUCH(a + 2 * G - 1, 1);
	TOUCH(a + 2 * G + 3 * P - 1, 1);
	TOUCH(a + 2 * G + 3 * P, 0);
	TOUCH(a + 9 * G + 5, 1);
	TOUCH(b, 0);
	TOUCH(b + 64 * G - 1, 1);
	TRY(open_at(b + 64 * G - P, P));
	TOUCH(b + 64 * G - 1, 1);
	TRY(open_at(c + 777 * G - M, 2 * M)); /* over the edge of a table */
	SAY(zero(c + 777 * G - M, 2 * M));
	fill(c + 777 * G - M, 2 * M / P);
	SAY(sum(c + 777 * G - M, 2 * M));
	TRY(munmap(a, 10 * G));
	TOUCH(a + 2 * G, 0);
	TRY(mprotect(a + 2 * G, P, PROT_READ));
	TRY(munmap(b, 64 * G));
	TRY(munmap(c, 1024 * G));
}

static void close_and_open(void)
{
	char *a = aside(10 * G) + G;
	TRY(open_at(a, 8 * P));
	fill(a, 8);
	TRY(mprotect(a + 2 * P, 3 * P, PROT_NONE));
	TOUCH(a + 2 * P - 1, 1);
	TOUCH(a + 2 * P, 0);
	TOUCH(a + 3 * P + 7, 1);
	TOUCH(a + 5 * P, 0);
	TRY(open_at(a + 3 * P, P));
	TOUCH(a + 2 * P, 0);
	TOUCH(a + 4 * P, 1);
	SAY(a[3 * P]);
	TRY(open_at(a, 8 * P)); /* content was kept */
	SAY(sum(a, 8 * P));
	for (int i = 0; i < 20; i++) {
		mprotect(a + 6 * P, P, PROT_NONE);
		if (strcmp(touch(a + 6 * P, i % 2), "faults: not allowed"))
			printf("round %d: passes\n", i);
		open_at(a + 6 * P, P);
		if (strcmp(touch(a + 6 * P, i % 2), "passes"))
			printf("round %d: faults\n", i);
	}
	SAY(sum(a, 8 * P - 3));
}

static void fixed(void)
{
	char *a = aside(20 * G), *m = a + 3 * G;
	TRY((char *)mmap(m, 4 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == m);
	fill(m, 4);
	TRY((char *)mmap(m + P, P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == m + P);
	SAY(zero(m + P, P));
	SAY(m[0] == 1 && m[2 * P] == 3);
	TRY((char *)mmap(m + 2 * P, P, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == m + 2 * P);
	TOUCH(m + 2 * P, 0);
	TRY(open_at(m, 4 * P));
	SAY(zero(m + 2 * P, P)); /* what was there is gone */
	SAY(m[3 * P]);
	TRY(mmap(m, P, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED && errno == EEXIST);
	int fd = open("/tmp/far", O_RDWR | O_CREAT | O_TRUNC, 0600);
	fill(m, 1);
	TRY(pwrite(fd, m, P, 0));
	TRY((char *)mmap(m + P, 2 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0) == m + P);
	SAY(memcmp(m, m + P, P));
	TRY(munmap(m + P, P));
	TOUCH(m + P, 1);
	TRY(mprotect(m, 3 * P, PROT_READ) == -1 && errno == ENOMEM); /* there is a hole */
	TRY((char *)mmap(m + P, P, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == m + P);
	TRY(open_at(m, 3 * P));
	SAY(zero(m + P, P));
	unlink("/tmp/far");
}

static void unmap(void)
{
	char *a = aside(10 * G), *m = a + G;
	TRY(open_at(m, 64 * P));
	fill(m, 64);
	TRY(munmap(m + 8 * P, 16 * P));
	TOUCH(m + 8 * P - 1, 0);
	TOUCH(m + 8 * P, 0);
	TOUCH(m + 24 * P - 1, 1);
	TOUCH(m + 24 * P, 1);
	m[24 * P] = 25;
	SAY(sum(m, 8 * P) + sum(m + 24 * P, 40 * P));
	TRY(munmap(a + 5 * G, G)); /* a hole in what nobody has opened */
	TRY(open_at(a + 5 * G, P) == -1 && errno == ENOMEM);
	TRY(open_at(a + 4 * G, P));
	TRY(open_at(a + 6 * G, P));
	char *b = aside(G / 2 * 3);
	TRY(open_at(b, P));
	SAY(zero(b, P));
	TRY(munmap(a, 10 * G));
	TRY(munmap(a, 10 * G));
}

static void dontneed(void)
{
	char *a = aside(10 * G), *m = a + 4 * G + 12 * P;
	TRY(open_at(m, 512 * P));
	fill(m, 512);
	TRY(madvise(m + 3 * P, 2 * P, MADV_DONTNEED)); /* few pages, and many */
	SAY(zero(m + 3 * P, 2 * P));
	SAY(m[2 * P] == 3 && m[5 * P] == 6);
	TRY(madvise(m + 100 * P, 300 * P, MADV_DONTNEED));
	SAY(zero(m + 100 * P, 300 * P));
	SAY(m[99 * P] == 100 && (unsigned char)m[400 * P] == 1);
	fill(m, 512);
	SAY(sum(m, 512 * P));
	TRY(madvise(a, 10 * G, MADV_DONTNEED)); /* most of it never opened */
	SAY(zero(m, 512 * P));
	mprotect(m, P, PROT_NONE);
	TRY(madvise(m, P, MADV_DONTNEED));
	TRY(open_at(m, P));
	SAY(zero(m, P));
}

static void move(void)
{
	char *a = aside(10 * G), *m = a + G;
	TRY(open_at(m, 6 * P));
	fill(m, 6);
	TRY((char *)mremap(m, 6 * P, 4 * P, 0) == m);
	TOUCH(m + 4 * P, 0);
	char *n = mremap(m, 4 * P, 9 * P, MREMAP_MAYMOVE);
	SAY(n != MAP_FAILED && sum(n, 4 * P) == sum(m = n, 4 * P) && zero(n + 4 * P, 5 * P));
	fill(n, 9);
	char *b = aside(12 * G);
	TRY((char *)mremap(n, 9 * P, 9 * P, MREMAP_MAYMOVE | MREMAP_FIXED, b + 5 * G) == b + 5 * G);
	TOUCH(n, 0);
	SAY(sum(b + 5 * G, 9 * P));
	TOUCH(b + 5 * G + 9 * P, 0);
	char *near = mmap(NULL, 4 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	fill(near, 4);
	TRY((char *)mremap(near, 4 * P, 4 * P, MREMAP_MAYMOVE | MREMAP_FIXED, b + 6 * G) == b + 6 * G);
	SAY(sum(b + 6 * G, 4 * P));
	near = mmap(NULL, 4 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	TRY((char *)mremap(b + 6 * G, 4 * P, 4 * P, MREMAP_MAYMOVE | MREMAP_FIXED, near) == near);
	SAY(sum(near, 4 * P));
	TOUCH(b + 6 * G, 1);
	char *c = aside(8 * G);
	char *d = mremap(c, 8 * G, 9 * G, MREMAP_MAYMOVE);
	SAY(d != MAP_FAILED);
	TOUCH(d + 9 * G - 1, 1);
	TRY(open_at(d + 9 * G - P, P));
	TOUCH(d + 9 * G - 1, 1);
	TRY(mremap(d + 100 * G, P, P, 0) == MAP_FAILED && errno == EFAULT);
}

static void calls(void)
{
	char *a = aside(10 * G), *m = a + 7 * G;
	TRY(open_at(m, 4 * P));
	TRY(open_at(m + 5 * P, P));
	int fd[2];
	TRY(pipe(fd));
	fill(m, 3);
	TRY(write(fd[1], m + P - 10, 20));
	TRY(read(fd[0], m + 4 * P - 20, 20)); /* up to the edge */
	SAY(sum(m + 4 * P - 20, 20));
	TRY(write(fd[1], m + 4 * P, 1));
	TRY(write(fd[1], m, 16));
	TRY(read(fd[0], m + 4 * P, 16));
	TRY(read(fd[0], m + 4 * P - 16, 16));
	struct iovec v[2] = {{m + 2 * P, 10}, {m + 5 * P, 10}};
	TRY(writev(fd[1], v, 2));
	TRY(read(fd[0], m + 5 * P, 20));
	SAY(sum(m + 5 * P, 20));
	TRY(open(a, O_RDONLY));
	strcpy(m + P - 2, "/dev/null");
	TRY(open(m + P - 2, O_RDWR) >= 0);
	int r = open("/dev/zero", O_RDONLY);
	TRY(read(r, m, 3 * P));
	SAY(zero(m, 3 * P));
	TRY(syscall(SYS_futex, a, FUTEX_WAKE, 1, NULL, NULL, 0));
	TRY(syscall(SYS_futex, a, FUTEX_WAIT, 1, NULL, NULL, 0));
	unsigned char vec[6];
	m[0] = 1;
	TRY(mincore(m, P, vec));
	SAY(vec[0] & 1);
	TRY(mincore(a + 100 * G, P, vec));
	TRY(msync(m, P, MS_SYNC));
}

static int *word;

static void *waiter(void *unused)
{
	(void)unused;
	__atomic_store_n(&word[1], 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&word[0], __ATOMIC_SEQ_CST) == 0)
		syscall(SYS_futex, &word[0], FUTEX_WAIT, 0, NULL, NULL, 0);
	return &word[0];
}

static void futexes(void)
{
	char *a = aside(10 * G), *m = a + 8 * G;
	open_at(m, 2 * P);
	word = (int *)(m + P);
	pthread_t t;
	TRY(pthread_create(&t, NULL, waiter, NULL));
	while (!__atomic_load_n(&word[1], __ATOMIC_SEQ_CST))
		usleep(1000);
	usleep(10000);
	__atomic_store_n(&word[0], 1, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &word[0], FUTEX_WAKE, 1, NULL, NULL, 0);
	void *got;
	pthread_join(t, &got);
	SAY(got == word);
	/* A thread's stack, and a signal's. */
	pthread_attr_t at;
	pthread_attr_init(&at);
	open_at(m + M, M);
	pthread_attr_setstack(&at, m + M, M);
	TRY(pthread_create(&t, &at, waiter, NULL));
	pthread_join(t, &got);
	SAY(got == word);
	stack_t ss = {.ss_sp = m + 4 * M, .ss_size = 16 * P};
	open_at(m + 4 * M, 16 * P);
	TRY(sigaltstack(&ss, NULL));
	struct sigaction act = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	sigaction(SIGSEGV, &act, NULL);
	TOUCH(a, 1);
}

static void many(void)
{
	enum { N = 50 };
	char *at[N];
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < N; i++) {
			at[i] = aside(10 * G);
			if (open_at(at[i] + 2 * G, (size_t)(i + 1) * 16 * P) || !zero(at[i] + 2 * G, 16 * P))
				printf("%d: not opened, or not zero\n", i);
			memset(at[i] + 2 * G, i + 1, (size_t)(i + 1) * 16 * P);
		}
		for (int i = 0; i < N; i++) { /* grow, as memories of WebAssembly do */
			char *end = at[i] + 2 * G + (size_t)(i + 1) * 16 * P;
			if (open_at(end, 16 * P) || !zero(end, 16 * P))
				printf("%d: does not grow\n", i);
			memset(end, i + 1, 16 * P);
		}
		unsigned s = 0;
		for (int i = 0; i < N; i++) {
			s = s * 7 + sum(at[i] + 2 * G, (size_t)(i + 2) * 16 * P);
			if (strcmp(touch(at[i] + 2 * G + (size_t)(i + 2) * 16 * P, 1), "faults: not allowed"))
				printf("%d: a store beyond the end passes\n", i);
		}
		SAY(s);
		for (int i = 0; i < N; i++)
			if (munmap(at[(i * 7) % N], 10 * G))
				printf("%d: not unmapped\n", i);
	}
}

/* Of single pages there may be hundreds; more are refused, as where a process has
 * too many mappings, and all goes on. */
static void scattered(void)
{
	char *a = aside(64 * G);
	int opened = 0;
	for (; opened < 300; opened++)
		if (open_at(a + (size_t)opened * 200 * M, P))
			break;
		else
			a[(size_t)opened * 200 * M] = (char)(opened % 100 + 1);
	SAY(opened);
	int wrong = 0;
	for (int i = 0; i < opened; i++)
		wrong += a[(size_t)i * 200 * M] != i % 100 + 1 || strcmp(touch(a + (size_t)i * 200 * M + P, 0), "faults: not allowed");
	SAY(wrong);
	TRY(munmap(a, 64 * G));
}

/* /proc/self/maps has a reservation and what is open of it. */
static void maps(void)
{
	char *a = aside(10 * G) , line[256];
	open_at(a + G, 2 * P);
	FILE *f = fopen("/proc/self/maps", "r");
	while (fgets(line, sizeof line, f)) {
		unsigned long from, to;
		char how[8];
		if (sscanf(line, "%lx-%lx %7s", &from, &to, how) == 3 && from <= (unsigned long)a + G && to > (unsigned long)a + G)
			printf("%ld pages at %ld are %c%c\n", (to - from) / P, (from - (unsigned long)a - G) / P, how[0], how[1]);
		if (to == (unsigned long)a + G)
			printf("below %c%c\n", how[0], how[1]);
		if (from == (unsigned long)a + G + 2 * P)
			printf("above %c%c\n", how[0], how[1]);
	}
	fclose(f);
}

static const struct { const char *name; void (*run)(void); } features[] = {
	{"reserve", reserve}, {"close", close_and_open}, {"fixed", fixed}, {"unmap", unmap}, {"dontneed", dontneed}, {"move", move},
	{"calls", calls}, {"futexes", futexes}, {"many", many}, {"scattered", scattered}, {"maps", maps},
};

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	catch_faults();
	for (size_t i = 0; i < sizeof features / sizeof *features; i++)
		if (argc < 2)
			puts(features[i].name);
		else if (!strcmp(argv[1], features[i].name))
			features[i].run();
	return 0;
}
