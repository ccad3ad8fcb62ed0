/* threads.c counts the bytes of its input in as many threads as the input's first number
 * says, each of which works on its stack and waits for all others. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 1000

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t all_here = PTHREAD_COND_INITIALIZER;
static int here, count;
static long sum;
static __thread long own;

static void *work(void *arg)
{
	char stack[16384];
	memset(stack, (int)(long)arg % 100, sizeof(stack));
	for (size_t i = 0; i < sizeof(stack); i++)
		own += stack[i];
	pthread_mutex_lock(&lock);
	here++;
	pthread_cond_broadcast(&all_here);
	while (here < count)
		pthread_cond_wait(&all_here, &lock);
	sum += own;
	pthread_mutex_unlock(&lock);
	return NULL;
}

int main(void)
{
	static pthread_t threads[MOST];
	static char text[65536];
	size_t n = fread(text, 1, sizeof(text) - 1, stdin);
	count = atoi(text);
	if (count < 1 || count > MOST) {
		fprintf(stderr, "want 1 to %d threads\n", MOST);
		return 1;
	}
	for (long i = 0; i < count; i++) {
		int err = pthread_create(&threads[i], NULL, work, (void *)i);
		if (err) {
			fprintf(stderr, "thread %ld: %s\n", i, strerror(err));
			return 1;
		}
	}
	for (int i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	printf("{\"bytes\": %zu, \"threads\": %d, \"sum\": %ld}\n", n, here, sum);
	return 0;
}
