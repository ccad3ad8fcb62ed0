/*
 * boot.c: cold boot, from the monitor's first RIP to the program's first
 * instruction. Snapshots are taken after this; a restored guest never runs it.
 */
#include "core.h"
#include "extended.h"
#include "protect.h"

void console_init(void);
void contract_check(void);
void kernel_main(void);
void upcall_entry(void);
_Noreturn void return_full(void);

extern u32 enosys_counts[ABI_SYSCALLS];

extern char exception_stack_top[];

void kernel_main(void)
{
	console_init();
	contract_check();
	control->kernel_end = (u64)kernel_end;
	control->upcall_entry = (u64)upcall_entry;
	control->enosys_gpa = (u64)enosys_counts;
	*(volatile u64 *)(ABI_TSS_GPA + ABI_TSS_IST1) = (u64)exception_stack_top;
	extended_init();
	protect_init();
	mm_init();
	sched_init();
	vfs_init((const void *)boot_info->image_gpa, boot_info->image_bytes);
	file_init();
	struct abi_frame *f = (void *)(current->kstack_top - sizeof *f);
	exec_boot(f);
	__asm__ volatile("movq %0, %%rsp\n\tjmp return_full" ::"r"(f) : "memory");
	__builtin_unreachable();
}
