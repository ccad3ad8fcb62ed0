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
// Units: guest-physical addresses are bytes; TSC frequency is in kHz.
//
// Ownership: a Platform owns /dev/kvm, a VM its file, its vCPU's file and run
// page. Close releases them in the reverse order of creation.
//
// Locks: none. VCPU.Kick may be called from any goroutine as long as the VM is
// not closed; everything else is used by one goroutine at a time.
package kvm
