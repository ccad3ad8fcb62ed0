/*
 * proc.h: the table behind /proc and /sys: procfs.c walks it, proctext.c
 * fills it in.
 */
#ifndef SEUSS_PROC_H
#define SEUSS_PROC_H

#include "fs.h"

/* Rows that code knows by number; the others follow from P_FIRST on. */
enum proc_row_id {
	P_PROC,        /* /proc */
	P_SYS,         /* /sys */
	P_SELF,        /* -> 1 */
	P_THREAD_SELF, /* -> 1/task/TID */
	P_PID,         /* /proc/1; its rows also fill /proc/1/task/TID */
	P_TASKS,       /* /proc/1/task */
	P_TASK,        /* /proc/1/task/TID: arg is the thread */
	P_FDS,         /* /proc/1/fd */
	P_FD,          /* /proc/1/fd/N: arg is the descriptor */
	P_EXE,
	P_CWD,
	P_ROOT,
	P_MOUNTS,      /* -> self/mounts */
	P_PROC_SYS, P_PROC_SYS_KERNEL, P_PROC_SYS_RANDOM, P_PROC_SYS_VM, P_PROC_SYS_FS, P_PROC_SYS_NET, P_PROC_SYS_CORE,
	P_SYS_DEVICES, P_SYS_SYSTEM, P_SYS_CPU, P_SYS_KERNEL, P_SYS_MM, P_SYS_THP, P_SYS_FS,
	P_FIRST,
};

struct text {
	char *buf;
	u64 cap, len; /* len: what it wanted */
};
#define text_add(t, ...)                                                                            \
	((t)->len += (u64)ksnprintf((t)->buf + MIN((t)->len, (t)->cap), (t)->cap - MIN((t)->len, (t)->cap), \
				    __VA_ARGS__))

struct proc_row {
	const char *name;
	u16 parent; /* row */
	u16 mode;
	void (*show)(struct text *t, u32 arg); /* of a file; arg: thread, 0: the process */
};
extern const struct proc_row proc_rows[];
extern const u32 proc_row_count;
const char *proc_exe(void);

#endif
