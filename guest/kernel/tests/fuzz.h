/*
 * fuzz.h: the loop of a fuzz program. hosttest/fuzz_test.go, the mutator, sends
 * inputs, each preceded by its length, and waits for a byte after each; what the
 * sanitizers find ends the program.
 *
 * An input lies in memory of exactly its length, so that reading on is found.
 */
#ifndef SEUSS_FUZZ_H
#define SEUSS_FUZZ_H

#include "host.h"

/* Runs one input, and forgets all of it again. */
void fuzz_one(u8 *data, u64 n);

/* Prints an input to begin with. */
void fuzz_seed(void);

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "seed")) {
		fuzz_seed();
		return 0;
	}
	u32 n;
	while (fread(&n, sizeof n, 1, stdin) == 1) {
		u8 *data = aligned_alloc(PAGE_SIZE, PAGE_UP(n + 1));
		u8 *exact = n % 16 ? malloc(n) : data; /* images want their pages aligned */
		if (n && fread(exact, n, 1, stdin) != 1)
			return 1;
		fuzz_one(exact, n);
		if (exact != data)
			free(exact);
		free(data);
		putchar('k');
		fflush(stdout);
	}
	return 0;
}

#endif
