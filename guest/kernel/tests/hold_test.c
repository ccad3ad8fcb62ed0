/*
 * hold_test.c: who may run after a restore, and for how long the others wait.
 */
// link: ../hold.c
#include "host.h"

#include <setjmp.h>

#include "../hold.h"

static struct thread first = {.tid = 1}, second = {.tid = 2};
struct thread *current = &first;

static jmp_buf gone;

void panic(const char *fmt, ...)
{
	(void)fmt;
	longjmp(gone, 1);
}

/* So many looks, so many nanoseconds apart: does the guest live? */
static bool lives(const u32 looks, const u64 apart)
{
	if (setjmp(gone))
		return false;
	for (u32 n = 0; n < looks; n++) {
		host_mono_ns += apart;
		hold_look();
	}
	return true;
}

static void restore(void)
{
	host_identity.generation++;
	hold_look();
}

int main(void)
{
	/* Nobody has ever said that he seeds: nobody waits. */
	restore();
	CHECK(!hold_driver());

	hold_seeded();
	CHECK(lives(1000, NS_PER_SEC) && !hold_driver());
	CHECK_EQ(hold_deadline(NO_DEADLINE), NO_DEADLINE);
	for (int round = 0; round < 3; round++) {
		restore();
		CHECK(hold_driver() == &first);
		CHECK(hold_deadline(NO_DEADLINE) > host_mono_ns && hold_deadline(NO_DEADLINE) <= host_mono_ns + NS_PER_SEC);
		CHECK_EQ(hold_deadline(host_mono_ns), host_mono_ns);
		CHECK(lives(9999, NS_PER_SEC / 1000)); /* what it took before an earlier restore is forgotten */
		hold_seeded();
		CHECK(!hold_driver());
	}

	/* A host that stops the machine for a day takes nothing from it; one restore after the other neither. */
	restore();
	CHECK(lives(99, 86400 * NS_PER_SEC));
	restore();
	CHECK(lives(99, 86400 * NS_PER_SEC));
	CHECK(!lives(2, NS_PER_SEC));
	CHECK(hold_driver() == &first);

	/* Whoever says so last is the driver's. */
	current = &second;
	hold_seeded();
	restore();
	CHECK(hold_driver() == &second);
	hold_forget(&first);
	CHECK(hold_driver() == &second);
	hold_forget(&second);
	CHECK(!hold_driver());
	restore();
	CHECK(!hold_driver());
	return 0;
}
