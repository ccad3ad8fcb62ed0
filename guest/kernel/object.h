/* object.h: programs and dynamic loaders, read and placed in memory (object.c, placed.c). */
#ifndef SEUSS_OBJECT_H
#define SEUSS_OBJECT_H

#include "core.h"

#include <elf.h>

enum { MAX_PHDRS = 32 };

struct object {
	Elf64_Ehdr eh;
	Elf64_Phdr ph[MAX_PHDRS];
	u64 bias;  /* added to every address of the file */
	u64 low, high; /* link addresses of the first page and behind the last, bss included */
	u64 end;   /* after bss */
	u64 phdrs; /* address of the program headers in memory */
};

/* Why a program was refused, for people; set by whatever returns an error here. */
extern char object_reason[160];

/* Reads and checks the headers, and writes to nothing but *o and interp, which gets the
 * path of the dynamic loader, "" if the file names none; NULL: it may not name one.
 * 0 or -ENOEXEC. */
long object_read(struct object *o, struct file *f, char *interp, size_t interp_size);
/* Places the segments. Memory outside what is free is touched by no file. 0, -ENOMEM, -EIO. */
long object_place(struct object *o, struct file *f);

/* ---- placed.c: the ET_EXEC program that the monitor has placed at its link addresses -- */

void placed_init(void);             /* at boot: its pages are held */
bool placed_holds(struct file *f);  /* is it this file, and are its pages as in the file? */
void placed_hand_out(void);         /* its pages are the program's from now on */
void placed_drop(void);             /* nobody wants it: its pages are memory like any other */
u64 placed_end(void);               /* behind its pages while they are held, else 0 */

#endif
