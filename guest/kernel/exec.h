/* exec.h: what starting a program takes: its strings, `#!` lines, and its stack. */
#ifndef SEUSS_EXEC_H
#define SEUSS_EXEC_H

#include "object.h"

/* argv, then envp: NUL-terminated strings, one behind the other. */
struct exec_strings {
	char *text; /* ABI_ARGS_SIZE bytes */
	u64 len;
	u32 argc, envc;
};

/* script.c. 1: head is the beginning of a script, whose interpreter's path is now in
 * interp and whose words stand before the arguments in place of the first; 0: it is no
 * script; -ENOEXEC, -E2BIG. */
enum { SCRIPT_HEAD = 256 };
long script_expand(const char head[SCRIPT_HEAD], const char *path, struct exec_strings *s, char interp[SCRIPT_HEAD]);

/* exec_stack.c: the stack pointer at which the program starts; 0: no memory. The strings
 * are those at ABI_ARGS_GPA. interp: NULL, it has no dynamic loader.
 * secure: AT_SECURE. */
u64 exec_stack(const struct object *prog, const struct object *interp, const char *path, u32 argc, u32 envc, bool secure);
u64 exec_stack_pages(void); /* what that takes at most */

/* What is of a program and not of the process, each in its file; threads in core.h. */
void signals_exec(void);  /* signal.c: handlers are the default's again */
void timers_exec(void);   /* clock.c: no POSIX timer is left, nor a place that waits for a lock */
void extended_exec(void); /* extended.c: the registers' initial state */

#endif
