/*
 * time.c: clocks from the TSC and the identity page, the timer list, and
 * random bytes. The TSC is raw; the identity page, fresh at every restore,
 * says which wall and monotonic time one TSC value stands for, so a clone is
 * right about the time from its first instruction on.
 */
#include "core.h"

static u64 since_identity(void)
{
	u64 delta = rdtsc() - identity->tsc;
	if ((s64)delta < 0)
		return 0;
	return (u64)((unsigned __int128)delta * identity->tsc_mult >> 32);
}

u64 mono_ns(void) { return identity->mono_ns + since_identity(); }
u64 wall_ns(void) { return identity->wall_ns + since_identity(); }

void purity_clock(void) { control->purity.clock = control->purity.clock + 1; }
void purity_entropy(void) { control->purity.entropy = control->purity.entropy + 1; }
void purity_socket(void) { control->purity.socket = control->purity.socket + 1; }

/* ---- timers: a sorted list; a guest has few ------------------------------------- */

static struct timer *timers;

void timer_cancel(struct timer *t)
{
	if (!t->armed)
		return;
	for (struct timer **p = &timers; *p; p = &(*p)->next)
		if (*p == t) {
			*p = t->next;
			break;
		}
	t->armed = false;
}

void timer_arm(struct timer *t, u64 deadline)
{
	timer_cancel(t);
	t->deadline = deadline;
	t->armed = true;
	struct timer **p = &timers;
	while (*p && (*p)->deadline <= deadline)
		p = &(*p)->next;
	t->next = *p;
	*p = t;
	if (timers == t)
		control->deadline_ns = deadline; /* the monitor kicks when it is due */
}

u64 timers_next(void) { return timers ? timers->deadline : NO_DEADLINE; }

void timers_run(void)
{
	if (!timers)
		return;
	u64 now = mono_ns();
	while (timers && timers->deadline <= now) {
		struct timer *t = timers;
		timers = t->next;
		t->armed = false;
		t->fire(t);
	}
}

/* ---- random bytes: ChaCha20 (RFC 8439), keyed from the identity page ------------- */

static u32 chacha_state[16];
static u64 chacha_generation;
static u8 chacha_block[64];
static u32 chacha_left;

static inline u32 rotl(u32 v, int n) { return v << n | v >> (32 - n); }

static void quarter(u32 *s, int a, int b, int c, int d)
{
	s[a] += s[b], s[d] = rotl(s[d] ^ s[a], 16);
	s[c] += s[d], s[b] = rotl(s[b] ^ s[c], 12);
	s[a] += s[b], s[d] = rotl(s[d] ^ s[a], 8);
	s[c] += s[d], s[b] = rotl(s[b] ^ s[c], 7);
}

static void next_block(void)
{
	u32 s[16];
	memcpy(s, chacha_state, sizeof s);
	for (int i = 0; i < 10; i++) {
		for (int j = 0; j < 4; j++)
			quarter(s, j, 4 + j, 8 + j, 12 + j);
		for (int j = 0; j < 4; j++)
			quarter(s, j, 4 + (j + 1) % 4, 8 + (j + 2) % 4, 12 + (j + 3) % 4);
	}
	for (int i = 0; i < 16; i++)
		s[i] += chacha_state[i];
	memcpy(chacha_block, s, sizeof s);
	chacha_left = sizeof chacha_block;
	if (++chacha_state[12] == 0)
		chacha_state[13]++;
}

void random_bytes(void *buf, size_t n)
{
	if (chacha_generation != identity->generation) {
		/* A new identity: nothing of the old key or of its output survives. */
		static const char constant[16] = "expand 32-byte k";
		chacha_generation = identity->generation;
		memcpy(chacha_state, constant, 16);
		memcpy(chacha_state + 4, (const void *)identity->entropy, 32);
		memcpy(chacha_state + 12, (const void *)(identity->entropy + 32), 16);
		chacha_left = 0;
	}
	u8 *p = buf;
	while (n) {
		if (!chacha_left)
			next_block();
		size_t take = MIN(n, chacha_left);
		u8 *from = chacha_block + sizeof chacha_block - chacha_left;
		memcpy(p, from, take);
		memset(from, 0, take); /* handed out once, kept nowhere */
		chacha_left -= (u32)take;
		p += take;
		n -= take;
	}
}
