/*
 * syscall.c: the system call table. The rows are in syscalls.def; a call
 * without a function answers ENOSYS and is counted.
 */
#include "syscall.h"

#include "cred.h"
#include "fs/calls.h"
#include "ipc/calls.h"
#include "map.h"
#include "thread_calls.h"

/* The functions have natural parameter types; the psABI passes up to six
 * integers in registers whatever their types, so one call type fits all. */
typedef long (*syscall_fn)(u64, u64, u64, u64, u64, u64);

#pragma GCC diagnostic ignored "-Wcast-function-type"
#define ROW(nr, name, fn, support, note) [nr] = (syscall_fn)(void *)fn,
static const syscall_fn table[ABI_SYSCALLS] = {
#include "syscalls.def"
};
#undef ROW

u32 enosys_counts[ABI_SYSCALLS];

void syscall_unsupported(u64 nr)
{
	if (nr < ABI_SYSCALLS && enosys_counts[nr] != ~0u)
		enosys_counts[nr]++;
}

long syscall_call(u64 nr, struct abi_frame *f)
{
	if (nr >= ABI_SYSCALLS || !table[nr]) {
		syscall_unsupported(nr);
		return -ENOSYS;
	}
	return table[nr](f->rdi, f->rsi, f->rdx, f->r10, f->r8, f->r9);
}
