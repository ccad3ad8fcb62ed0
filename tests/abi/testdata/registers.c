/*
 * registers.c: threads that give the CPU away, are preempted and get signals keep
 * their extended registers, whatever the others have in theirs: each round uses some
 * components and leaves the others in their initial state.
 */
#include "abi.h"

#include <cpuid.h>

#define PLAIN __attribute__((target("general-regs-only"), noinline)) /* the compiler touches none of them */
enum { THREADS = 5, ROUNDS = 400, X87 = 1, AVX = 4, MASKS = 32, UPPER = 64, HIGH = 128 };

static int has;

struct registers {
	uint8_t v[32][64] __attribute__((aligned(64)));
	uint64_t k[8];
	uint8_t st[16];
	uint32_t mxcsr;
	uint16_t control;
};

#define LOW(i) ".irp r,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n" i "\n.endr"
#define HI(i) ".irp r,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n" i "\n.endr"
#define K(i) ".irp r,0,1,2,3,4,5,6,7\n" i "\n.endr"

/* Everything in its initial state, then some components loaded. */
static PLAIN void load(const struct registers *r, int used)
{
	__asm__ volatile("fninit");
	if (has & AVX)
		__asm__ volatile("vzeroall");
	if (has & HIGH) {
		__asm__ volatile(HI("vpxorq %%zmm\\r, %%zmm\\r, %%zmm\\r") ::);
		__asm__ volatile(K("kxorq %%k\\r, %%k\\r, %%k\\r") ::);
	}
	__asm__ volatile("ldmxcsr %0" ::"m"(r->mxcsr));
	if (used & UPPER)
		__asm__ volatile(LOW("vmovdqa64 64*\\r(%0), %%zmm\\r") ::"r"(r->v));
	else if (used & AVX)
		__asm__ volatile(LOW("vmovdqa 64*\\r(%0), %%ymm\\r") ::"r"(r->v));
	else
		__asm__ volatile(LOW("movaps 64*\\r(%0), %%xmm\\r") ::"r"(r->v));
	if (used & HIGH)
		__asm__ volatile(HI("vmovdqa64 64*\\r(%0), %%zmm\\r") ::"r"(r->v));
	if (used & MASKS)
		__asm__ volatile(K("kmovq 8*\\r(%0), %%k\\r") ::"r"(r->k));
	if (used & X87)
		__asm__ volatile("fldt %0\nfldcw %1" ::"m"(r->st), "m"(r->control));
}

static PLAIN void store(struct registers *r, int used)
{
	__asm__ volatile("stmxcsr %0" : "=m"(r->mxcsr));
	__asm__ volatile("fnstcw %0" : "=m"(r->control));
	if (used & X87)
		__asm__ volatile("fstpt %0" : "=m"(r->st));
	if (has & UPPER)
		__asm__ volatile(LOW("vmovdqa64 %%zmm\\r, 64*\\r(%0)") ::"r"(r->v) : "memory");
	else if (has & AVX)
		__asm__ volatile(LOW("vmovdqa %%ymm\\r, 64*\\r(%0)") ::"r"(r->v) : "memory");
	else
		__asm__ volatile(LOW("movaps %%xmm\\r, 64*\\r(%0)") ::"r"(r->v) : "memory");
	if (has & HIGH) {
		__asm__ volatile(HI("vmovdqa64 %%zmm\\r, 64*\\r(%0)") ::"r"(r->v) : "memory");
		__asm__ volatile(K("kmovq %%k\\r, 8*\\r(%0)") ::"r"(r->k) : "memory");
	}
	__asm__ volatile("fninit");
}

static PLAIN long call(long n, long a, long b, long c)
{
	long r;
	__asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return r;
}

static volatile int turns;
static int done; /* threads */

/* What happens to a thread between load and store. */
static PLAIN void leave(int way, int pid, int tid)
{
	if (way == 0)
		call(SYS_tgkill, pid, tid, SIGUSR1);
	else if (way == 1) /* until others have run, which takes a preemption */
		for (int before = turns; turns == before;)
			__asm__ volatile("pause");
	else
		for (int i = 0; i < way; i++)
			call(SYS_sched_yield, 0, 0, 0);
}

static PLAIN void spoil(int signal)
{
	(void)signal;
	struct registers ones;
	for (unsigned i = 0; i < sizeof ones; i++)
		((volatile uint8_t *)&ones)[i] = 0xff;
	ones.mxcsr = 0x1f80, ones.control = 0x27f;
	load(&ones, has | X87);
}

static uint64_t mix(uint64_t *s)
{
	*s = *s * 6364136223846793005ull + 1442695040888963407ull;
	return *s ^ *s >> 29;
}

static void *thread(void *arg)
{
	uint64_t s = seed + (uint64_t)arg * 77;
	int tid = gettid(), pid = getpid();
	long wrong = 0;
	struct registers in, out;
	memset(&in, 0, sizeof in);
	for (int round = 0; round < ROUNDS; round++) {
		int used = (int)(mix(&s) >> 20) & (has | X87);
		if (mix(&s) >> 40 & 1)
			used &= ~X87; /* seldom in use */
		memset(in.v, 0, sizeof in.v), memset(in.k, 0, sizeof in.k);
		for (int i = 0; i < 32; i++) {
			int bytes = i > 15 ? (used & HIGH ? 64 : 0) : used & UPPER ? 64 : used & AVX ? 32 : 16;
			for (int j = 0; j < bytes; j++)
				in.v[i][j] = (uint8_t)(mix(&s) >> 33);
		}
		for (int i = 0; i < 8; i++)
			in.k[i] = used & MASKS ? mix(&s) : 0;
		long double x = used & X87 ? (long double)(mix(&s) >> 11) / 3 : 0;
		memcpy(in.st, &x, 10);
		in.mxcsr = 0x1f80 | (uint32_t)(mix(&s) >> 40 & 3) << 13; /* rounding */
		in.control = used & X87 ? 0x37f | (uint16_t)(mix(&s) >> 40 & 3) << 10 : 0x37f;
		int way = round % 200 == 7 ? 1 : (int)(mix(&s) >> 50 & 3);
		memset(&out, 0, sizeof out);
		turns++;
		load(&in, used);
		leave(way == 1 && round % 200 != 7 ? 2 : way, pid, tid);
		store(&out, used);
		wrong += memcmp(&in, &out, sizeof in) != 0;
	}
	__atomic_add_fetch(&done, 1, __ATOMIC_SEQ_CST);
	for (; __atomic_load_n(&done, __ATOMIC_SEQ_CST) < THREADS; turns++)
		sched_yield(); /* who waits for others to run still sees some */
	return (void *)wrong;
}

int main(int argc, char **argv)
{
	seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
	unsigned a, b, c, d, low = 0, high;
	__cpuid_count(1, 0, a, b, c, d);
	if (c & bit_OSXSAVE)
		__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	if (low & AVX)
		has |= AVX;
	__cpuid_count(7, 0, a, b, c, d);
	if (b & bit_AVX512BW && (low & 0xe0) == 0xe0)
		has |= MASKS | UPPER | HIGH;
	signal(SIGUSR1, spoil);
	pthread_t t[THREADS];
	for (long i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, thread, (void *)i);
	for (int i = 0; i < THREADS; i++) {
		void *wrong;
		pthread_join(t[i], &wrong);
		R((long)wrong);
	}
	return 0;
}
