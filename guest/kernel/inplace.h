/* inplace.h: mappings that are the root image's own pages. Addresses are page aligned, ranges lie in the image. */
#ifndef SEUSS_INPLACE_H
#define SEUSS_INPLACE_H

#include "kernel.h"

/* Maps the whole span of an ET_DYN object where its loaded layout lies: its address, or 0 if it has to be a copy. */
u64 inplace_load(struct file *f, u64 bytes);
/* Is this what MAP_FIXED asks for (of f at off, or anonymous memory), because the layout holds it and nothing
 * has been mapped there since the object was? Once for each part of an object. */
bool inplace_placed(u64 addr, u64 bytes, struct file *f, u64 off);
/* The range is about to be written to other than as loaded: no file and no later mapping may see that.
 * 0, -ENOMEM (nothing is mapped there, or no memory for the files' content). */
long inplace_disown(u64 addr, u64 bytes, bool fixed);
/* munmap: an object that goes as a whole is as in the file again, for the next that loads it. */
void inplace_unload(u64 addr, u64 bytes);
void inplace_unload_all(void);
/* MADV_DONTNEED: what may be written of objects is as in the file again. */
void inplace_reset(u64 addr, u64 bytes);

#endif
