/* protect.h: page protections. Pages are numbers where addresses are not named. */
#ifndef SEUSS_PROTECT_H
#define SEUSS_PROTECT_H

#include "kernel.h"

#include <elf.h>

/* Guards have at most so many pages: a larger PROT_NONE range is a reservation. */
#define GUARD_PAGES 16u

void protect_init(void);
bool protect_allows(u64 addr, u64 bytes, bool write);
/* Makes pages writable, or read-only. Where they have been written to, the latter
 * holds from the next restore on only, but at CPL 0 at once. */
void protect_set(u64 addr, u64 bytes, bool write);
/* Pages are ordinary memory from now on. */
void protect_reset(u64 first, u64 n);
/* mprotect without PROT_WRITE: read-only segments are so again. */
void protect_text(u64 addr, u64 bytes);
/* Protects the segments of an object that was loaded with this bias; copied: by the
 * kernel library's own stores. */
void protect_segments(const Elf64_Phdr *ph, u32 n, u64 bias, bool copied);

/* Has the monitor map what the list of far mappings says (far.c). */
void protect_far(void);

/* Nothing may touch these pages until guard_lift. touched: something has.
 * False: there are too many guards, and these pages are none. */
bool guard_add(u64 first, u64 n, bool touched);
void guard_lift(u64 first, u64 n);

#endif
