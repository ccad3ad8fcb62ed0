/* main.c: seeds rand, and uses arc4random, before it reads its input. */
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
	srand(arc4random());
	while (getchar() != EOF)
		;
	printf("{\"rand, seeded before\": \"%d\", \"arc4random, used before\": \"%u\"}\n", rand(), arc4random());
}
