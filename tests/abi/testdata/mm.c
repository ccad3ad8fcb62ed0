/* mm.c: mmap, munmap, mremap, mprotect, madvise, brk, mincore. */
#include "abi.h"

enum { P = 4096 };

static char *map(size_t n, int flags)
{
	char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
	if (p == MAP_FAILED)
		printf("mmap of %zu: %s\n", n, strerrorname_np(errno)), exit(1);
	return p;
}

static int zero(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i])
			return 0;
	return 1;
}

static void basics(void)
{
	char *p = map(8 * P, 0);
	R(zero(p, 8 * P));
	memset(p, 7, 8 * P);
	R(munmap(p + 2 * P, 2 * P));
	R(p[P] + p[5 * P]);
	OK(mmap(p + 2 * P, 2 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
	R(zero(p + 2 * P, 2 * P));
	OK(mmap(p, P, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
	OK(mmap(p, P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	R(zero(p, P));
	R(p[P]);
	char *q = mmap(p + 100 * P, P, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	R(q != MAP_FAILED && (uintptr_t)q % P == 0);
	R(munmap(p, 8 * P));
	R(munmap(p, 8 * P)); /* nothing there: fine */
}

static void errors(void)
{
	char *p = map(4 * P, 0);
	OK(mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	OK(mmap(NULL, P, PROT_READ, MAP_ANONYMOUS, -1, 0));
	OK(mmap(NULL, P, PROT_READ, MAP_PRIVATE, -1, 0));
	OK(mmap(NULL, P, PROT_READ, MAP_PRIVATE, 99, 0));
	OK(syscall(SYS_mmap, NULL, P, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 1));
	OK(mmap(p + 1, P, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	OK(mmap(NULL, 1ul << 50, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	OK(mmap(NULL, -1ul, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	R(munmap(p + 1, P));
	R(munmap(p, 0));
	R(munmap(p, -1ul));
	R(mprotect(p + 1, P, PROT_READ));
	R(mprotect(p, 0, PROT_READ));
	R(mprotect(p, P, 0x100));
	R(munmap(p + P, P));
	R(mprotect(p, 3 * P, PROT_READ));
	R(madvise(p, 3 * P, MADV_DONTNEED));
	R(madvise(p + 1, P, MADV_DONTNEED));
	R(madvise(p, P, 12345));
	R(madvise(p, 0, MADV_DONTNEED));
	R(madvise(p, P, MADV_NORMAL));
	R(madvise(p, P, MADV_WILLNEED));
	R(madvise(p, P, MADV_FREE));
	unsigned char vec[4];
	R(mincore(p + 1, P, vec));
	R(mincore(p, 3 * P, vec));
	R(mincore(p, P, NULL));
	R(msync(p, P, MS_SYNC | MS_ASYNC));
	R(msync(p + 1, P, MS_SYNC));
	R(msync(p, P, MS_SYNC));
	R(msync(p + P, P, MS_SYNC));
	R(mlock(p, P));
	R(munlock(p, P));
}

static void advice(void)
{
	char *p = map(16 * P, 0);
	memset(p, 9, 16 * P);
	R(madvise(p + 4 * P, 8 * P, MADV_DONTNEED));
	R(zero(p + 4 * P, 8 * P));
	R(p[4 * P - 1] + p[12 * P]);
	R(madvise(p, 16 * P, MADV_DONTNEED));
	R(zero(p, 16 * P));
}

static void remap(void)
{
	char *p = map(4 * P, 0);
	for (int i = 0; i < 4; i++)
		p[i * P] = (char)(i + 1);
	p = mremap(p, 4 * P, 64 * P, MREMAP_MAYMOVE);
	R(p[0] + 10 * p[P] + 100 * p[2 * P] + 1000 * p[3 * P]);
	R(zero(p + 4 * P, 60 * P));
	R(mremap(p, 64 * P, 2 * P, 0) == p);
	R(p[P]);
	char *to = map(4 * P, 0);
	memset(to, 5, 4 * P);
	R(mremap(p, 2 * P, 2 * P, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
	R(to[0] + 10 * to[P] + 100 * to[2 * P]);
	OK(mremap(to, P, P, MREMAP_FIXED, p));
	OK(mremap(to, P, 0, MREMAP_MAYMOVE));
	OK(mremap(to + 1, P, P, MREMAP_MAYMOVE));
	OK(mremap(to, P, P, 64));
	OK(mremap(to, 4 * P, 4 * P, MREMAP_MAYMOVE | MREMAP_FIXED, to + P));
	OK(mremap(to, 4 * P, 4 * P, MREMAP_MAYMOVE | MREMAP_FIXED, to + 1));
	char *block = map(4 * P, 0);
	OK(munmap(block + 2 * P, 2 * P));
	OK(mmap(block + 2 * P, P, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	OK(mremap(block, 2 * P, 4 * P, 0));
}

static void breaks(void)
{
	char *start = sbrk(0);
	OK(sbrk(5 * P));
	R(zero(start, 5 * P));
	memset(start, 3, 5 * P);
	OK(sbrk(-5 * P));
	R((char *)sbrk(0) == start);
	OK(sbrk(5 * P));
	R(zero(start, 5 * P));
	OK(sbrk(1l << 45));
	R(syscall(SYS_brk, 0) == (long)sbrk(0));
}

static void files(void)
{
	int fd = open("/tmp/abi-mm", O_RDWR | O_CREAT | O_TRUNC, 0600);
	R(write(fd, "hello world", 11));
	char *p = mmap(NULL, P, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	R(memcmp(p, "hello world", 11));
	R(zero(p + 11, P - 11));
	memcpy(p, "HELLO", 5);
	char buf[12] = "";
	R(pread(fd, buf, 11, 0));
	puts(buf);
	R(pwrite(fd, "WORLD", 5, 6));
	R(memcmp(p, "HELLO WORLD", 11));
	char *q = mmap(NULL, P, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	q[0] = 'x';
	R(p[0]);
	R(munmap(p, P));
	R(munmap(q, P));
	int ro = open("/tmp/abi-mm", O_RDONLY);
	OK(mmap(NULL, P, PROT_READ | PROT_WRITE, MAP_SHARED, ro, 0));
	OK(mmap(NULL, P, PROT_READ | PROT_WRITE, MAP_PRIVATE, ro, 0));
	int wo = open("/tmp/abi-mm", O_WRONLY);
	OK(mmap(NULL, P, PROT_READ, MAP_SHARED, wo, 0));
	OK(mmap(NULL, P, PROT_WRITE, MAP_PRIVATE, wo, 0));
	int dir = open("/tmp", O_RDONLY);
	OK(mmap(NULL, P, PROT_READ, MAP_PRIVATE, dir, 0));
	int fds[2];
	R(pipe(fds));
	OK(mmap(NULL, P, PROT_READ, MAP_PRIVATE, fds[0], 0));
	R(unlink("/tmp/abi-mm"));
	int m = memfd_create("x", MFD_ALLOW_SEALING);
	R(ftruncate(m, 2 * P));
	char *s = mmap(NULL, 2 * P, PROT_READ | PROT_WRITE, MAP_SHARED, m, 0);
	char *s2 = mmap(NULL, P, PROT_READ, MAP_SHARED, m, P);
	s[P] = 42;
	R(s2[0]);
	R(fcntl(m, F_ADD_SEALS, F_SEAL_WRITE));
	R(fcntl(m, F_ADD_SEALS, F_SEAL_SHRINK));
	R(ftruncate(m, P));
	R(fcntl(m, F_GET_SEALS));
}

static void fuzz(void)
{
	char *p = map(64 * P, 0);
	for (int i = 0; i < 400; i++) {
		size_t off = next() % 48 * P + PICK(0, 0, 0, 1, 2048), n = (size_t)PICK(0, 1, P, 3 * P, 5000, 16 * P);
		switch (next() % 5) {
		case 0: R(munmap(p + off, n)); break;
		case 1: OK(mmap(p + off, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | PICK(MAP_FIXED, MAP_FIXED_NOREPLACE), -1, 0)); break;
		case 2: R(mprotect(p + off, n, (int)PICK(PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE | PROT_EXEC))); break;
		case 3: R(madvise(p + off, n, (int)PICK(MADV_DONTNEED, MADV_NORMAL, MADV_WILLNEED, 777))); break;
		case 4: R(msync(p + off, n, (int)PICK(MS_SYNC, MS_ASYNC, MS_SYNC | MS_ASYNC, 64))); break;
		}
	}
}

/* Address space that is set aside first and opened in parts, as runtimes do. */
static void reservations(void)
{
	enum { BIG = 64 << 20, PART = 2 << 20 };
	char *p = mmap(NULL, BIG, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), *q;
	R(p != MAP_FAILED);
	R(mmap(p + PART, PART, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p + PART);
	R(zero(p + PART, PART));
	memset(p + PART, 1, PART);
	R(mmap(p + PART, PART, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p + PART);
	R(mprotect(p + PART / 2, 2 * PART, PROT_READ | PROT_WRITE));
	R(zero(p + PART / 2, 2 * PART));
	memset(p + PART / 2, 2, 2 * PART);
	R(mprotect(p + PART, PART, PROT_NONE));
	R(mprotect(p + PART, PART, PROT_READ));
	R(p[PART] + p[2 * PART - 1]); /* kept */
	R(madvise(p + PART, PART, MADV_DONTNEED));
	R(zero(p + PART, PART));
	R(p[PART - 1] + p[2 * PART]);
	R(mprotect(p + BIG - PART, PART, PROT_READ | PROT_WRITE));
	memset(p + BIG - PART, 3, PART);
	R(munmap(p + PART / 2, BIG - PART / 2));
	R(mprotect(p, PART / 2, PROT_READ | PROT_WRITE));
	R(zero(p, PART / 2));
	R(munmap(p, PART / 2));
	for (int round = 0; round < 4; round++) { /* freed memory comes back zero */
		q = map(BIG, 0);
		R(zero(q, BIG));
		memset(q, 4 + round, BIG);
		R(madvise(q + P, BIG - 3 * P, round % 2 ? MADV_DONTNEED : MADV_NORMAL));
		R(q[0] + q[P] + q[BIG - 2 * P] + q[BIG - 1]);
		R(munmap(q, BIG));
	}
}

/* Every mapping that maps lists is in smaps, with its size. */
static void sizes(void)
{
	char line[512];
	unsigned long from, to, kb, maps = 0, smaps = 0, wrong = 0;
	FILE *f = fopen("/proc/self/maps", "r");
	while (f && fgets(line, sizeof line, f))
		maps++;
	R(fclose(f));
	f = fopen("/proc/self/smaps", "r");
	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			smaps++;
		else if (sscanf(line, "Size: %lu kB", &kb) == 1)
			wrong += kb != (to - from) / 1024;
		else if (sscanf(line, "Rss: %lu kB", &kb) == 1)
			wrong += kb > (to - from) / 1024;
	R(fclose(f));
	R(maps > 3 && maps == smaps);
	R(wrong);
}

int main(int argc, char **argv)
{
	seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	basics(), errors(), advice(), reservations(), remap(), breaks(), files(), fuzz(), sizes();
	return 0;
}
