/*
 * region_test.c: the list of what is mapped of regions, against a model that keeps a word
 * for each page. The monitor is played by ring(), which maps what the list says, or refuses.
 */
#include "host.h"

#include "../core.h"

static void ring(u32 reg, u32 v);
#define doorbell ring
#include "../region.c"

enum { WINDOW = 700 * APART, ROUNDS = 5000 };
#define AT(page) (ABI_REGION_BASE + (u64)(page) * PAGE_SIZE)

static u32 model[WINDOW], shown[WINDOW]; /* 0, or page of the region * 2 + 1, + 1 for writing, of a region's letter */
static int refuse;                       /* the answer to ABI_REGION_MAP */
static u32 synced;

static u32 word(u8 letter, u64 page, bool write) { return (u32)letter << 24 | (u32)page << 2 | write << 1 | 1; }

/* What a machine maps that has this memory. */
static void show(u32 *pages)
{
	const struct abi_region *r = (const void *)control->region_gpa;
	u64 behind = FIRST;
	memset(pages, 0, sizeof shown);
	for (u32 i = 0; i < control->region_count; behind = r[i].first + r[i].count, i++) {
		CHECK(r[i].count && r[i].first >= behind && r[i].first + r[i].count <= FIRST + WINDOW && r[i].name_bytes == 1);
		for (u64 n = 0; n < r[i].count; n++)
			pages[r[i].first - FIRST + n] = word(r[i].name[0], r[i].offset + n, r[i].flags & ABI_REGION_WRITE);
	}
}

static void ring(u32 reg, u32 v)
{
	(void)v;
	CHECK_EQ(reg, ABI_DOORBELL_REGION);
	struct abi_region_call *c = (void *)control->region_call_gpa;
	if (c->what == ABI_REGION_MAP && !(c->result = refuse))
		show(shown);
	else if (c->what == ABI_REGION_SYNC)
		c->result = 0, synced += (u32)(c->size / PAGE_SIZE);
}

/* What the machine maps, what a snapshot has, and what the program may use are the model. */
static void check(void)
{
	static u32 saved[WINDOW];
	if (control->region_gpa)
		show(saved);
	for (u64 i = 0; i < WINDOW; i++) {
		CHECK_EQ(shown[i], model[i]);
		CHECK_EQ(saved[i], model[i]);
		if (i % 16 == 0 || model[i]) {
			CHECK_EQ(region_allows(AT(i), PAGE_SIZE, false), model[i] != 0);
			CHECK_EQ(region_allows(AT(i), 1, true), (model[i] & 2) != 0);
		}
	}
}

static u64 map(u8 letter, u64 off, u64 n, bool write)
{
	long at = region_map((const char *)&letter, 1, off * PAGE_SIZE, n * PAGE_SIZE, write);
	if (at < 0)
		return 0;
	u64 first = (u64)at / PAGE_SIZE - FIRST;
	for (u64 i = 0; i < n; i++) {
		CHECK_EQ(model[first + i], 0);
		model[first + i] = word(letter, off + i, write);
	}
	return (u64)at;
}

static long unmap(u64 page, u64 n)
{
	long err = region_unmap(AT(page), n * PAGE_SIZE);
	if (!err)
		memset(&model[page], 0, n * sizeof *model);
	return err;
}

static void test_model(void)
{
	for (u32 round = 0; round < ROUNDS; round++) {
		u64 page = host_random(8 * APART), n = 1 + host_random(APART);
		switch (host_random(3)) {
		case 0:
			if (count < 12)
				CHECK(map((u8)('a' + host_random(3)), host_random(100), n, host_random(2)) != 0);
			break;
		case 1:
			CHECK_EQ(unmap(page, n), 0);
			break;
		case 2:
			if (region_protect(AT(page), n * PAGE_SIZE, round % 2) == 0)
				for (u64 i = page; i < page + n; i++)
					model[i] = (model[i] & ~2u) | (round % 2) << 1;
			break;
		}
		if (round % 50 == 0)
			check();
	}
	region_unmap_all();
	memset(model, 0, sizeof model);
	check();
}

static void test_refused(void)
{
	CHECK(map('a', 0, 4, true) != 0);
	refuse = -EACCES;
	CHECK_EQ(region_map("b", 1, 0, PAGE_SIZE, false), -EACCES);
	CHECK_EQ(region_protect(AT(0), 4 * PAGE_SIZE, false), -EACCES);
	refuse = 0;
	check();
	CHECK_EQ(region_protect(AT(0), PAGE_SIZE, false), -EACCES); /* a part */
	CHECK_EQ(region_sync(AT(1), 2 * PAGE_SIZE), 0);
	CHECK_EQ(synced, 2);
	CHECK_EQ(region_sync(AT(3), 2 * PAGE_SIZE), -ENOMEM);
	CHECK_EQ(region_unmap(AT(0), ~0ull << 12), -EINVAL);
	CHECK(!region_allows(AT(0), ~0ull, false) && !region_allows(ABI_REGION_BASE + ABI_REGION_WINDOW - 1, 2, false));
	CHECK_EQ(unmap(0, 4), 0);
	check();
}

/* A hole takes a row for what is left on each side: where there is one and not two, a snapshot
 * still has all that is mapped. */
static void test_full(void)
{
	for (u32 n = 0; n < ABI_REGIONS_MAX - 1; n++)
		CHECK(map('a', n, 3, true) != 0);
	CHECK_EQ(unmap(1, 1), -ENOMEM);
	check();
	CHECK_EQ(region_map("a", 1, 0, PAGE_SIZE, false), -ENOMEM);
	CHECK_EQ(unmap(1, 2), 0);
	check();
	region_unmap_all();
	memset(model, 0, sizeof model);
	check();
}

int main(void)
{
	test_model();
	test_refused();
	test_full();
	return 0;
}
