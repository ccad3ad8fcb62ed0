/* vdso.S: the file that vdso/ is linked to, as it is mapped for static programs. */
	.section .rodata
	.p2align 3
	.globl vdso_start, vdso_end
vdso_start:
	.incbin "vdso.so"
vdso_end:
	.section .note.GNU-stack, "", @progbits
