/*
 * entry.S: every way into and out of the stub: program start, the guest's
 * device stores, signals, the guest's system calls, and the way back into the
 * guest.
 *
 * There is no data here and no state outside the shared area. Behind the
 * instruction in which the stub parks, nothing depends on a register: wherever
 * the guest may have jumped to get there, the stub goes on from a known state.
 */
#include "stub.h"
#include "offsets.h"
#include <asm/prctl.h>
#include <asm/unistd.h>

#define STACK_TOP (ABI_SHARED + ABI_STACK_OFFSET)
#define AT(field) (area + field)(%rip)

	.text
	.globl _start
_start:
	movl $__NR_mmap, %eax
	movabsq $ABI_SHARED, %rdi
	movl $ABI_SHARED_SIZE, %esi
	movl $3, %edx              /* PROT_READ | PROT_WRITE */
	movl $0x100011, %r10d      /* MAP_SHARED | MAP_FIXED | MAP_FIXED_NOREPLACE */
	movl $ABI_FD_AREA, %r8d
	xorl %r9d, %r9d
	syscall
	rdfsbase %rax              /* a host without it must not get further: SIGILL */
	jmp stub_resume

/* Waits in the kernel until the monitor answers. pause is never carried out: the
 * filter hands it to the monitor. */
	.globl stub_park
stub_park:
	movl $__NR_pause, %eax
	syscall
	.globl stub_parked
stub_parked:                   /* where the kernel says that a parked stub is */
	.globl stub_resume
stub_resume:
	movabsq $STACK_TOP, %rsp
	cld
	xorl %ebp, %ebp
	call stub_wait
	ud2

/* In place of a store to the device window: edx = offset, eax = value. */
	.globl stub_device_store
stub_device_store:
	movq %rax, AT(AREA_RAX)
	movq %rbx, AT(AREA_RBX)
	movq %rcx, AT(AREA_RCX)
	movq %rdx, AT(AREA_RDX)
	movq %rsi, AT(AREA_RSI)
	movq %rdi, AT(AREA_RDI)
	movq %rbp, AT(AREA_RBP)
	movq %r8, AT(AREA_R8)
	movq %r9, AT(AREA_R9)
	movq %r10, AT(AREA_R10)
	movq %r11, AT(AREA_R11)
	movq %r12, AT(AREA_R12)
	movq %r13, AT(AREA_R13)
	movq %r14, AT(AREA_R14)
	movq %r15, AT(AREA_R15)
	pushfq
	popq AT(AREA_RFLAGS)
	movl %edx, %edx
	movq %rdx, AT(AREA_DEVICE_OFFSET)
	movl %eax, %eax
	movq %rax, AT(AREA_DEVICE_VALUE)
	popq AT(AREA_RIP)
	movq %rsp, AT(AREA_RSP)
	rdfsbase %rax
	movq %rax, AT(AREA_FS_BASE)
	rdgsbase %rax
	movq %rax, AT(AREA_GS_BASE)
	movw %ds, AT(AREA_DS)
	movw %es, AT(AREA_ES)
	movw %fs, AT(AREA_FS)
	movw %gs, AT(AREA_GS)
	movl $0, AT(AREA_LOAD_XSAVE) /* it stays in the CPU: the stub uses none of it */
	movabsq $STACK_TOP, %rsp
	cld
	movl $ABI_REASON_DEVICE, %edi
	call stub_give
	ud2

/* In place of wrfsbase and wrgsbase: edi = ARCH_SET_FS or ARCH_SET_GS, rsi =
 * value. A kernel that has not taken FSGSBASE over restores at every context
 * switch what was last set by this call. */
	.globl stub_set_base
stub_set_base:
	movl $__NR_arch_prctl, %eax
	syscall
	ret

/* Enters the guest with the registers in the area. */
	.globl stub_enter
stub_enter:
	pushq $2                   /* NT among others: iretq must not meet it */
	popfq
	cmpl $0, AT(AREA_LOAD_SEGMENTS)
	je 1f
	movl $0, AT(AREA_LOAD_SEGMENTS)
	movw AT(AREA_DS), %ds
	movw AT(AREA_ES), %es
	movw AT(AREA_FS), %fs      /* clears the base, which is set below */
	movw AT(AREA_GS), %gs
1:	cmpl $0, AT(AREA_LOAD_XSAVE)
	je 1f
	movl AT(AREA_XSAVE_MASK), %eax
	movl 4 + AT(AREA_XSAVE_MASK), %edx
	movabsq $ABI_SHARED + ABI_XSAVE_OFFSET, %rcx
	xrstor64 (%rcx)
1:	movabsq $STACK_TOP, %rsp
	rdfsbase %rax
	movq AT(AREA_FS_BASE), %rsi
	cmpq %rax, %rsi
	je 2f
	movl $ARCH_SET_FS, %edi
	call stub_set_base
2:	rdgsbase %rax
	movq AT(AREA_GS_BASE), %rsi
	cmpq %rax, %rsi
	je 3f
	movl $ARCH_SET_GS, %edi
	call stub_set_base
3:
	movl %ss, %eax
	pushq %rax
	pushq AT(AREA_RSP)
	pushq AT(AREA_RFLAGS)
	movl %cs, %eax
	pushq %rax
	pushq AT(AREA_RIP)
	movq AT(AREA_RAX), %rax
	movq AT(AREA_RBX), %rbx
	movq AT(AREA_RCX), %rcx
	movq AT(AREA_RDX), %rdx
	movq AT(AREA_RSI), %rsi
	movq AT(AREA_RDI), %rdi
	movq AT(AREA_RBP), %rbp
	movq AT(AREA_R8), %r8
	movq AT(AREA_R9), %r9
	movq AT(AREA_R10), %r10
	movq AT(AREA_R11), %r11
	movq AT(AREA_R12), %r12
	movq AT(AREA_R13), %r13
	movq AT(AREA_R14), %r14
	movq AT(AREA_R15), %r15
	iretq

/* SIGSYS: a syscall instruction of the guest. Goes on at the kernel library's
 * entry as the CPU would: rcx = return address, r11 = flags. That gives both
 * registers away, and so the way back needs neither rt_sigreturn nor iretq.
 * rdx = struct ucontext; offsets of its registers as in asm/sigcontext.h. */
#define UC(n) (40 + n)(%rbx)
	.globl stub_syscall
stub_syscall:
	movq %rdx, %rbx
	pushq $2                /* what syscall leaves of the flags */
	popfq
	movl AT(AREA_XSAVE_MASK), %eax
	movl 4 + AT(AREA_XSAVE_MASK), %edx
	movq UC(184), %rcx      /* fpstate: handlers start with fresh extended state */
	xrstor64 (%rcx)
	movq UC(0), %r8
	movq UC(8), %r9
	movq UC(16), %r10
	movq UC(32), %r12
	movq UC(40), %r13
	movq UC(48), %r14
	movq UC(56), %r15
	movq UC(64), %rdi
	movq UC(72), %rsi
	movq UC(80), %rbp
	movq UC(96), %rdx
	movq UC(104), %rax
	movq UC(128), %rcx      /* rip */
	movq UC(120), %r11
	movq %r11, AT(AREA_RSP)
	movq UC(136), %r11      /* flags */
	movq UC(88), %rbx
	/* From here on a kick writes its frame over this one. */
	movq AT(AREA_RSP), %rsp
	jmp *AT(AREA_SYSCALL_ENTRY)

/* Any other signal: edi = number, rsi = siginfo, rdx = ucontext. */
	.globl stub_signal
stub_signal:
	call stub_on_signal
	ret                     /* to stub_sigreturn, which the frame names */

	.globl stub_sigreturn
stub_sigreturn:
	movl $__NR_rt_sigreturn, %eax
	syscall
	ud2

/* long stub_call(const struct abi_call *) */
	.globl stub_call
stub_call:
	pushq %rbx
	movq %rdi, %rbx
	movq 0(%rbx), %rax
	movq 8(%rbx), %rdi
	movq 16(%rbx), %rsi
	movq 24(%rbx), %rdx
	movq 32(%rbx), %r10
	movq 40(%rbx), %r8
	movq 48(%rbx), %r9
	syscall
	popq %rbx
	ret

	.section .note.GNU-stack, "", @progbits
