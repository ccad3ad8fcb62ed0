/* region.h: regions, memory of the host's that guests share: mapped in the last part of the
 * far window, and no part of this machine's memory. Names are bytes, len of them. Results
 * are 0 or a negative errno where nothing else is said. */
#ifndef SEUSS_REGION_H
#define SEUSS_REGION_H

#include "kernel.h"

static inline bool region_address(u64 addr) { return addr - ABI_REGION_BASE < ABI_REGION_WINDOW; }

/* May it be opened so (ABI_REGION_WRITE, _CREATE, _EXCL)? *size: to make it with; then what it has. */
long region_open(const char *name, u64 len, u32 flags, u64 *size);
long region_remove(const char *name, u64 len);
/* Maps pages of it, and returns where. */
long region_map(const char *name, u64 len, u64 off, u64 bytes, bool write);
long region_unmap(u64 addr, u64 bytes);
void region_unmap_all(void);
long region_protect(u64 addr, u64 bytes, bool write); /* of whole mappings */
long region_sync(u64 addr, u64 bytes); /* what was written there is to be kept */
bool region_allows(u64 addr, u64 bytes, bool write);
/* The mapping that ends behind addr; false: there is none. */
bool region_next(u64 addr, struct abi_region *out);

#endif
