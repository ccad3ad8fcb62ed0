package mapped

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"seuss/guest"
	"seuss/vmm/internal/x86"
	"seuss/vmm/platform"
)

// Slots is what a Memory asks of the machine that runs in it.
type Slots interface {
	// MapTables shows the guest memory where there is none, and tells whether the guest
	// can write to it.
	MapTables(mem []byte, gpa guest.GPA) (writable bool, err error)
	// UnmapTables takes that away. Nobody remembers what was in it.
	UnmapTables() error
	// Forget drops all that anybody remembers of the guest's page tables.
	Forget() error
	// MapShared shows the guest memory that is shared, as the n-th of such, where there
	// is none; UnmapShared takes that away. Nobody remembers a way to it then.
	MapShared(n int, mem []byte, gpa guest.GPA, writable bool) error
	UnmapShared(n int) error
}

// farTables are the page tables of the far window, for processors that walk them.
//
// KVM, where it shadows tables, does not see what the monitor stores in them. What it
// remembers stays right by two rules. A table serves the same addresses for as long as
// it is shown, so that the way to it never changes. And where an entry of the lowest
// level goes, the host's mapping of its page is changed there and back (Protect): KVM
// forgets whatever maps the page, and a processor its translations.
//
// Where a processor walks them itself, it does so as if it wrote, and the guest can
// have written, too: there all tables are made anew for each instance.
type farTables struct {
	mem         []byte            // guest.FarTablesBytes at guest.FarTablesGPA
	shown       bool              // to the guest
	writable    bool              // by the guest
	used        uint64            // tables
	directories map[uint64]uint64 // which table serves 1 GiB
	leaves      map[uint64]uint64 // which one serves 2 MiB
	mapped      []platform.FarRange
	shared      []sharedRange // of mapped, those that a guest can reach now
	leaving     [][]byte      // what was shared, and is mapped in this process yet
	// What is left to do until that is so: entries that go, in order, and then, where
	// there is room, entries that come.
	gone, added []platform.FarRange
	placed      bool // there is room for added
}

// Bits of a page number in the far window below which a table's entries differ.
const (
	leafShift      = 9
	directoryShift = 18
)

// SetSlots tells whose memory it is; before that the guest has no far window.
func (b *Memory) SetSlots(s Slots) { b.slots = s }

// How many entries one step takes away, which also changes the host's mapping of their
// pages, and how many it makes: a fraction of a millisecond's work.
const (
	goneUnit  = 512
	addedUnit = 8192
)

// MapFar implements platform.Backing.
func (b *Memory) MapFar(ranges []platform.FarRange, fresh bool) error {
	f := &b.far
	if err := b.showTables(); err != nil {
		return fmt.Errorf("map the far window: %w", err)
	}
	if fresh && f.writable { // with the memory goes what a processor remembers
		if err := f.empty(); err != nil {
			return fmt.Errorf("map the far window: %w", err)
		}
		if err := b.dropShared(nil); err != nil {
			return fmt.Errorf("map the far window: %w", err)
		}
		f.mapped, f.gone, f.added = nil, nil, nil
	}
	for more := true; more; { // an instance before may have left something undone
		var err error
		if more, err = b.FarStep(); err != nil {
			return err
		}
	}
	f.gone, f.added = slices.Collect(platform.FarWithout(f.mapped, ranges)), slices.Collect(platform.FarWithout(ranges, f.mapped))
	f.mapped, f.placed = slices.Clone(ranges), false
	return nil
}

// FarStep implements platform.Backing.
func (b *Memory) FarStep() (more bool, err error) {
	f := &b.far
	switch {
	case len(f.leaving) > 0:
		if err := f.leave(); err != nil {
			return false, fmt.Errorf("unmap what was shared: %w", err)
		}
	case len(f.gone) > 0:
		r := takePages(&f.gone, goneUnit)
		if r.Of != nil { // before its entries: it is out of reach at once
			if err := b.dropShared(&r); err != nil {
				return false, fmt.Errorf("unmap what is shared: %w", err)
			}
			f.set(r, 0)
			break
		}
		f.set(r, 0)
		if err := b.Protect(r.RAM, r.Count); err != nil {
			return false, fmt.Errorf("unmap pages of the far window: %w", err)
		}
	case len(f.added) == 0:
		return false, nil
	case !f.placed:
		if !f.room(f.added) {
			if err := b.renewTables(); err != nil {
				return false, fmt.Errorf("map the far window anew: %w", err)
			}
			f.added = slices.Clone(f.mapped)
		}
		f.placed = true
	default:
		if err := b.addNext(); err != nil {
			return false, fmt.Errorf("map what is shared: %w", err)
		}
	}
	return len(f.leaving) > 0 || len(f.gone) > 0 || len(f.added) > 0, nil
}

// takePages takes the first pages of a list, at most n that lie together.
func takePages(list *[]platform.FarRange, n uint64) platform.FarRange {
	r := &(*list)[0]
	taken := platform.FarRange{First: r.First, RAM: r.RAM, Count: min(r.Count, n), Of: r.Of}
	r.First, r.RAM, r.Count = r.First+taken.Count, r.RAM+taken.Count, r.Count-taken.Count
	if r.Count == 0 {
		*list = (*list)[1:]
	}
	return taken
}

// showTables makes the tables the guest's.
func (b *Memory) showTables() (err error) {
	f := &b.far
	if f.shown {
		return nil
	}
	if f.mem == nil {
		if f.mem, err = reserve(guest.FarTablesBytes); err != nil {
			return err
		}
	}
	if b.slots != nil {
		if f.writable, err = b.slots.MapTables(f.mem, guest.FarTablesGPA); err != nil {
			return err
		}
	}
	f.shown = true
	return f.empty()
}

// empty makes all tables free ones.
func (f *farTables) empty() error {
	f.used, f.directories, f.leaves = platform.FarRoots, map[uint64]uint64{}, map[uint64]uint64{}
	return os.NewSyscallError("madvise", unix.Madvise(f.mem, unix.MADV_DONTNEED))
}

// renewTables starts over with empty tables.
func (b *Memory) renewTables() error {
	if b.slots != nil {
		if err := b.slots.UnmapTables(); err != nil {
			return err
		}
	}
	b.far.shown = false
	return b.showTables()
}

// room reports whether there are tables for ranges. There are for those of one list, if
// all tables are free: two of each level at the ends of a range, and what lies between.
func (f *farTables) room(ranges []platform.FarRange) bool {
	need := uint64(0)
	for _, r := range ranges {
		need += 4 + r.Count>>leafShift + r.Count>>directoryShift
	}
	return f.used+need <= guest.FarTablesBytes/pageSize
}

func (f *farTables) table(n uint64) []byte { return f.mem[n*pageSize : (n+1)*pageSize] }

// below returns which table serves the addresses of a page by its number above shift,
// and makes it where there is none: above is the table that names it.
func (f *farTables) below(known map[uint64]uint64, page uint64, shift int, above func() []byte) uint64 {
	key := page >> shift
	n, ok := known[key]
	if !ok {
		entry := above()[key%x86.TableEntries*8:]
		n = f.used
		f.used++
		known[key] = n
		binary.LittleEndian.PutUint64(entry, platform.FarEntry(n))
	}
	return n
}

// leaf returns the table that has a page's entry.
func (f *farTables) leaf(page uint64) []byte {
	return f.table(f.below(f.leaves, page, leafShift, func() []byte {
		return f.table(f.below(f.directories, page, directoryShift, func() []byte { return f.table(platform.FarRoot(page)) }))
	}))
}

// set gives the entries of a range these bits, 0: nothing is there.
func (f *farTables) set(r platform.FarRange, bits uint64) {
	var leaf []byte
	for i := range r.Count {
		page := r.First + i
		if leaf == nil || page%x86.TableEntries == 0 {
			leaf = f.leaf(page)
		}
		entry := uint64(0)
		if bits != 0 {
			entry = (r.RAM+i)*pageSize | bits
		}
		binary.LittleEndian.PutUint64(leaf[page%x86.TableEntries*8:], entry)
	}
}

// close gives the memory of the tables back. The guest must be gone.
func (f *farTables) close() error {
	if f.mem == nil {
		return nil
	}
	mem := f.mem
	f.mem = nil
	errs := []error{release(mem)}
	for _, s := range f.shared {
		errs = append(errs, unmapShared(s.mem))
	}
	for _, mem := range f.leaving {
		errs = append(errs, unmapShared(mem))
	}
	return errors.Join(errs...)
}
