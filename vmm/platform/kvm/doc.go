// Package kvm is the vmm platform that runs vCPUs with Linux KVM.
//
// The interface is that of Documentation/virt/kvm/api.rst of the Linux source;
// structure layouts, capability and ioctl encodings come from
// github.com/bobuhiro11/gokvm where it has them. Its ioctl helper is not used:
// it takes integers for pointers and hides interruptions and short counts.
//
// Two kinds of KVM are told apart. On hardware KVM (VMX, SVM) the whole guest
// runs at CPL 0. Under kvm_pvm, a software KVM for hosts without nested
// hardware virtualisation, ring 0 is interpreted and ring 3 native, so the
// whole guest runs at CPL 3.
//
// # What stays of a guest
//
// Nothing, whatever level it was meant to run at: its interrupt table is memory that it
// can write to, so a guest at CPL 3 reaches ring 0 through a gate of its own making. So
// VCPU.SetState supposes that the guest was there, every time that one has run. What ring 0 can change,
// and what becomes of it:
//
//   - General and special registers (segments, descriptor tables, CR0 to CR8, EFER, APIC
//     base), events under way and interrupt shadows: replaced, by way of the run page.
//     CR8 is in a field of its own there, which KVM believes without a local APIC.
//   - Extended state, XCR0 and debug registers: replaced.
//   - MSRs: KVM refuses a guest all but three (KVM_X86_SET_MSR_FILTER, Linux 5.10), on
//     hardware by intercepting them; those three, and all others that a state has, are
//     compared and put back. The filter does not cover x2APIC MSRs, which need a local
//     APIC in the kernel, and KVM's own ways around it: where there are such (the
//     hypercalls of kvm_pvm), and where there is no filter, every MSR that KVM keeps for
//     a guest is compared with what it was after power-on and put back (otherMSRs). One
//     that cannot be put back ends the machine.
//   - The time-stamp counter's offset: replaced; under kvm_pvm, whose guests read the
//     host's counter and not this one, where IA32_TSC_ADJUST tells that it changed.
//   - A local APIC, INIT, SIPI, SMM: there is no such device, so nothing of the kind is
//     ever under way, and the multiprocessing state has one value.
//   - Virtual machines of its own: CPUID offers neither VMX nor SVM, and KVM then refuses
//     to switch them on.
//   - An access to a device that KVM has not ended: it is ended, with no effect
//     (VCPU.abandon). A store that rings the doorbell is over when KVM tells of it.
//   - What the processor or KVM remembers of page tables: flushed (VCPU.flush, and
//     Access of package vmm).
//
// All of that is done where KVM_RUN was called since the last time. Where it was not, no
// guest has run, and only what two states differ in is written.
//
// TestNothingOfRing0Stays attacks all of it, TestStateAfterState has states follow each other.
//
// Units: guest-physical addresses are bytes; TSC frequency is in kHz.
//
// Ownership: a Platform owns /dev/kvm, a VM its file, its vCPU's file and run
// page. Close releases them in the reverse order of creation.
//
// Locks: none. VCPU.Kick may be called from any goroutine as long as the VM is
// not closed; everything else is used by one goroutine at a time.
package kvm
