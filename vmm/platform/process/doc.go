// Package process is the platform for hosts without KVM: it runs a guest as a
// locked-down Linux process. Isolation is that of a process with a system call
// filter, which is weaker than a virtual machine's; it is for development and
// for trusted code.
//
// A guest lives in one flat address space at one privilege level, so a process
// can be its machine. A small stub (package stub) in that process enters the
// guest and takes what comes out of it: system calls through Syscall User
// Dispatch, faults and kicks as signals, device stores as calls. Registers
// travel in an area that both sides map, as KVM's run page.
//
// Memory is a memfd that the monitor and the stub map. Pages of snapshots are
// mapped into the stub from their files, copy-on-write; copies move into the
// memfd after a run (memory.go).
//
// Trust: while the guest runs it can write to the area and jump anywhere in the
// stub, so neither says anything about where the guest is. What says so is the
// kernel: a parked stub rests in a system call that the filter turns into a
// notification, which carries the address of the instruction. Before memory is
// given to another instance the stub must be parked (Settle). It holds no file
// descriptor while the guest runs.
//
// Units and names are those of package vmm. A VM owns its process and its
// memory. Locks: the platform's cache of mapped files has one, taken last. A
// VM's methods are called by one goroutine at a time, but for Kick.
package process
