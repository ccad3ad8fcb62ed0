/*
 * extended.h: the extended registers: x87, vectors, masks; what XSAVE saves.
 */
#ifndef SEUSS_EXTENDED_H
#define SEUSS_EXTENDED_H

#include "core.h"

extern u32 xsave_bytes; /* of an area in the standard format */

void extended_init(void);
/* Saves prev's registers, unless it is dead, and loads next's, unless it has never
 * given the CPU away: then it has those that are there. */
void extended_switch(struct thread *prev, struct thread *next);
/* A new thread has its creator's. */
void extended_inherit(struct thread *t);
void extended_free(struct thread *t);

/* The monitor names the components: XCR0 as the program sees it may be the
 * host's own and hold more, AMX's 8 KiB for one, which no guest is offered. */
static inline void xsave(void *area)
{
	u64 m = boot_info->xsave_mask;
	__asm__ volatile("xsave64 (%0)" ::"r"(area), "a"((u32)m), "d"((u32)(m >> 32)) : "memory");
}
/* Only components in m. Those that the area does not hold get their initial state. */
static inline void xrstor(const void *area, u64 m)
{
	__asm__ volatile("xrstor64 (%0)" ::"r"(area), "a"((u32)m), "d"((u32)(m >> 32)) : "memory");
}

#endif
