package vmm

import (
	"encoding/binary"
	"fmt"
	"iter"

	"seuss/dirtytrack"
	"seuss/guest"
)

// GivenBack returns the set of pages that GiveBack has dropped since the caller
// last cleared it. Each shows the zeros that are mapped there, unless it was
// written again: what the monitor writes leaves the set, what the guest writes a
// tracker finds.
func (m *Memory) GivenBack() *dirtytrack.PageSet { return m.givenBack }

// GiveBack makes count pages of RAM from page first on zero, and hands their
// memory back to the host where zeros are mapped below. Where a file's content
// is, a page of zeros has to lie over it. It allocates nothing.
func (m *Memory) GiveBack(first, count uint64) error {
	if err := checkGive(m, first, count); err != nil {
		return err
	}
	for count > 0 {
		n, err := giveSome(m, first, count)
		if err != nil {
			return err
		}
		first, count = first+n, count-n
	}
	return nil
}

// checkGive refuses what is not RAM of the guest's.
func checkGive(m *Memory, first, count uint64) error {
	if _, err := m.pages(first, count); err != nil {
		return fmt.Errorf("give back: %w", err)
	}
	if first < guest.LowGPA/pageSize || first+count > m.ram/pageSize {
		return fmt.Errorf("give back pages %d+%d: %w", first, count, ErrGuestAddress)
	}
	return nil
}

// giveUnit bounds the pages that are discarded at once, in 8 MiB that begin and end
// with whole huge pages, which would be split otherwise: freeing them takes less than
// a millisecond.
const giveUnit = 4 * largePage / pageSize

// giveSome gives back the first of count pages, which are RAM, and as many as there
// are of the same kind after it, within a unit. It returns how many.
func giveSome(m *Memory, first, count uint64) (uint64, error) {
	if m.files.Has(first) {
		return 1, m.zero(first)
	}
	n := plain(m, first, count)
	return n, discard(m, first, n)
}

// plain counts the pages from first on, at most a unit, where zeros are mapped.
func plain(m *Memory, first, count uint64) (n uint64) {
	for count = min(count, giveUnit-first%giveUnit); n < count && !m.files.Has(first+n); n++ {
	}
	return n
}

// plainBefore counts them from the end backwards.
func plainBefore(m *Memory, end, count uint64) (n uint64) {
	for count = min(count, (end-1)%giveUnit+1); n < count && !m.files.Has(end-1-n); n++ {
	}
	return n
}

func discard(m *Memory, first, count uint64) error {
	if err := m.backing.Discard(first, count); err != nil {
		return fmt.Errorf("give back pages %d+%d: %w", first, count, err)
	}
	m.givenBack.AddRange(first, count)
	return nil
}

func (m *Memory) zero(page uint64) error {
	if guest.IsZero(m.backing.Page(page)) {
		return nil
	}
	s, err := m.Slice(GPA(page*pageSize), pageSize)
	if err != nil {
		return err
	}
	clear(s)
	m.MarkWritten(GPA(page*pageSize), pageSize)
	return nil
}

// Offer gives back what it can of free pages of RAM without writing: it keeps the
// stretch from the first page to the last that lies over a file's, and returns it.
// To zero those would make pages private that the guest may never look at again.
func (m *Memory) Offer(first, count uint64) (keptFirst, keptCount uint64, err error) {
	if err := checkGive(m, first, count); err != nil {
		return first, count, err
	}
	for {
		before := count
		if first, count, err = offerSome(m, first, count); err != nil || count == before {
			return first, count, err
		}
	}
}

// offerSome gives back a unit at either end of an offer, if it can, and returns the
// rest.
func offerSome(m *Memory, first, count uint64) (uint64, uint64, error) {
	if count == 0 {
		return first, 0, nil
	}
	if n := plain(m, first, count); n > 0 {
		return first + n, count - n, discard(m, first, n)
	}
	if n := plainBefore(m, first+count, count); n > 0 {
		return first, count - n, discard(m, first+count-n, n)
	}
	return first, count, nil
}

// giving is what is left to do of a list of ranges that the guest has rung for. The
// zero value is nothing.
type giving struct {
	at    GPA    // the list
	n     uint64 // its length
	next  uint64 // ranges that are done
	begun bool   // first and count hold what is left of the one after them
	offer bool

	first, count uint64
}

func (g *giving) active() bool { return g.next < g.n }

// step does a unit of the next range.
func (g *giving) step(mem *Memory) error {
	at := g.at + GPA(g.next*guest.RangeSize)
	if !g.begun {
		r, err := mem.Slice(at, guest.RangeSize)
		if err != nil {
			return err
		}
		g.first, g.count, g.begun = le64(r[guest.RangeFirst:]), le64(r[guest.RangeCount:]), true
		if err := checkGive(mem, g.first, g.count); err != nil {
			return err
		}
	}
	before := g.count
	var err error
	if g.offer {
		g.first, g.count, err = offerSome(mem, g.first, g.count)
	} else {
		var n uint64
		n, err = giveSome(mem, g.first, g.count)
		g.first, g.count = g.first+n, g.count-n
	}
	if err != nil || g.count > 0 && g.count < before {
		return err
	}
	if g.offer {
		r, err := mem.Slice(at, guest.RangeSize)
		if err != nil {
			return err
		}
		binary.LittleEndian.PutUint64(r[guest.RangeFirst:], g.first)
		binary.LittleEndian.PutUint64(r[guest.RangeCount:], g.count)
		mem.MarkWritten(at, guest.RangeSize)
	}
	g.next, g.begun = g.next+1, false
	return nil
}

// Populate makes the given runs (first page, page count) private and writable
// ahead of the guest's first store, so that it takes no page fault there.
// Ranges that cannot be populated are an error.
func (m *Memory) Populate(runs iter.Seq2[uint64, uint64]) error {
	for first, count := range runs {
		if _, err := m.pages(first, count); err != nil {
			return fmt.Errorf("populate: %w", err)
		}
		if err := m.backing.Populate(first, count); err != nil {
			return fmt.Errorf("populate pages %d+%d: %w", first, count, err)
		}
	}
	return nil
}

// SharesWindow reports whether guest and monitor see memory through one mapping, so
// that what is populated spares the guest its faults.
func (m *Memory) SharesWindow() bool { return m.backing.Shared() }

// Discard hands the content of count pages from page first on back to the
// host: private copies are dropped, so that the pages show again what is
// mapped there (a file's content, or zeros).
func (m *Memory) Discard(first, count uint64) error {
	if _, err := m.pages(first, count); err != nil {
		return fmt.Errorf("discard: %w", err)
	}
	if err := m.backing.Discard(first, count); err != nil {
		return fmt.Errorf("discard pages %d+%d: %w", first, count, err)
	}
	return nil
}

// PreferHuge asks the host to back count pages of zeros from page first on by huge
// pages as they are touched, and reports whether it may. Nobody sees a difference, but
// for the time that first touches take and the memory that they do.
func (m *Memory) PreferHuge(first, count uint64) (bool, error) {
	if _, err := m.pages(first, count); err != nil {
		return false, fmt.Errorf("prefer huge pages: %w", err)
	}
	bound(m, first, count) // apart from what does not prefer them
	return m.backing.PreferHuge(first, count), nil
}
