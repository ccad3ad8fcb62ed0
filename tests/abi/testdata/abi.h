/*
 * abi.h: what the programs share that are run natively and in a guest. They
 * print results and errors, never addresses, numbers of processes or times.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Prints an expression's value, and the error if it is -1. */
#define R(e) do { errno = 0; long r_ = (long)(e); show(#e, r_); } while (0)
/* Prints only whether it worked: for calls that return addresses. */
#define OK(e) do { errno = 0; show(#e, (long)(e) == -1 ? -1 : 0); } while (0)

static inline void show(const char *what, long r)
{
	if (r == -1)
		printf("%s = %s\n", what, strerrorname_np(errno) ? strerrorname_np(errno) : "-1");
	else
		printf("%s = %ld\n", what, r);
}

/* What was printed before a crash or a hang is seen. */
__attribute__((constructor)) static void line_buffered(void) { setvbuf(stdout, NULL, _IOLBF, 0); }

/* A generator of our own: the same numbers in both places. */
static uint64_t seed;
static inline uint64_t next(void)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	uint64_t x = seed ^ seed >> 33;
	x *= 0xff51afd7ed558ccdull;
	return x ^ x >> 29;
}
#define PICK(...) ((const long[]){__VA_ARGS__}[next() % (sizeof((const long[]){__VA_ARGS__}) / sizeof(long))])
