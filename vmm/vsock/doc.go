// Package vsock is the machine's only device: a virtio socket device (VIRTIO 1.2, 5.10)
// behind virtio-mmio registers, which carries byte streams between programs in the
// guest and the host.
//
// The device knows of its machine two things: the guest's memory (Memory), and the
// line by which it wakes a Run that sleeps (New). The monitor, package vmm, hands it
// the guest's accesses to its registers, lets it work with Service while the guest does
// not run, and asks with TakeInterrupt whether the guest has to look at its queues. For
// the host's programs there are Listen, Dial and Conn, whose methods never block,
// Stream, which is a Conn as net.Conn has it, and UnixSockets, which leads from and to
// Unix sockets. State is the device in a snapshot.
//
// Units: addresses are guest-physical byte addresses, sizes are bytes, registers are
// offsets from the device's window; ports and context ids are those of
// linux/vm_sockets.h. The standard's numbers are those of Linux's headers, which the
// guest's driver is compiled with: virtio_gen.go is made from virtio.h.
//
// Ownership: the guest is hostile. Rings and packets lie in its memory: every index,
// address and length is copied once, validated, then used. Streams, resets and
// undelivered bytes are bounded, and so is the work of one Service. A Device belongs to
// its machine, which ends all streams when it is closed.
//
// Concurrency: the methods of Conn, Stream and UnixSockets, and Listen, Unlisten, Dial,
// Lookup, Conns, CID and Waiting of a Device may be called from any goroutine. All
// others are for the one goroutine that is inside the machine's Run, or has the machine
// while it rests; it also calls listeners and handlers.
//
// Locks, in the order in which they may be taken: UnixSockets.mu (ports, and what Close
// has to end), Device.mu (streams and listeners). Neither is held while the guest runs
// or while a listener or handler is called. Virtqueues have no lock.
package vsock

//go:generate go run ../../guest/internal/abigen -linux -header virtio.h -output virtio_gen.go -package vsock
