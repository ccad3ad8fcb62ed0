/* far.h: the far window, addresses beyond RAM: what a program sets aside there, and
 * the pages of RAM that are mapped where it has opened parts. All ranges are whole
 * pages; results are 0 or a negative errno where nothing else is said. */
#ifndef SEUSS_FAR_H
#define SEUSS_FAR_H

#include "kernel.h"

#define FAR_BYTES (ABI_FAR_BYTES - ABI_REGION_WINDOW) /* what follows is for regions */
static inline bool far_address(u64 addr) { return addr - ABI_FAR_BASE < FAR_BYTES; }
bool far_window(u64 addr, u64 bytes); /* does the range lie in the window? */

/* What is set aside is opened by whoever does so, but for stacks: those take pages when
 * they are touched. A stack's guard, or a stack that nobody has opened, takes none. */
enum far_kind { FAR_PLAIN, FAR_GUARD, FAR_STACK };

/* Sets a range aside: anywhere, or what is free of a range. 0: -ENOMEM. */
u64 far_reserve(u64 bytes, enum far_kind kind);
long far_reserve_at(u64 addr, u64 bytes);
long far_set(u64 addr, u64 bytes, enum far_kind kind);
bool far_is(u64 addr, u64 bytes, enum far_kind kind); /* is all of it of this kind, or one behind it? */
u64 far_fresh_stacks(void); /* how many have been opened and not touched yet */
bool far_reserved(u64 addr, u64 bytes); /* all of it; far_touches: any of it */
bool far_touches(u64 addr, u64 bytes);
long far_release(u64 addr, u64 bytes);
void far_release_all(void);
/* The first interval that is set aside and ends behind a page, in page numbers. */
bool far_area(u64 page, u64 *start, u64 *end, enum far_kind *kind);

/* Opens what is set aside: pages that were never open, or dropped, are zero. */
long far_open(u64 addr, u64 bytes);
long far_close(u64 addr, u64 bytes); /* content kept */
long far_drop(u64 addr, u64 bytes);  /* set aside, and no more */
void far_zero(u64 addr, u64 bytes);
long far_move(u64 to, u64 from, u64 bytes); /* both are set aside, nothing is in the former */
bool far_usable(u64 addr, u64 bytes); /* is all of it open? */

/* Stacks (far_stack.c). Sets one aside, as a guard; 0: -ENOMEM, or RAM does for it. */
u64 far_stack(u64 bytes);
long far_stack_protect(u64 addr, u64 bytes, bool open);
bool far_touch(u64 addr); /* takes pages for a stack's page that had none */
bool far_access(u64 addr, u64 bytes); /* is all of it open, or a stack, which gets its pages? */

/* For those: by page numbers, and without a look at what is set aside. */
long far_show(u64 addr, u64 bytes, bool open); /* opens or closes what has pages */
bool far_hole(u64 page, u64 *first, u64 *end); /* around a page without memory */
bool far_fill(u64 first, u64 end); /* takes pages: false, not all */
u64 far_runs_left(void); /* so many more stretches can be mapped */

/* Is this page of RAM mapped in the window? The first of n pages that are so, or that are not. */
bool far_holds(u64 ram, u64 *n);
/* The next stretch of the window that is set aside, at or behind *addr, of which all
 * has pages that are open, or none has: false, there is none. */
struct far_stretch { u64 start, end, pages; bool open; };
bool far_next(u64 addr, struct far_stretch *out);

#endif
