/* link.ld: code only, at ABI_TEXT. A stub with data of its own does not link. */
#include "stub.h"
ENTRY(_start)
PHDRS { text PT_LOAD FLAGS(5); stack PT_GNU_STACK FLAGS(6); }
SECTIONS {
	. = ABI_TEXT;
	.text : { *(.text .text.*) *(.rodata .rodata.*) } :text
	ASSERT(. <= ABI_TEXT + ABI_TEXT_SIZE, "the stub is too large")
	.data : { *(.data .data.* .bss .bss.* COMMON .got .got.*) }
	ASSERT(SIZEOF(.data) == 0, "the stub must have no data")
	area = ABI_SHARED;
	/DISCARD/ : { *(.comment .note.* .eh_frame .eh_frame_hdr .got.plt) }
}
