// Package instance is a machine and what it shows: it boots an image, brings a
// machine to a snapshot, lets one instance live there, talks to the driver of the
// runtime inside, makes snapshots, and brings the machine back. It knows nothing of
// functions, HTTP or pools: whoever uses it decides which snapshot, on which machine,
// with what to do, and is told by an Observer what happened.
//
// The nouns: a Host is what all machines of a process share. A Snapshot is a node of
// the lineage that machines can be brought to: loaded, checked against the host, its
// machine state decoded, with what was learned of its instances. A VM is a machine
// that can show any snapshot of its image, one after the other. An Instance is one
// life: what the guest is from the moment a snapshot is given an identity of its own.
// It lives on a VM, and nothing may assume that it stays there. A Session is a
// conversation with the driver inside, under a context and a deadline, over a Stream
// of frames.
//
// The files in the order in which an instance lives: vm.go (the machine), life.go (the
// states of a VM), memoryplan.go (what its memory shows), mapping.go (with how few
// mappings), boot.go, instance.go (begin
// and end), session.go and stream.go (the driver), capture.go and trim.go (making a
// snapshot), loading.go and written.go (what is learned for the next).
//
// Units: pages are 4 KiB, durations time.Duration.
//
// Ownership: a VM and the Instance on it belong to one goroutine at a time; handing
// them over is the caller's affair, and so is to Close each VM. Snapshots may be used by
// all goroutines at once. The package takes no lock while a guest runs; what it starts
// on other goroutines it gives to Host.Background.
package instance
