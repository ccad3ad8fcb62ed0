/*
 * guest.S: a guest for the monitor's tests, in place of the kernel library. It
 * rests at the idle doorbell; a test writes a command into its mailbox (the
 * first page of program memory) and runs it until it rests again.
 *
 * The tests read guest.bin, the flat binary that the test
 * TestBinaryIsCurrent compares with what this gives:
 *   gcc -c -o guest.o guest.S
 *   ld -Ttext=0x30000 -e 0x30000 --oformat binary -o guest.bin guest.o
 */
#include "../../../../guest/abi/kernel.h"
#include "guest.h"

#define COMMAND 0x00
#define UPCALLS 0x08   /* counts upcalls */
#define VECTOR 0x10    /* last exception: vector, RIP, RSP as pushed */
#define FAULT_RIP 0x18
#define FAULT_RSP 0x20
#define RESULT 0x28    /* three words of results */
#define SYSCALLS 0x40
#define LIST_COUNT 0x48 /* addresses to store to, from LIST on */
#define SAVED 0x80     /* registers that command 4 stores after it rested */
#define LIST 0x402000
#define STACK 0x37000
#define KERNEL_END 0x38000

	.text
	.quad ABI_ENTRIES_MAGIC
	.long ABI_KERNEL_VERSION
	.long 0
	.quad boot
	.quad syscall_entry
	.quad exceptions
	.quad KERNEL_END
	.quad ABI_KERNEL_GPA

boot:
	movl $ABI_CONTROL_GPA, %eax
	leaq upcall(%rip), %rcx
	movq %rcx, 8(%rax)        /* control.upcall_entry */
	leaq ring(%rip), %rcx
	movq %rcx, 40(%rax)       /* control.console_gpa */
rest:
	movl $STACK, %esp
	movl $MAILBOX, %ebx
	movabsq $ABI_DEVICE_GPA, %rdx
	movl $0, ABI_DOORBELL_IDLE(%rdx)
	movl COMMAND(%rbx), %eax
	movl $0, COMMAND(%rbx)
	cmpl $(table_end - table) / 8, %eax
	jae rest
	leaq table(%rip), %rcx
	jmp *(%rcx, %rax, 8)

	.p2align 3
table:
	.quad rest, program, page_fault, undefined, registers, triple_fault, exit, console
	.quad stores, mmio_read, system_call, extended_state, time, kernel_spin, outside, bad_doorbell, divide
table_end:

program:
	movl $PROGRAM, %eax
	jmp *%rax

page_fault:
	movabsq $0x123456789a, %rax
	movq (%rax), %rax
	jmp rest

undefined:
	ud2

divide:
	xorl %ecx, %ecx
	divl %ecx

registers: /* rests with known registers, and stores what it finds afterwards */
	movl $ABI_IDENTITY_GPA, %eax
	movq ABI_IDENTITY_SET_BASE(%rax), %rax
	testq %rax, %rax
	jz 1f
	movl $0x1002, %edi /* ARCH_SET_FS */
	movl $0x1005, %esi
	call *%rax
1:
	movq $0x1001, %rax
	movq $0x1002, %rcx
	movq $0x1003, %rsi
	movq $0x1004, %rdi
	movq $0x1005, %rbp
	movq $0x1006, %r8
	movq $0x1007, %r15
	movq %rdi, %xmm0
	movq %rsi, %xmm15
	rdfsbase %r9
	cmpq %r9, %rbp
	je 2f
	wrfsbase %rbp
2:	movl $0, ABI_DOORBELL_IDLE(%rdx)
	movq %rax, SAVED + 0(%rbx)
	movq %rcx, SAVED + 8(%rbx)
	movq %rsi, SAVED + 16(%rbx)
	movq %rdi, SAVED + 24(%rbx)
	movq %rbp, SAVED + 32(%rbx)
	movq %r8, SAVED + 40(%rbx)
	movq %r15, SAVED + 48(%rbx)
	movq %xmm0, SAVED + 56(%rbx)
	movq %xmm15, SAVED + 64(%rbx)
	rdfsbase %rax
	movq %rax, SAVED + 72(%rbx)
	jmp rest

triple_fault: /* no gate is present any more */
	movl $ABI_IDT_GPA, %edi
	movl $512, %ecx
	xorl %eax, %eax
	rep stosq
	ud2

exit:
	movl $42, ABI_DOORBELL_EXIT(%rdx)
	jmp rest

console: /* two records */
	leaq ring(%rip), %rdi
	movl $0x00050001, (%rdi)
	movl $0x6c6c6568, 4(%rdi)
	movb $0x6f, 8(%rdi)
	movl $0x00030002, 9(%rdi)
	movl $0x21212121, 13(%rdi)
	movl $ABI_CONTROL_GPA, %eax
	movq $16, 72(%rax)        /* control.console_head */
	movl $7, ABI_DOORBELL_CONSOLE(%rdx)
	jmp rest

stores:
	movl LIST_COUNT(%rbx), %ecx
	movl $LIST, %esi
1:	testl %ecx, %ecx
	jz rest
	movq (%rsi), %rdi
	incq (%rdi)
	addq $8, %rsi
	decl %ecx
	jmp 1b

mmio_read:
	movabsq $ABI_VSOCK_MMIO_GPA, %rcx
	movl 0(%rcx), %eax
	movl %eax, RESULT(%rbx)
	movl 8(%rcx), %eax
	movl %eax, RESULT + 4(%rbx)
	movq 0x100(%rcx), %rax    /* config: guest cid */
	movq %rax, RESULT + 8(%rbx)
	jmp rest

system_call:
	movl $1234, %eax
	syscall
	movq %rax, RESULT(%rbx)
	jmp rest

syscall_entry:
	incq SYSCALLS(%rbx)
	leaq 1(%rax), %rax
	jmp *%rcx

extended_state:
	xorl %ecx, %ecx
	xgetbv
	movl %eax, RESULT(%rbx)
	movl %edx, RESULT + 4(%rbx)
	pushq %rbx
	movl $0xd, %eax
	xorl %ecx, %ecx
	cpuid
	movl %ebx, %eax
	popq %rbx
	movl %eax, RESULT + 8(%rbx)
	movl %cs, %eax
	movl %eax, RESULT + 12(%rbx)
	jmp rest

time:
	rdtsc
	movl %eax, RESULT(%rbx)
	movl %edx, RESULT + 4(%rbx)
	jmp rest

kernel_spin: /* inside the kernel library until the monitor asks for attention */
	movl $ABI_CONTROL_GPA, %ecx
1:	pause
	cmpl $0, 100(%rcx)        /* control.attention */
	je 1b
	movl $0, 100(%rcx)
	movl $1, RESULT(%rbx)
	jmp rest

outside: /* mapped by the page tables, no memory behind it */
	movq RESULT(%rbx), %rax
	movl $1, (%rax)
	jmp rest

bad_doorbell:
	movl $1, 0x7f8(%rdx)
	jmp rest

upcall:
	movl $MAILBOX, %ebx
	incq UPCALLS(%rbx)
	jmp rest

	.p2align 4
exceptions:
	.set vec, 0
	.rept 32
	.p2align 4
	.if (vec == 8) || (vec >= 10 && vec <= 14) || (vec == 17) || (vec == 21)
	.else
	pushq $0
	.endif
	pushq $vec
	jmp exception
	.set vec, vec + 1
	.endr

exception:
	movl $MAILBOX, %ebx
	popq VECTOR(%rbx)
	addq $8, %rsp
	movq (%rsp), %rax
	movq %rax, FAULT_RIP(%rbx)
	movq 24(%rsp), %rax
	movq %rax, FAULT_RSP(%rbx)
	jmp rest

	.p2align 3
ring:
	.skip 8
