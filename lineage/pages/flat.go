package pages

import (
	"cmp"
	"fmt"
	"iter"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"seuss/lineage/nodefile"
)

// Flat is a file in memory with the content of stretches of a View, one behind the other.
// A page is copied there when it is needed first; all machines that map it share it.
type Flat struct {
	view  *View
	parts []part // ascending in both
	pages uint64
	shown *os.File // open for reading only
	into  *os.File

	filled  []atomic.Uint64 // a bit for each page that is there
	missing atomic.Int64
	locks   [fillLocks]sync.Mutex // as pageSource's
}

// part begins a stretch: page of the file is guest page guest, and so on to the next part.
type part struct{ page, guest uint64 }

// What the Flats of a process take of its memory, when they are filled, and how many there
// are, since each takes a descriptor, and one more until it is full. Those of LayStretches
// have half of either: nobody's snapshots keep an image from being laid.
const (
	maxFlatBytes = 1 << 30
	maxFlats     = 1024
	// maxStretchBytes is what one LayStretches takes.
	maxStretchBytes = 64 << 20
)

// flatUse is what Flats take.
type flatUse struct{ count, bytes atomic.Int64 }

var allFlats, stretchFlats flatUse

// takeFlat reports whether there is room for one more, of LayStretches or another, and takes
// it then.
func takeFlat(bytes int64, ofStretches bool) bool {
	ok := allFlats.take(bytes, 1)
	if ofStretches {
		ok = stretchFlats.take(bytes, 2) && ok
	}
	if !ok {
		giveFlat(bytes, ofStretches)
	}
	return ok
}

func giveFlat(bytes int64, ofStretches bool) {
	allFlats.give(bytes)
	if ofStretches {
		stretchFlats.give(bytes)
	}
}

// take adds one, and reports whether all are within a part of what there may be.
func (u *flatUse) take(bytes, part int64) bool {
	count, sum := u.count.Add(1), u.bytes.Add(bytes)
	return count <= maxFlats/part && sum <= maxFlatBytes/part
}

func (u *flatUse) give(bytes int64) {
	u.count.Add(-1)
	u.bytes.Add(-bytes)
}

// FlatBytes returns how much memory the copies of this process may take that machines map
// in place of many small runs of pages.
func FlatBytes() uint64 { return uint64(allFlats.bytes.Load()) }

// newFlat returns no Flat where the process's bound leaves no room.
func newFlat(v *View, pages uint64, parts []part, ofStretches bool) (*Flat, error) {
	bytes := int64(pages * nodefile.PageSize)
	if !takeFlat(bytes, ofStretches) {
		return nil, nil
	}
	f, err := openFlat(v, pages, parts)
	if err != nil {
		giveFlat(bytes, ofStretches)
		return nil, fmt.Errorf("flat copy of %d pages: %w", pages, err)
	}
	runtime.AddCleanup(f, func(bytes int64) { giveFlat(bytes, ofStretches) }, bytes)
	return f, nil
}

func openFlat(v *View, pages uint64, parts []part) (*Flat, error) {
	fd, err := unix.MemfdCreate("seuss flat", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	into := os.NewFile(uintptr(fd), "seuss flat")
	shown, err := sealSize(into, pages*nodefile.PageSize)
	if err != nil {
		into.Close()
		return nil, err
	}
	f := &Flat{view: v, parts: parts, pages: pages, shown: shown, into: into, filled: make([]atomic.Uint64, (pages+63)/64)}
	f.missing.Store(int64(pages))
	return f, nil // the files are closed when they are not reachable
}

// File returns the file, as Blob.File does.
func (f *Flat) File() *os.File { return f.shown }

// Filled reports whether count pages from first on are there.
func (f *Flat) Filled(first, count uint64) bool {
	if f.missing.Load() == 0 {
		return true
	}
	for page := first; page < first+count; page++ {
		if !f.has(page) {
			return false
		}
	}
	return true
}

func (f *Flat) has(page uint64) bool { return f.filled[page/64].Load()&(1<<(page%64)) != 0 }

// Fill makes sure that count pages from first on are there and right. It may be called
// from any goroutine. The error is the View's; then some of them may be missing, and none
// is wrong.
func (f *Flat) Fill(first, count uint64) error {
	for end := first + count; first < end; {
		n := min(lockPages-first%lockPages, end-first)
		if !f.Filled(first, n) {
			if err := f.fillSome(first, n); err != nil {
				return err
			}
		}
		first += n
	}
	return nil
}

// FillGuest is Fill of the pages that show guest pages, as far as the Flat has them.
func (f *Flat) FillGuest(first, count uint64) error {
	for page, n := range f.shows(first, count) {
		if err := f.Fill(page, n); err != nil {
			return err
		}
	}
	return nil
}

func (f *Flat) filledGuest(first, count uint64) bool {
	for page, n := range f.shows(first, count) {
		if !f.Filled(page, n) {
			return false
		}
	}
	return true
}

// shows yields the runs of its pages that show guest pages.
func (f *Flat) shows(first, count uint64) iter.Seq2[uint64, uint64] {
	return func(yield func(page, count uint64) bool) {
		for i, p := range f.parts {
			end := f.pages
			if i+1 < len(f.parts) {
				end = f.parts[i+1].page
			}
			lo, hi := max(first, p.guest), min(first+count, p.guest+end-p.page)
			if lo < hi && !yield(p.page+lo-p.guest, hi-lo) {
				return
			}
		}
	}
}

// fillSome fills pages of one stretch of lockPages.
func (f *Flat) fillSome(first, count uint64) error {
	lock := &f.locks[first/lockPages%fillLocks]
	lock.Lock()
	defer lock.Unlock()
	buf := fillBuffers.Get().(*[lockPages * nodefile.PageSize]byte)
	defer fillBuffers.Put(buf)
	for end := first + count; first < end; {
		n := uint64(0)
		for first+n < end && !f.has(first+n) {
			n++
		}
		if n == 0 {
			first++
			continue
		}
		for i := range n {
			if err := f.view.CopyPage(buf[i*nodefile.PageSize:(i+1)*nodefile.PageSize], f.guest(first+i)); err != nil {
				return err
			}
		}
		if _, err := f.into.WriteAt(buf[:n*nodefile.PageSize], int64(first*nodefile.PageSize)); err != nil {
			return fmt.Errorf("keep %d pages in memory: %w", n, err)
		}
		for page := first; page < first+n; page++ {
			f.filled[page/64].Or(1 << (page % 64))
		}
		if f.missing.Add(-int64(n)) == 0 { // nobody writes there any more
			if err := f.into.Close(); err != nil {
				return fmt.Errorf("keep %d pages in memory: %w", n, err)
			}
		}
		first += n
	}
	return nil
}

// guest returns the guest page that a page shows.
func (f *Flat) guest(page uint64) uint64 {
	i, found := slices.BinarySearchFunc(f.parts, page, func(p part, page uint64) int { return cmp.Compare(p.page, page) })
	if !found {
		i--
	}
	return f.parts[i].guest + page - f.parts[i].page
}
