/*
 * ring.c: the byte queue behind pipes and stream sockets. It has no memory
 * until the first byte, starts small, doubles as it fills, and begins at its
 * first byte again whenever it runs empty: short messages dirty one place
 * only. An empty queue of more than a page gives its memory back.
 */
#include "ipc.h"

#define SMALL_BYTES 240u /* with its header one 256-byte heap object */

static void release(u8 *buf, u32 cap)
{
	if (cap > SMALL_BYTES)
		page_free(buf, cap / PAGE_SIZE);
	else
		kfree(buf);
}

bool ring_reserve(struct ring *r, u32 n)
{
	if (n <= r->cap - r->used)
		return true;
	u64 need = (u64)r->used + n, cap = SMALL_BYTES;
	if (need > cap)
		for (cap = PAGE_SIZE; cap < need;)
			cap *= 2;
	if (cap > 1u << 31)
		return false;
	u8 *buf = cap > SMALL_BYTES ? page_alloc(cap / PAGE_SIZE) : kmalloc(cap);
	if (!buf)
		return false;
	if (r->buf) {
		ring_peek(r, 0, buf, r->used);
		release(r->buf, r->cap);
	}
	r->buf = buf;
	r->cap = (u32)cap;
	r->head = 0;
	return true;
}

u32 ring_append(struct ring *r, const void *src, u32 n)
{
	if (!ring_reserve(r, n))
		n = r->cap - r->used; /* less now is better than nothing */
	if (n == 0)
		return 0;
	u32 tail = r->head + r->used;
	if (tail >= r->cap)
		tail -= r->cap;
	u32 first = MIN(n, r->cap - tail);
	memcpy(r->buf + tail, src, first);
	memcpy(r->buf, (const u8 *)src + first, n - first);
	r->used += n;
	return n;
}

void ring_peek(const struct ring *r, u32 off, void *dst, u32 n)
{
	if (n == 0)
		return;
	u32 from = r->head + off;
	if (from >= r->cap)
		from -= r->cap;
	u32 first = MIN(n, r->cap - from);
	memcpy(dst, r->buf + from, first);
	memcpy((u8 *)dst + first, r->buf, n - first);
}

void ring_drop(struct ring *r, u32 n)
{
	r->used -= n;
	if (r->used) {
		r->head += n;
		if (r->head >= r->cap)
			r->head -= r->cap;
		return;
	}
	r->head = 0;
	if (r->cap > PAGE_SIZE)
		ring_free(r);
}

void ring_free(struct ring *r)
{
	if (r->buf)
		release(r->buf, r->cap);
	*r = (struct ring){0};
}
