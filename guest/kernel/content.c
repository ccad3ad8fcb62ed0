/*
 * content.c: content of the root image that is not mapped. The monitor is asked for it, in
 * pieces, of which the latest are kept. It never changes, so they are as good after a
 * restore.
 */
#include "core.h"

enum { PIECES = 8 };

struct piece {
	u8 *mem;    /* ABI_CONTENT_BYTES; NULL: none */
	u64 offset; /* of the image */
	u64 used;   /* the clock when it was used last; 0: nothing is there */
};

static struct piece pieces[PIECES];
static u64 clock;

static void ask(u64 offset, void *to, u64 bytes)
{
	static struct abi_content_call call;
	call = (struct abi_content_call){offset, bytes, (u64)to};
	control->content_gpa = (u64)&call;
	doorbell(ABI_DOORBELL_CONTENT, 0); /* a monitor that cannot ends the machine */
}

/* The piece at an offset; NULL: there is no memory for one. */
static const u8 *piece_at(u64 offset)
{
	struct piece *p = &pieces[0];
	for (u32 i = 0; i < PIECES; i++) {
		struct piece *q = &pieces[i];
		if (q->used && q->offset == offset) {
			q->used = ++clock;
			return q->mem;
		}
		if (q->used < p->used)
			p = q;
	}
	if (!p->mem && !(p->mem = page_alloc(ABI_CONTENT_BYTES / PAGE_SIZE)))
		return NULL;
	ask(offset, p->mem, ABI_CONTENT_BYTES);
	p->offset = offset;
	p->used = ++clock;
	return p->mem;
}

void content_read(u64 offset, void *buf, u64 n)
{
	static u8 page[ABI_PAGE_SIZE] __attribute__((aligned(ABI_PAGE_SIZE)));
	for (u64 some; n; offset += some, buf = (u8 *)buf + some, n -= some) {
		u64 room = ABI_CONTENT_BYTES, at = offset & (room - 1);
		const u8 *from = piece_at(offset - at);
		if (!from) {
			room = PAGE_SIZE;
			at = offset & (room - 1);
			ask(offset - at, page, room);
			from = page;
		}
		some = MIN(n, room - at);
		memcpy(buf, from + at, some);
	}
}
