package vmm

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"seuss/vmm/internal/demand"
)

// Pager is a file in memory that is filled as its pages are needed. Its methods may
// be called from any goroutine. Page numbers are those of the file.
type Pager interface {
	// File returns the file. What was not filled is a hole in it, and must not be
	// read.
	File() *os.File
	// Fill makes the file hold the content of count pages from page first on. After
	// an error, some of them may be missing.
	Fill(first, count uint64) error
	// Filled reports whether Fill has nothing to do.
	Filled(first, count uint64) bool
}

// fillAround is how many pages, aligned, are filled together when the guest touches
// one of them: 64 KiB, what Linux maps around a fault too (fault_around_bytes).
const fillAround = 16

// MapPager is MapFile of a file that is filled as the guest touches its pages. Where
// the host cannot tell the monitor about that, all of them are filled here.
func (m *Memory) MapPager(first, count uint64, p Pager, page uint64) error {
	if _, err := m.pages(first, count); err != nil {
		return fmt.Errorf("map %s: %w", p.File().Name(), err)
	}
	if err := m.backing.MapPager(first, count, p, page); err != nil {
		return fmt.Errorf("map %d pages of %s, from page %d, at page %d: %w", count, p.File().Name(), page, first, err)
	}
	return nil
}

// RecordPaging begins, or ends, a recording of the pages that are paged in on
// demand. While an exact one lasts they come one by one, so that none is missed
// because its neighbour was needed before.
func (m *Memory) RecordPaging(on, exact bool) { m.backing.Paging().Record(on, exact) }

// PagedIn returns the pages that were paged in on demand since the recording began,
// in the order in which they were needed.
func (m *Memory) PagedIn() []uint64 { return m.backing.Paging().Recorded() }

// PagingStats counts the faults that were served, and the pages that were missing
// then, since the memory was made.
func (m *Memory) PagingStats() (faults, pages uint64) { return m.backing.Paging().Counts() }

// CanPage says whether guests' memory can be filled while they run, from this
// process's privileges: own of machines under KVM, whose faults are the kernel's, and
// child of guests that are processes. Nil means that it can.
func CanPage() (own, child error) {
	fd, own := demand.OpenOwn()
	if own == nil {
		own = unix.Close(fd)
	}
	if fd, child = demand.OpenUser(); child == nil {
		child = unix.Close(fd)
	}
	return own, child
}
