// Package dirtytrack finds the guest pages that may have been written.
//
// There is one interface, Tracker, and one file per mechanism. Every mechanism
// answers with a superset of the pages whose content changed; comparing and
// pruning is the caller's business (package lineage does it at capture).
//
// Units: a page is 4 KiB. Page numbers are relative to the tracked range: page
// n is the range's bytes [n*PageSize, (n+1)*PageSize). Where the range is a
// guest's RAM mapped at guest-physical 0, page n is also guest frame n.
//
// Ownership: a PageSet belongs to the caller. A Tracker owns the file or ring
// it reads until Close, never the memory that it watches: the memory must stay
// mapped until Close.
//
// Locks: none. A PageSet and a Tracker are each used by one goroutine at a
// time; a Tracker is collected while the vCPU that writes is stopped.
package dirtytrack

// PageSize is the size of a tracked page in bytes: the x86-64 base page, the
// unit in which the kernel's page map and KVM's dirty logs count.
const PageSize = 4096

// Tracker reports the pages of one memory range that may have been written.
type Tracker interface {
	// Name identifies the mechanism in reports and measurements.
	Name() string

	// Arm starts a tracking interval: pages written before it need not be
	// reported by later Collect calls.
	Arm() error

	// Collect adds to into every page that may have been written since Arm. It
	// may add more than those, never fewer. It removes nothing from into. After
	// an error into holds an incomplete answer and must not be relied on.
	Collect(into *PageSet) error

	// Close releases what the tracker holds. No method may be called after it.
	Close() error
}
