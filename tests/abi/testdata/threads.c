/* threads.c: pthreads, futexes, robust mutexes, thread-local storage, preemption. */
#include "abi.h"
#include <linux/futex.h>
#include <sched.h>

enum { N = 8 };
static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t c = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t bar;
static long total, turn;
static __thread int tls;
static volatile int stop;

static long futex(void *a, int op, int v, void *t, void *b, int w) { return syscall(SYS_futex, a, op, v, t, b, w); }

static void *add(void *arg)
{
	long me = (long)arg;
	tls = (int)me;
	for (int i = 0; i < 1000; i++) {
		pthread_mutex_lock(&m);
		total += me;
		pthread_mutex_unlock(&m);
	}
	pthread_barrier_wait(&bar);
	pthread_mutex_lock(&m);
	while (turn != me)
		pthread_cond_wait(&c, &m);
	turn++;
	pthread_cond_broadcast(&c);
	pthread_mutex_unlock(&m);
	return (void *)(long)tls;
}

static void *spin(void *arg)
{
	while (!stop)
		;
	return arg;
}

static pthread_mutex_t robust;
static void *dies(void *arg) { pthread_mutex_lock(&robust); return arg; }

static void *sleeper(void *word) { return (void *)futex(word, FUTEX_WAIT, 1, NULL, NULL, 0); }

int main(void)
{
	pthread_t t[N];
	pthread_barrier_init(&bar, NULL, N);
	for (long i = 0; i < N; i++)
		pthread_create(&t[i], NULL, add, (void *)i);
	for (int i = 0; i < N; i++) {
		void *r;
		pthread_join(t[i], &r);
		R((long)r);
	}
	R(total);

	pthread_create(&t[0], NULL, spin, NULL); /* only preemption ends this */
	usleep(10000);
	stop = 1;
	R(pthread_join(t[0], NULL));

	pthread_mutexattr_t a;
	pthread_mutexattr_init(&a);
	pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&robust, &a);
	pthread_create(&t[0], NULL, dies, NULL);
	pthread_join(t[0], NULL);
	R(pthread_mutex_lock(&robust) == EOWNERDEAD);
	R(pthread_mutex_consistent(&robust));
	R(pthread_mutex_unlock(&robust));
	struct timespec soon;
	clock_gettime(CLOCK_REALTIME, &soon);
	pthread_mutex_lock(&m);
	R(pthread_mutex_timedlock(&m, &soon) == ETIMEDOUT);
	R(pthread_cond_timedwait(&c, &m, &soon) == ETIMEDOUT);

	int word = 1, other = 2;
	struct timespec ms = {0, 1000000}, bad = {0, -1};
	R(futex(&word, FUTEX_WAIT, 2, NULL, NULL, 0));
	R(futex(&word, FUTEX_WAIT, 1, &ms, NULL, 0));
	R(futex(&word, FUTEX_WAIT, 1, &bad, NULL, 0));
	R(futex(&word, FUTEX_WAIT_BITSET, 1, NULL, NULL, 0));
	R(futex((char *)&word + 1, FUTEX_WAIT, 1, NULL, NULL, 0));
	R(futex((void *)8, FUTEX_WAIT, 1, NULL, NULL, 0));
	R(futex(&word, FUTEX_WAKE, 1, NULL, NULL, 0));
	R(futex(&word, 99, 1, NULL, NULL, 0));
	R(futex(&word, FUTEX_CMP_REQUEUE, 1, (void *)1, &other, 7));
	for (int i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, sleeper, &word);
	usleep(50000);
	R(futex(&word, FUTEX_CMP_REQUEUE, 1, (void *)2, &other, 1));
	R(futex(&other, FUTEX_WAKE, 9, NULL, NULL, 0));
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	R(sched_yield());
	R(sched_getscheduler(0));
	R(sched_get_priority_max(SCHED_FIFO));
	R(sched_get_priority_min(SCHED_RR));
	R(sched_get_priority_max(99));
	struct sched_param p = {1};
	R(sched_setscheduler(0, SCHED_OTHER, &p));
	R(sched_setscheduler(0, 99, &p));
	R(sched_getparam(999999, &p));
	return 0;
}
