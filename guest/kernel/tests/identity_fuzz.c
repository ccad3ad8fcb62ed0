/*
 * identity_fuzz.c: identity pages of any content: clocks, timers and random
 * bytes are made from them.
 */
// link: ../time.c
#include "fuzz.h"
#include "../core.h"

static void fire(struct timer *t) { CHECK(!t->armed); }

void fuzz_seed(void)
{
	struct abi_identity id = {.generation = 1, .wall_ns = 1700000000000000000, .mono_ns = 1000000000, .tsc = 1, .tsc_mult = 1u << 31, .cid = 3};
	fwrite(&id, sizeof id, 1, stdout);
}

void fuzz_one(u8 *data, u64 n)
{
	memset(&host_identity, 0, sizeof host_identity);
	memcpy(&host_identity, data, MIN(n, sizeof host_identity));
	u64 first = mono_ns();
	wall_ns();
	struct timer t[3] = {{.fire = fire}, {.fire = fire}, {.fire = fire}};
	timer_arm(&t[0], first);
	timer_arm(&t[1], n ? first + data[0] : 0);
	timer_arm(&t[2], NO_DEADLINE);
	u64 next = timers_next();
	CHECK(next <= t[0].deadline && next <= t[1].deadline);
	timers_run();
	for (u32 i = 0; i < ARRAY_SIZE(t); i++)
		timer_cancel(&t[i]);
	CHECK_EQ(timers_next(), NO_DEADLINE);
	u8 a[200], b[200];
	random_bytes(a, n % sizeof a);
	random_bytes(a, sizeof a);
	random_bytes(b, sizeof b);
	CHECK(memcmp(a, b, sizeof a));
}
