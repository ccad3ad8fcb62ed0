/* link.ld: the kernel library lies at ABI_KERNEL_GPA, its entry table first,
 * and must end below ABI_PROGRAM_GPA. What changes often (data, bss) is apart
 * from what never changes, page aligned, so that deltas stay small. */
#include "../abi/kernel.h"
ENTRY(boot_entry)
PHDRS { text PT_LOAD FLAGS(5); data PT_LOAD FLAGS(6); }
SECTIONS {
	. = ABI_KERNEL_GPA;
	.entries : { KEEP(*(.entries)) } :text
	.text : { *(.text .text.*) } :text
	.rodata : { *(.rodata .rodata.*) } :text
	. = ALIGN(ABI_PAGE_SIZE);
	kernel_data = .;
	.data : { *(.data .data.*) } :data
	.bss : { *(.bss .bss.* COMMON) } :data
	. = ALIGN(ABI_PAGE_SIZE);
	kernel_end = .;
	ASSERT(. <= ABI_PROGRAM_GPA, "the kernel library reaches into the program's addresses")
	/DISCARD/ : { *(.comment .note.* .eh_frame .eh_frame_hdr) }
}
