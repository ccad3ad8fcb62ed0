/* main.c: draws from glibc's generators, of which rand has the same seed everywhere. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(void)
{
	unsigned long long fresh = 0;
	rand();
	while (getchar() != EOF)
		;
	if (getentropy(&fresh, sizeof fresh))
		return 1;
	printf("{\"rand\": \"%d\", \"arc4random\": \"%u\", \"getentropy\": \"%llu\"}\n", rand(), arc4random(), fresh);
}
