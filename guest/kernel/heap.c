/*
 * heap.c: small kernel objects. Power-of-two size classes with free lists
 * threaded through free objects; objects above half a page get whole pages. A
 * 16-byte header in front keeps the size, so kfree needs no lookup.
 */
#include "kernel.h"

struct header {
	u64 bytes; /* of the object, header included */
	u64 pad;
};
struct free_object {
	struct free_object *next;
};

enum { MIN_SHIFT = 5, MAX_SHIFT = 11 }; /* 32 B .. 2 KiB */
static struct free_object *lists[MAX_SHIFT + 1];

static int class_of(size_t total)
{
	int shift = MIN_SHIFT;
	while (((size_t)1 << shift) < total)
		shift++;
	return shift;
}

static bool refill(int shift)
{
	u8 *page = page_alloc(1);
	if (!page)
		return false;
	size_t size = (size_t)1 << shift;
	for (u8 *p = page + PAGE_SIZE - size;; p -= size) {
		struct free_object *o = (void *)p;
		o->next = lists[shift];
		lists[shift] = o;
		if (p == page)
			return true;
	}
}

void *kmalloc(size_t bytes)
{
	size_t total = bytes + sizeof(struct header);
	if (total < bytes)
		return NULL;
	struct header *h;
	if (total > (1u << MAX_SHIFT)) {
		total = PAGE_UP(total);
		h = page_alloc(total / PAGE_SIZE);
		if (!h)
			return NULL;
	} else {
		int shift = class_of(total);
		if (!lists[shift] && !refill(shift))
			return NULL;
		h = (void *)lists[shift];
		lists[shift] = lists[shift]->next;
		total = (size_t)1 << shift;
	}
	h->bytes = total;
	return h + 1;
}

void *kzalloc(size_t bytes)
{
	void *p = kmalloc(bytes);
	if (p)
		memset(p, 0, bytes);
	return p;
}

void kfree(void *p)
{
	if (!p)
		return;
	struct header *h = (struct header *)p - 1;
	if (h->bytes > (1u << MAX_SHIFT)) {
		page_free(h, h->bytes / PAGE_SIZE);
		return;
	}
	int shift = class_of(h->bytes);
	struct free_object *o = (void *)h;
	o->next = lists[shift];
	lists[shift] = o;
}

void *krealloc(void *p, size_t old_bytes, size_t bytes)
{
	if (p && ((struct header *)p - 1)->bytes - sizeof(struct header) >= bytes)
		return p;
	void *q = kmalloc(bytes);
	if (q && p) {
		memcpy(q, p, MIN(old_bytes, bytes));
		kfree(p);
	}
	return q;
}
