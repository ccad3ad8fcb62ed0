/* syscall.h: the system call table's entry points. */
#ifndef SEUSS_SYSCALL_H
#define SEUSS_SYSCALL_H

#include "kernel.h"

long syscall_call(u64 nr, struct abi_frame *f);
/* Counts a call that the kernel library does not serve; the monitor names it in its report. */
void syscall_unsupported(u64 nr);

#endif
