/*
 * console.c: descriptors 1 and 2 and the kernel library's own messages, as a
 * ring of records that the monitor drains at every exit it gets anyway.
 */
#include "core.h"

static u8 ring[ABI_CONSOLE_BYTES] __attribute__((aligned(4096)));

void console_init(void);
void console_init(void) { control->console_gpa = (u64)ring; }

static void ring_put(u64 at, const void *src, size_t n)
{
	u64 off = at % sizeof ring, first = MIN(n, sizeof ring - off);
	memcpy(ring + off, src, first);
	memcpy(ring, (const u8 *)src + first, n - first);
}

void console_write(u16 fd, const void *buf, size_t n)
{
	const u8 *p = buf;
	while (n) {
		struct abi_console_record r = {fd, (u16)MIN(n, 0x4000)};
		while (control->console_head + sizeof r + r.len - control->console_tail > sizeof ring)
			doorbell(ABI_DOORBELL_CONSOLE, 0); /* returns with console_tail advanced */
		u64 head = control->console_head;
		ring_put(head, &r, sizeof r);
		ring_put(head + sizeof r, p, r.len);
		control->console_head = head + sizeof r + r.len;
		p += r.len;
		n -= r.len;
	}
}
