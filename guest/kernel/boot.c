/*
 * boot.c: cold boot, from the monitor's first RIP to the program's first
 * instruction. Snapshots are taken after this; a restored guest never runs it.
 */
#include "core.h"
#include "protect.h"

void console_init(void);
void kernel_main(void);
void upcall_entry(void);
_Noreturn void return_full(void);

extern u32 enosys_counts[ABI_SYSCALLS];

extern char exception_stack_top[];
u32 xsave_bytes;
bool xsave_compact;

/* The standard format's size for the components that are saved (SDM vol. 1, 13.4). */
static void measure_xsave(void)
{
	u64 mask = boot_info->xsave_mask;
	xsave_bytes = 576; /* legacy region and header */
	for (u32 i = 2; i < 63; i++) {
		if (!(mask >> i & 1))
			continue;
		u32 a = 0xd, b, c = i, d;
		__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
		xsave_bytes = MAX(xsave_bytes, b + a); /* offset + size */
	}
	u32 a = 0xd, b, c = 1, d;
	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	xsave_compact = a & 2; /* XSAVEC, SDM vol. 1, 13.2 */
}

void kernel_main(void)
{
	console_init();
	if (boot_info->magic != ABI_BOOT_MAGIC || boot_info->abi_version != ABI_VERSION)
		panic("the monitor speaks ABI version %u, this kernel library %u", boot_info->abi_version, ABI_VERSION);
	control->kernel_end = (u64)kernel_end;
	control->upcall_entry = (u64)upcall_entry;
	control->enosys_gpa = (u64)enosys_counts;
	*(volatile u64 *)(ABI_TSS_GPA + 36) = (u64)exception_stack_top; /* IST1, SDM vol. 3, 8.7 */
	measure_xsave();
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
