/*
 * far_test.c: the far window against a model that keeps a word for each page: what is
 * set aside, what is open, and what is in it. The monitor is played by protect_far(),
 * which maps what the list says, as the real one does: pages of RAM must not be given
 * back while it has them mapped, nor twice, and what is opened is zero.
 */
// link: ../far.c ../far_areas.c ../far_stack.c
#include "host.h"

#include "../far.h"
#include "../map.h"
#include "../protect.h"

enum { WINDOW = 3000, RAM = 1500, RAM_FIRST = 1024, ROUNDS = 60000 };
#define AT(page) (ABI_FAR_BASE + (u64)(page) * PAGE_SIZE)

/* ---- RAM ---------------------------------------------------------------------- */

static bool used[RAM];
static u32 content[RAM]; /* a word stands for a page */
static u64 ram_used;

static u64 ram_page(u64 addr, u64 n)
{
	u64 page = addr / PAGE_SIZE - RAM_FIRST;
	CHECK(addr % PAGE_SIZE == 0 && page < RAM && n <= RAM - page);
	return page;
}

u64 ram_pages_total(void) { return RAM_FIRST + RAM; }
u64 ram_pages_free(void) { return RAM - ram_used; }

bool mm_is_free(u64 addr, u64 n)
{
	for (u64 page = addr / PAGE_SIZE - RAM_FIRST; n--; page++)
		if (page >= RAM || used[page])
			return false;
	return true;
}

void mm_take(u64 addr, u64 n)
{
	u64 page = ram_page(addr, n);
	CHECK(mm_is_free(addr, n));
	memset(&used[page], 1, n);
	memset(&content[page], 0, n * sizeof *content);
	ram_used += n;
}

u64 mm_find(u64 n, u64 limit, u64 align)
{
	CHECK(align == PAGE_SIZE && limit == ram_pages_total() * PAGE_SIZE);
	if (n)
		for (u64 i = RAM; i-- >= n;)
			if (mm_is_free((RAM_FIRST + i + 1 - n) * PAGE_SIZE, n))
				return (RAM_FIRST + i + 1 - n) * PAGE_SIZE;
	return 0;
}

void mm_zero(u64 addr, u64 n) { memset(&content[ram_page(addr, n)], 0, n * sizeof *content); }

/* ---- the monitor ------------------------------------------------------------------ */

static s32 shown[WINDOW]; /* page of RAM + 1; 0: nothing */
static u64 rings;

void protect_far(void)
{
	const struct abi_far *e = (void *)host_control.far_gpa;
	u64 behind = ABI_FAR_BASE / PAGE_SIZE;
	memset(shown, 0, sizeof shown);
	CHECK(host_control.far_count <= ABI_FAR_MAX && host_control.far_used);
	for (u32 i = 0; i < host_control.far_count; behind = e[i].first + e[i].count, i++) {
		CHECK(e[i].count && e[i].first >= behind);
		u64 first = e[i].first - ABI_FAR_BASE / PAGE_SIZE, ram = ram_page(e[i].ram * PAGE_SIZE, e[i].count);
		CHECK(first + e[i].count <= WINDOW);
		for (u64 n = 0; n < e[i].count && e[i].open; n++)
			shown[first + n] = (s32)(ram + n) + 1;
	}
	rings++;
}

void mm_give(u64 addr, u64 n)
{
	for (u64 page = ram_page(addr, n); n--; page++) {
		CHECK(used[page]);
		for (int i = 0; i < WINDOW; i++)
			CHECK(shown[i] != (s32)page + 1); /* still mapped */
		used[page] = false;
		ram_used--;
	}
}

/* ---- the model ---------------------------------------------------------------------- */

enum { FREE, ASIDE, OPEN, CLOSED };
static u8 state[WINDOW];
static u32 word[WINDOW];

static void check(void)
{
	u64 mine = 0;
	for (int i = 0; i < WINDOW; i++) {
		CHECK_EQ(far_usable(AT(i), PAGE_SIZE), state[i] == OPEN);
		CHECK_EQ(far_reserved(AT(i), PAGE_SIZE), state[i] != FREE);
		CHECK_EQ(shown[i] != 0, state[i] == OPEN);
		if (state[i] == OPEN)
			CHECK_EQ(content[shown[i] - 1], word[i]);
		mine += state[i] == OPEN || state[i] == CLOSED;
	}
	CHECK_EQ(ram_used, mine);
	struct far_stretch s;
	u64 pages = 0, behind = 0;
	for (u64 at = 0; far_next(at, &s); at = s.end) {
		CHECK(s.start >= behind && s.end > s.start);
		for (u64 a = s.start; a < s.end; a += PAGE_SIZE) {
			u64 i = (a - ABI_FAR_BASE) / PAGE_SIZE;
			CHECK(s.open ? state[i] == OPEN : state[i] == ASIDE || state[i] == CLOSED);
		}
		pages += s.pages;
		behind = s.end;
	}
	CHECK_EQ(pages, mine);
	for (u64 i = 0, n; i < RAM; i += n) {
		bool far = far_holds(RAM_FIRST + i, &n);
		n = MIN(n, RAM - i);
		for (u64 k = i; k < i + n; k++)
			CHECK_EQ(used[k], far);
	}
}

static void set(u64 first, u64 n, u8 to)
{
	for (u64 i = first; i < first + n; i++) {
		if (to == FREE || to == ASIDE || (to == OPEN && state[i] == ASIDE))
			word[i] = 0;
		state[i] = to == CLOSED && state[i] == ASIDE ? ASIDE : to;
	}
}

static bool all_aside(u64 first, u64 n)
{
	for (u64 i = first; i < first + n; i++)
		if (state[i] == FREE)
			return false;
	return true;
}

static bool all_free(u64 first, u64 n)
{
	for (u64 i = first; i < first + n; i++)
		if (state[i] != FREE)
			return false;
	return true;
}

static void one_call(u64 first, u64 n)
{
	u64 missing = 0, left = RAM - ram_used, to;
	for (u64 i = first; i < first + n; i++)
		missing += state[i] == ASIDE;
	switch (host_random(9)) {
	case 0:
		to = far_reserve(n * PAGE_SIZE, FAR_PLAIN);
		CHECK(to >= ABI_FAR_BASE);
		to = (to - ABI_FAR_BASE) / PAGE_SIZE;
		if (to + n > WINDOW) { /* beyond the model */
			CHECK_EQ(far_release(AT(to), n * PAGE_SIZE), 0);
			break;
		}
		CHECK(all_free(to, n));
		set(to, n, ASIDE);
		break;
	case 1: /* as MAP_FIXED */
		CHECK_EQ(far_drop(AT(first), n * PAGE_SIZE), 0);
		CHECK_EQ(far_reserve_at(AT(first), n * PAGE_SIZE), 0);
		set(first, n, ASIDE);
		break;
	case 2:
		CHECK_EQ(far_touches(AT(first), n * PAGE_SIZE), !all_free(first, n));
		CHECK_EQ(far_release(AT(first), n * PAGE_SIZE), 0);
		set(first, n, FREE);
		break;
	case 3:
	case 4:
	case 5:
		CHECK_EQ(far_reserved(AT(first), n * PAGE_SIZE), all_aside(first, n));
		if (!all_aside(first, n))
			break;
		CHECK_EQ(far_open(AT(first), n * PAGE_SIZE), missing > left ? -ENOMEM : 0);
		if (missing <= left)
			set(first, n, OPEN);
		break;
	case 6:
		if (!all_aside(first, n))
			break;
		CHECK_EQ(far_close(AT(first), n * PAGE_SIZE), 0);
		set(first, n, CLOSED);
		break;
	case 7:
		far_zero(AT(first), n * PAGE_SIZE);
		memset(&word[first], 0, n * sizeof *word);
		break;
	default: /* as mremap */
		to = host_random(WINDOW - (u32)n);
		if (!all_aside(first, n) || !all_free(to, n))
			break;
		CHECK_EQ(far_reserve_at(AT(to), n * PAGE_SIZE), 0);
		CHECK_EQ(far_move(AT(to), AT(first), n * PAGE_SIZE), 0);
		memcpy(&word[to], &word[first], n * sizeof *word);
		memcpy(&state[to], &state[first], n);
		set(first, n, ASIDE);
		CHECK_EQ(far_release(AT(first), n * PAGE_SIZE), 0);
		set(first, n, FREE);
	}
}

static void test_model(void)
{
	for (int round = 0; round < ROUNDS; round++) {
		u64 n = 1 + host_random(host_random(4) ? 20 : 400);
		one_call(host_random(WINDOW - (u32)n), n);
		for (int k = 0; k < 20; k++) { /* the program writes */
			u32 i = host_random(WINDOW);
			if (state[i] == OPEN)
				content[shown[i] - 1] = word[i] = (u32)round + 1;
		}
		if (round % 16 == 0)
			check();
	}
	check();
	CHECK_EQ(far_release(ABI_FAR_BASE, WINDOW * PAGE_SIZE), 0);
	set(0, WINDOW, FREE);
	check();
	CHECK_EQ(ram_used, 0);
	CHECK_EQ(host_objects_out, 0);
}

/* What the window cannot hold, and the list. */
static void test_limits(void)
{
	CHECK_EQ(far_reserve(0, FAR_PLAIN), 0);
	CHECK_EQ(far_reserve(FAR_BYTES + PAGE_SIZE, FAR_PLAIN), 0);
	CHECK_EQ(far_reserve(~0ull & ~(PAGE_SIZE - 1), FAR_PLAIN), 0);
	u64 all = far_reserve(FAR_BYTES, FAR_PLAIN);
	CHECK_EQ(all, ABI_FAR_BASE);
	CHECK_EQ(far_reserve(PAGE_SIZE, FAR_PLAIN), 0);
	CHECK(!far_window(ABI_FAR_BASE - 1, 2) && !far_window(ABI_FAR_BASE + FAR_BYTES - 1, 2) && !far_window(ABI_FAR_BASE, ~0ull));
	CHECK(!far_usable(all, 1) && !far_usable(~0ull, 2));
	u64 n = 0;
	while (far_open(AT(2 * n), PAGE_SIZE) == 0)
		n++;
	CHECK_EQ(n, ABI_FAR_MAX);
	CHECK_EQ(far_open(AT(1), PAGE_SIZE), -ENOMEM);
	CHECK_EQ(far_close(AT(0), PAGE_SIZE), 0);
	CHECK_EQ(far_drop(AT(0), 3 * PAGE_SIZE), 0);
	CHECK_EQ(far_open(AT(1), 2 * PAGE_SIZE), 0);
	CHECK_EQ(far_open(AT(3), PAGE_SIZE), 0);
	host_fail_after = 0; /* no memory for what is left on both sides of a hole */
	CHECK_EQ(far_release(AT(100), PAGE_SIZE), -ENOMEM);
	host_fail_after = -1;
	CHECK_EQ(far_release(all, FAR_BYTES), 0);
	CHECK_EQ(ram_used, 0);
	CHECK_EQ(host_objects_out, 0);
}

/* Memory that grows step by step, as WebAssembly's does, is a few runs of RAM. */
static void test_growth(void)
{
	u64 at = far_reserve(WINDOW * PAGE_SIZE, FAR_PLAIN), rung = rings;
	for (u64 n = 0; n < 1024; n += 16)
		CHECK_EQ(far_open(at, (n + 16) * PAGE_SIZE), 0);
	CHECK_EQ(rings - rung, 64);
	CHECK(host_control.far_count <= 8);
	CHECK_EQ(far_open(at, 1024 * PAGE_SIZE), 0);
	CHECK_EQ(rings - rung, 64); /* nothing to tell */
	CHECK_EQ(far_release(at, WINDOW * PAGE_SIZE), 0);
}

/* Stacks take pages where they are touched, and are refused where there are none for them. */
static void test_stacks(void)
{
	enum { STACK = 200, GUARD = 1 };
	u64 stacks[RAM], n = 0, filler = far_reserve(RAM * PAGE_SIZE, FAR_PLAIN);
	CHECK_EQ(far_stack(64 * PAGE_SIZE), 0); /* RAM does */
	CHECK_EQ(far_open(filler, 1400 * PAGE_SIZE), 0);
	u64 full = ram_used, left = RAM - full;
	while ((stacks[n] = far_stack(STACK * PAGE_SIZE))) {
		u64 at = stacks[n++];
		CHECK(!far_touch(at) && !far_touch(at + PAGE_SIZE)); /* nobody has opened it */
		CHECK_EQ(far_stack_protect(at + GUARD * PAGE_SIZE, (STACK - GUARD) * PAGE_SIZE, true), 0);
		CHECK(!far_touch(at)); /* its guard */
		CHECK(far_reserved(at, STACK * PAGE_SIZE));
	}
	CHECK_EQ(ram_used, full);
	CHECK_EQ(n, left / 16);
	for (u64 i = 0; i < n; i++) {
		u64 top = stacks[i] + STACK * PAGE_SIZE, before = ram_used;
		CHECK(!far_usable(top - 8, 8));
		CHECK(far_touch(top - 8) && far_usable(top - 8, 8) && !far_touch(top - 8));
		CHECK_EQ(ram_used, before + 16);
	}
	CHECK(!far_touch(stacks[0] + 8 * PAGE_SIZE) || ram_used <= RAM); /* all is used, or nearly so */
	CHECK_EQ(far_release(filler, RAM * PAGE_SIZE), 0);
	/* A stack that goes deeper gets as much again, so that it is a few runs. */
	u32 runs = host_control.far_count;
	for (u64 page = STACK; page-- > GUARD;)
		far_touch(stacks[0] + page * PAGE_SIZE);
	CHECK(far_usable(stacks[0] + GUARD * PAGE_SIZE, (STACK - GUARD) * PAGE_SIZE));
	CHECK(!far_touch(stacks[0]));
	CHECK(host_control.far_count <= runs + 5);
	/* A buffer that a system call is given gets its pages; one that reaches into a guard has none. */
	CHECK(far_access(stacks[1] + 20 * PAGE_SIZE + 5, 40 * PAGE_SIZE) && far_usable(stacks[1] + 20 * PAGE_SIZE, 40 * PAGE_SIZE));
	CHECK(!far_access(stacks[1], 8) && !far_access(stacks[1] + 8, PAGE_SIZE));
	/* A zone that the program closes, and opens, keeps what is in it. */
	u64 zone = stacks[0] + 8 * PAGE_SIZE;
	u64 page = (zone - ABI_FAR_BASE) / PAGE_SIZE;
	CHECK(page < WINDOW);
	content[shown[page] - 1] = 77;
	CHECK_EQ(far_stack_protect(zone, 4 * PAGE_SIZE, false), 0);
	CHECK(!far_touch(zone) && !far_usable(zone, 1));
	CHECK_EQ(far_stack_protect(zone, 4 * PAGE_SIZE, true), 0);
	CHECK(far_usable(zone, 4 * PAGE_SIZE) && content[shown[page] - 1] == 77);
	struct far_stretch s;
	for (u64 at = 0, behind = 0; far_next(at, &s); at = behind = s.end)
		CHECK(s.start >= behind && s.end > s.start);
	while (n--)
		CHECK_EQ(far_release(stacks[n], STACK * PAGE_SIZE), 0);
	CHECK_EQ(ram_used, 0);
	CHECK_EQ(host_objects_out, 0);
}

/* All goes, even if the list is full and a stack's mapping goes on in what lies behind it. */
static void test_release_all(void)
{
	enum { STACK = 4 };
	u64 stack = far_reserve(STACK * PAGE_SIZE, FAR_GUARD), end = stack + STACK * PAGE_SIZE;
	CHECK_EQ(far_stack_protect(stack, STACK * PAGE_SIZE, true), 0);
	CHECK_EQ(far_reserve(3 * ABI_FAR_MAX * PAGE_SIZE, FAR_PLAIN), end);
	CHECK(far_touch(stack));
	CHECK_EQ(far_open(end, PAGE_SIZE), 0);
	CHECK_EQ(host_control.far_count, 1);
	for (u64 at = end + 2 * PAGE_SIZE; far_open(at, PAGE_SIZE) == 0;)
		at += 2 * PAGE_SIZE;
	CHECK_EQ(host_control.far_count, ABI_FAR_MAX);
	far_release_all();
	CHECK(!far_touches(ABI_FAR_BASE, FAR_BYTES));
	CHECK_EQ(host_control.far_count, 0);
	CHECK_EQ(ram_used, 0);
	CHECK_EQ(host_objects_out, 0);
}

int main(void)
{
	test_release_all();
	test_stacks();
	test_model();
	test_limits();
	test_growth();
	return 0;
}
