/* map.h: the page bitmap's operations that mmap and program loading use, and their calls. */
#ifndef SEUSS_MAP_H
#define SEUSS_MAP_H

#include "kernel.h"

bool mm_is_free(u64 addr, u64 pages);
bool mm_is_used(u64 addr, u64 pages);
bool mm_is_clean(u64 page); /* known to be zero */
u64 mm_brk_start(void);
u64 mm_guard_end(void);     /* where the main stack begins, above its guard */
bool mm_in_ram(u64 addr, u64 bytes);
bool mm_in_image(u64 addr, u64 bytes);
void mm_take(u64 addr, u64 pages); /* hands out, zeroed */
void mm_reserve(u64 addr, u64 pages); /* PROT_NONE: zero, and nothing touches it until mm_open */
void mm_open(u64 addr, u64 pages);
void mm_close(u64 addr, u64 pages); /* PROT_NONE for what may have been used */
void mm_give(u64 addr, u64 pages);
void mm_zero(u64 addr, u64 pages); /* zeroes; gives the host large ranges back */
u64 mm_find(u64 pages, u64 limit, u64 align); /* highest free run below limit; 0: none */

void mm_own(u64 addr, u64 pages, bool is); /* marks used pages as the kernel library's, or as the program's */
bool mm_owns(u64 addr, u64 pages);         /* is any of them the kernel library's? */
u64 mm_own_pages(void);
void mm_give_program(void);                /* gives back all that is the program's */

/* The calls below where a range begins in the far window (map_far.c). */
long far_mmap_fixed(u64 addr, u64 bytes, int prot, int flags, struct file *f, u64 off);
long far_mprotect(u64 addr, u64 bytes, int prot);
long far_mremap(u64 old, u64 from, u64 to, int flags, u64 new_addr);
long far_mincore(u64 addr, u64 pages, u8 *vec);

long sys_brk(u64 want);
long sys_mmap(u64 addr, u64 len, int prot, int flags, int fd, u64 off);
long sys_munmap(u64 addr, u64 len);
long sys_mprotect(u64 addr, u64 len, int prot);
long sys_madvise(u64 addr, u64 len, int advice);
long sys_mremap(u64 old, u64 old_len, u64 new_len, int flags, u64 new_addr);
long sys_mincore(u64 addr, u64 len, u8 *vec);

#endif
