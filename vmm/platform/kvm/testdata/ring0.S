/*
 * ring0.S: what a hostile guest does at ring 0, for TestNothingOfRing0Stays. The test
 * puts it where the test guest (vmm/vmmtest/testguest) runs its programs, with orders
 * at ORDERS, and runs it once. It forges a way into ring 0, where the guest may be
 * already, reads everything there or writes everything, and rests.
 *
 * The test reads ring0.bin, which TestRing0IsCurrent compares with what this gives:
 *   gcc -c -o ring0.o ring0.S
 *   ld -Ttext=0x401000 -e 0x401000 --oformat binary -o ring0.bin ring0.o
 */
#include "../../../../guest/abi/kernel.h"
#include "../../../vmmtest/testguest/testdata/guest.h"

#define ORDERS 0x410000
#define WAY 0x00    /* 0: a gate of #UD; 1: a gate of int, to a forged segment; 2: a call gate */
#define ATTACK 0x08 /* 0: read; 1: write */
#define COUNT 0x10  /* entries of TABLE */
#define TRIES 0x18  /* words of VALUES */
#define VALUES 0x20
#define NO_XGETBV 0xf0 /* 1: the instruction cannot be had at ring 0 */
#define DONE 0xf8   /* 1 when all is done */
#define FOUND 0x100 /* what was read, see below */
#define FRAME 0x300 /* RIP, CS, RFLAGS, RSP, SS to go back to */
#define POINTER 0x340
#define TABLE 0x420000 /* struct { uint32_t msr, refused; uint64_t value; } */
#define STACK 0x418000 /* of exceptions */
#define OWN 0x41d000   /* of this code, at ring 0 */
#define MOVED_GDT 0x41d000
#define MOVED_IDT 0x41f000

	.text
	movl $ORDERS, %ebx
	/* Every gate that is used, and the stacks that the processor takes. */
	movl $ABI_TSS_GPA, %edi
	movq $STACK, 4(%rdi)  /* RSP0 */
	movq $STACK, 36(%rdi) /* IST1 */
	movl $13, %esi        /* #GP */
	leaq refused(%rip), %rcx
	movl $ABI_SEL_CODE0, %edx
	call gate
	cmpq $1, WAY(%rbx)
	je by_int
	cmpq $2, WAY(%rbx)
	je by_call
	movl $6, %esi
	leaq ring0(%rip), %rcx
	call gate
	ud2

by_int: /* the segment is one of the program's data segments no more */
	movabsq $0x00af9b000000ffff, %rax
	movl $ABI_GDT_GPA, %edi
	movq %rax, 0x18(%rdi)
	movl $0x80, %esi
	leaq ring0(%rip), %rcx
	movl $0x18, %edx
	call gate
	movb $0xee, 5(%rdi) /* for everybody */
	int $0x80

by_call: /* a descriptor of 16 bytes in place of two segments */
	movl $ABI_GDT_GPA, %edi
	leaq ring0_call(%rip), %rcx
	movw %cx, 0x10(%rdi)
	movw $ABI_SEL_CODE0, 0x12(%rdi)
	movw $0xec00, 0x14(%rdi)
	shrq $16, %rcx
	movw %cx, 0x16(%rdi)
	movq $0, 0x18(%rdi)
	movq $0, POINTER(%rbx)
	movw $0x10, POINTER + 8(%rbx)
	rex.W lcall *POINTER(%rbx)

gate: /* esi: vector, rcx: handler, edx: selector; leaves the gate in rdi */
	movl %esi, %edi
	shll $4, %edi
	addl $ABI_IDT_GPA, %edi
	movw %cx, (%rdi)
	movw %dx, 2(%rdi)
	movw $0x8e01, 4(%rdi) /* an interrupt gate on IST1 */
	movq %rcx, %rax
	shrq $16, %rax
	movw %ax, 6(%rdi)
	shrq $16, %rax
	movq %rax, 8(%rdi)
	ret

refused: /* #GP: go on where r15 says */
	movq %r15, 8(%rsp)
	movl $1, %r14d
	addq $8, %rsp
	iretq

ring0_call: /* RIP, CS, RSP, SS: as if by a gate of int */
	popq %rax
	popq %rcx
	pushfq
	pushq %rcx
	pushq %rax

ring0:
	movl $ORDERS, %ebx
	leaq FRAME(%rbx), %rdi
	movq %rsp, %rsi
	movl $5, %ecx
	rep movsq
	movl $OWN, %esp
	/* The segments of the way back. */
	movl $ABI_GDT_GPA, %edi
	movabsq $0x00cf93000000ffff, %rax
	movq %rax, 0x10(%rdi)
	movabsq $0x00cff3000000ffff, %rax
	movq %rax, 0x18(%rdi)
	cmpq $0, ATTACK(%rbx)
	jne attack

read:
	movl $TABLE, %esi
	movq COUNT(%rbx), %rbp
1:	movl (%rsi), %ecx
	xorl %r14d, %r14d
	xorl %eax, %eax
	xorl %edx, %edx
	leaq 2f(%rip), %r15
	rdmsr
2:	movl %r14d, 4(%rsi)
	movl %eax, 8(%rsi)
	movl %edx, 12(%rsi)
	addq $16, %rsi
	decq %rbp
	jnz 1b
	leaq FOUND(%rbx), %rdi
	cld
	movq %cr0, %rax
	stosq
	movq %cr2, %rax
	stosq
	movq %cr3, %rax
	stosq
	movq %cr4, %rax
	stosq
	movq %cr8, %rax
	stosq
	movq %db0, %rax
	stosq
	movq %db1, %rax
	stosq
	movq %db2, %rax
	stosq
	movq %db3, %rax
	stosq
	movq %db6, %rax
	stosq
	movq %db7, %rax
	stosq
	xorl %ecx, %ecx
	xorl %eax, %eax
	xorl %edx, %edx
	cmpq $0, NO_XGETBV(%rbx)
	jne 3f
	xgetbv
3:	shlq $32, %rdx
	orq %rdx, %rax
	stosq
	xorl %eax, %eax
	str %ax
	stosq
	sldt %ax
	stosq
	movq $0, (%rdi)
	movq $0, 8(%rdi)
	sgdt (%rdi)
	movq $0, 16(%rdi)
	movq $0, 24(%rdi)
	sidt 16(%rdi)
	jmp back

attack:
	movl $TABLE, %esi
	movq COUNT(%rbx), %rbp
1:	leaq VALUES(%rbx), %rdi
	movq TRIES(%rbx), %r13
2:	movl (%rsi), %ecx
	movl (%rdi), %eax
	movl 4(%rdi), %edx
	leaq 3f(%rip), %r15
	wrmsr
3:	addq $8, %rdi
	decq %r13
	jnz 2b
	addq $16, %rsi
	decq %rbp
	jnz 1b

	/* A breakpoint on the first thing that the next instance does. */
	movl $ABI_KERNEL_GPA, %eax
	movq %rax, %db0
	movq FRAME(%rbx), %rax
	movq %rax, %db1
	movl $MAILBOX, %eax
	movq %rax, %db2
	movl $ABI_CONTROL_GPA, %eax
	movq %rax, %db3
	leaq 1f(%rip), %r15
	movl $0x30755, %eax
	movq %rax, %db7
1:	leaq 1f(%rip), %r15
	movq %cr4, %rax
	xorq $0x10c, %rax /* TSD, DE, PCE */
	movq %rax, %cr4
1:	leaq 1f(%rip), %r15
	movq %cr0, %rax
	xorq $0x40002, %rax /* AM, MP */
	movq %rax, %cr0
1:	movq %rsp, %cr2
	leaq 1f(%rip), %r15
	movl $9, %eax
	movq %rax, %cr8
1:	leaq 1f(%rip), %r15
	xorl %ecx, %ecx
	xorl %edx, %edx
	movl $1, %eax
	xsetbv
1:	/* The tables, moved. */
	movl $ABI_GDT_GPA, %esi
	movl $MOVED_GDT, %edi
	movl $512, %ecx
	rep movsq
	movl $ABI_IDT_GPA, %esi
	movl $MOVED_IDT, %edi
	movl $512, %ecx
	rep movsq
	movw $0xfff, POINTER(%rbx)
	movq $MOVED_GDT, POINTER + 2(%rbx)
	lgdt POINTER(%rbx)
	movq $MOVED_IDT, POINTER + 2(%rbx)
	lidt POINTER(%rbx)

back:
	movq $1, DONE(%rbx)
	leaq rest(%rip), %rax
	movq %rax, FRAME(%rbx)
	leaq FRAME(%rbx), %rsp
	iretq

rest:
	movabsq $ABI_DEVICE_GPA, %rdx
1:	movl $0, ABI_DOORBELL_IDLE(%rdx)
	jmp 1b
