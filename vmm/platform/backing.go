package platform

import (
	"os"

	"seuss/dirtytrack"
)

// Backing is where a guest's memory is kept, and what changes what the guest
// sees in it: the first page of the machine is page 0. Its methods are called
// by one goroutine at a time, never while the guest runs.
type Backing interface {
	// Bytes returns the monitor's window on all of it. What stands in a page of
	// the window holds once the page was claimed.
	Bytes() []byte

	// Shared reports whether the window is the guest's memory at all times, so that what
	// is populated spares the guest its faults. Else it is where it was claimed.
	Shared() bool

	// Claim makes the window and the guest share count pages from page first
	// on, content kept, until another file or zeros are mapped there.
	Claim(first, count uint64) error

	// MapFile makes the guest see the content of f from offset off, a page
	// multiple, in count pages; its stores stay private. MapZero makes it see
	// zeros.
	MapFile(first, count uint64, f *os.File, off int64) error
	MapZero(first, count uint64) error

	// MapPager is MapFile of a file that is filled as its pages are needed. Paging
	// tells of that; pages that the monitor looks at are filled first.
	MapPager(first, count uint64, p Pager, page uint64) error
	Paging() *Paging

	// Populate makes pages ready for stores, content kept. Discard drops what
	// was stored: the guest sees what was mapped there last.
	Populate(first, count uint64) error
	Discard(first, count uint64) error

	// PreferHuge asks the host for huge pages where zeros are mapped, and reports
	// whether it gives some.
	PreferHuge(first, count uint64) bool

	// Protect makes sure that the guest may use pages as its page tables say now,
	// content kept.
	Protect(first, count uint64) error

	// MapFar has the guest see these pages in the far window, in ascending order, and
	// nothing else. fresh: the guest is another instance. FarStep does some of
	// that, less than a millisecond's work, and reports whether there is more: the guest
	// must not run before there is none.
	MapFar(ranges []FarRange, fresh bool) error
	FarStep() (more bool, err error)

	// Forget makes sure that the guest has access to what its page tables and the far
	// window give it now and to nothing else, whatever it did to them.
	Forget() error

	// Page returns the content of a page to be read, valid until the next call
	// of any method. It changes nothing.
	Page(page uint64) []byte

	// Tracker finds the pages that are the guest's own: that hold, or may hold,
	// something else than what is mapped there.
	Tracker() (dirtytrack.Tracker, error)

	// Resident tells what the guest takes of the host's memory.
	Resident() (Resident, error)

	Close() error
}
