/* main.c: counts the bytes of its input. */
#include <stdio.h>

int main(void)
{
	static int count;
	long n = 0;
	while (getchar() != EOF)
		n++;
	printf("{\"bytes\": %ld, \"count\": %d}\n", n, ++count);
}
