/*
 * start.S: every way into and out of the kernel library: cold boot, the
 * syscall instruction, the monitor's upcall, CPU exceptions, and the switch
 * between two threads' kernel stacks.
 *
 * Nothing here is privileged: all of it runs at whatever level the program
 * runs at, which is CPL 3 under kvm_pvm and CPL 0 on hardware KVM. Exceptions
 * enter through gates of the same level (on an IST stack, so the red zone
 * survives), so no instruction ever runs at another level. The selectors in a
 * frame that is returned to with iretq are always the live ones: under kvm_pvm
 * the frame that the CPU pushes holds the guest's idea of CS (0x23), while the
 * code really runs with the host's user selector.
 */
#include "../abi/kernel.h"

/* Must match struct abi_frame. */
#define FRAME_REGS 120 /* r15 .. rdi */

	.section .entries, "a"
	.globl abi_entries
abi_entries:
	.quad ABI_ENTRIES_MAGIC
	.long ABI_KERNEL_VERSION
	.long ABI_FEATURE_DIRECTORY | ABI_FEATURE_USER
	.quad boot_entry
	.quad syscall_entry
	.quad exception_entries
	.quad kernel_end
	.quad kernel_data

	.macro PUSH_REGS
	pushq %rdi
	pushq %rsi
	pushq %rdx
	pushq %rcx
	pushq %rax
	pushq %r8
	pushq %r9
	pushq %r10
	pushq %r11
	pushq %rbx
	pushq %rbp
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	.endm

	.macro POP_REGS
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbp
	popq %rbx
	popq %r11
	popq %r10
	popq %r9
	popq %r8
	popq %rax
	popq %rcx
	popq %rdx
	popq %rsi
	popq %rdi
	.endm

	.text
	.globl boot_entry
boot_entry:
	leaq boot_stack_top(%rip), %rsp
	xorl %ebp, %ebp
	cld
	call kernel_main
	ud2

/* syscall: rcx = return address, r11 = flags, rsp still the program's. */
	.globl syscall_entry
	.p2align 5
syscall_entry:
	movq %rsp, user_rsp(%rip)
	movq kstack_top(%rip), %rsp
	pushq $0                 /* ss, filled by return_full's user */
	pushq user_rsp(%rip)
	pushq %r11
	pushq $0                 /* cs */
	pushq %rcx
	pushq $0                 /* error */
	pushq $ABI_VEC_SYSCALL
	PUSH_REGS
	cld
	movq %rsp, %rdi
	call syscall_dispatch    /* returns 0: fast return; else the frame was rewritten */
	testl %eax, %eax
	jnz return_full
	POP_REGS
	/* Above rsp: vector, error, rip, cs, rflags, rsp, ss. The ABI gives rcx and r11 away. */
	movq 16(%rsp), %rcx
	movq 32(%rsp), %r11
	movq 40(%rsp), %rsp
	/* popfq through the program's stack would break its red zone: use a word of ours. */
	movq %rsp, user_rsp(%rip)
	leaq flags_word(%rip), %rsp
	movq %r11, (%rsp)
	popfq
	movq user_rsp(%rip), %rsp
	jmp *%rcx

/* The monitor moved RIP here; the interrupted rip, rsp and rflags are in the control page. */
	.globl upcall_entry
	.p2align 5
upcall_entry:
	movq kstack_top(%rip), %rsp
	pushq $0
	pushq ABI_CONTROL_GPA + ABI_CONTROL_UPCALL_RSP
	pushq ABI_CONTROL_GPA + ABI_CONTROL_UPCALL_RFLAGS
	pushq $0
	pushq ABI_CONTROL_GPA + ABI_CONTROL_UPCALL_RIP
	pushq $0
	pushq $ABI_VEC_UPCALL
	PUSH_REGS
	cld
	movq %rsp, %rdi
	call upcall_dispatch
	/* fall through */

/* rsp -> struct abi_frame: restore everything, exactly. */
	.globl return_full
return_full:
	movl %cs, %eax
	movq %rax, FRAME_REGS + 24(%rsp)
	movl %ss, %eax
	movq %rax, FRAME_REGS + 48(%rsp)
	POP_REGS
	addq $16, %rsp
	iretq

/* A new thread's first switch_stacks() returns here, rsp -> its frame. */
	.globl thread_start
thread_start:
	movq %rsp, %rdi
	call thread_enter
	jmp return_full

/* Exceptions: a stub for each vector. */
	.balign ABI_EXCEPTION_STUB_BYTES
	.globl exception_entries
exception_entries:
	.set vec, 0
	.rept ABI_EXCEPTIONS
	.balign ABI_EXCEPTION_STUB_BYTES
	.if (vec == 8) || (vec >= 10 && vec <= 14) || (vec == 17) || (vec == 21) || (vec == 29) || (vec == 30)
	.else
	pushq $0
	.endif
	pushq $vec
	jmp exception_common
	.set vec, vec + 1
	.endr

	.p2align 5
exception_common:
	PUSH_REGS
	cld
	movq %rsp, %rdi
	call exception_on_thread_stack /* copies the frame to the thread's kernel stack; panics if the kernel library faulted */
	movq %rax, %rsp
	movq %rsp, %rdi
	call exception_dispatch
	jmp return_full

/* void switch_stacks(u64 *save_rsp, u64 rsp): callee-saved registers travel on the stacks. */
	.globl switch_stacks
switch_stacks:
	pushq %rbx
	pushq %rbp
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movq %rsp, (%rdi)
	movq %rsi, %rsp
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbp
	popq %rbx
	ret

	.data
	.p2align 6
	.globl kstack_top
kstack_top:
	.quad boot_stack_top
	.globl user_rsp
user_rsp:
	.quad 0
flags_word:
	.quad 0
	.quad 0

	.bss
	.p2align 12
boot_stack:
	.skip 16384
boot_stack_top:
	.globl exception_stack_top
exception_stack:
	.skip 4096
exception_stack_top:

	.section .note.GNU-stack, "", @progbits
