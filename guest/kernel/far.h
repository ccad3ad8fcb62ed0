/* far.h: the far window, addresses beyond RAM: what a program sets aside there, and
 * the pages of RAM that are mapped where it has opened parts. All ranges are whole
 * pages; results are 0 or a negative errno where nothing else is said. */
#ifndef SEUSS_FAR_H
#define SEUSS_FAR_H

#include "kernel.h"

static inline bool far_address(u64 addr) { return addr - ABI_FAR_BASE < ABI_FAR_BYTES; }
bool far_window(u64 addr, u64 bytes); /* does the range lie in the window? */

/* Sets a range aside: anywhere, or what is free of a range. 0: -ENOMEM. */
u64 far_reserve(u64 bytes);
long far_reserve_at(u64 addr, u64 bytes);
bool far_reserved(u64 addr, u64 bytes); /* all of it; far_touches: any of it */
bool far_touches(u64 addr, u64 bytes);
long far_release(u64 addr, u64 bytes);
void far_release_all(void);
/* The first interval that is set aside and ends behind a page, in page numbers. */
bool far_area(u64 page, u64 *start, u64 *end);

/* Opens what is set aside: pages that were never open, or dropped, are zero. */
long far_open(u64 addr, u64 bytes);
long far_close(u64 addr, u64 bytes); /* content kept */
long far_drop(u64 addr, u64 bytes);  /* set aside, and no more */
void far_zero(u64 addr, u64 bytes);
long far_move(u64 to, u64 from, u64 bytes); /* both are set aside, nothing is in the former */
bool far_usable(u64 addr, u64 bytes); /* is all of it open? */

/* Is this page of RAM mapped in the window? The first of n pages that are so, or that are not. */
bool far_holds(u64 ram, u64 *n);
/* The next stretch of the window that is set aside, at or behind *addr, of which all
 * has pages that are open, or none has: false, there is none. */
struct far_stretch { u64 start, end, pages; bool open; };
bool far_next(u64 addr, struct far_stretch *out);

#endif
