// Package vmm is the monitor: machines, their memory, their one vCPU and their
// devices. It knows nothing of functions, languages or lineage.
//
// Package platform says what can run a vCPU (Platform, VM, VCPU) and where its memory is
// (Backing); the packages below vmm/platform are that, and nothing in this package knows
// which there are. Machine joins a VM with guest memory, console, clock and virtio-vsock
// (package vsock), boots it cold or restores it, and runs it until it is idle or
// finished. What host and guest agree on is in guest/abi/kernel.h, whose Go mirror is
// package guest.
//
// Bounds: whatever the guest rings, Run looks at its deadline and at Interrupt after
// every exit and between slices of about a millisecond of work for the guest (owed,
// vsock.Device.More). The host's buffers for a guest are bounded where they are made.
//
// Units: a GPA is a guest-physical byte address; sizes are bytes unless the
// name says pages (4 KiB); times with the suffix NS are nanoseconds; TSC values
// are counts of the guest's time-stamp counter.
//
// Ownership: a Machine owns its VM, its Memory and its devices until Close. A
// Platform outlives its machines. Slices that Memory.Slice returns are windows
// into guest RAM, valid until Close; the guest may change them at any time
// while it runs, so whatever comes from the guest is copied once, validated,
// then used.
//
// Concurrency: one goroutine at a time calls the methods of a Machine, and it
// is that goroutine which runs the vCPU, inside Machine.Run. What may be called from
// any goroutine at any time: Machine.Interrupt, and what package vsock says of its
// device.
//
// Locks, in the order in which they may be taken: ticker.mu (the registry of
// machines), Machine.ticking (keeps the ticker and Interrupt away from a machine that is
// not inside Run or is closed), then those of package vsock. None is held while the
// guest runs or while a callback is called. Guest memory has no lock: only the
// goroutine inside Run, or the caller while the machine is at rest, touches it.
package vmm
