package vmm

import (
	"bytes"
	"encoding/binary"
	"fmt"

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
	if _, err := m.pages(first, count); err != nil {
		return fmt.Errorf("give back: %w", err)
	}
	if first < guest.LowGPA/pageSize || first+count > m.ram/pageSize {
		return fmt.Errorf("give back pages %d+%d: %w", first, count, ErrGuestAddress)
	}
	for end := first + count; first < end; {
		n := uint64(1)
		if m.files.Has(first) {
			if err := m.zero(first); err != nil {
				return err
			}
			first++
			continue
		}
		for first+n < end && !m.files.Has(first+n) {
			n++
		}
		if err := m.backing.Discard(first, n); err != nil {
			return fmt.Errorf("give back pages %d+%d: %w", first, n, err)
		}
		m.givenBack.AddRange(first, n)
		first += n
	}
	return nil
}

func (m *Memory) zero(page uint64) error {
	if bytes.Equal(m.backing.Page(page), zeros[:]) {
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

// Offer gives back what it can of free pages without writing: it keeps the
// stretch from the first page to the last that lies over a file's, and returns it.
// To zero those would make pages private that the guest may never look at again.
func (m *Memory) Offer(first, count uint64) (keptFirst, keptCount uint64, err error) {
	if _, err := m.pages(first, count); err != nil {
		return first, count, fmt.Errorf("offer: %w", err)
	}
	end := first + count
	lo, hi := first, end
	for lo < end && !m.files.Has(lo) {
		lo++
	}
	for hi > lo && !m.files.Has(hi-1) {
		hi--
	}
	for _, r := range [...][2]uint64{{first, lo}, {hi, end}} {
		if r[0] < r[1] {
			if err := m.GiveBack(r[0], r[1]-r[0]); err != nil {
				return first, count, err
			}
		}
	}
	return lo, hi - lo, nil
}

// giveBack serves the guest's doorbells: n ranges that have to be zero, or that
// are on offer.
func (m *Machine) giveBack(n uint64, offer bool) error {
	if n > guest.GiveRanges {
		return fmt.Errorf("the guest gives back %d ranges, at most %d are possible", n, guest.GiveRanges)
	}
	at := GPA(le64(m.control[guest.ControlGiveGPA:]))
	ranges, err := m.mem.Slice(at, n*guest.RangeSize)
	if err != nil {
		return err
	}
	for r := ranges; len(r) > 0; r = r[guest.RangeSize:] {
		first, count := le64(r[guest.RangeFirst:]), le64(r[guest.RangeCount:])
		if !offer {
			if err := m.mem.GiveBack(first, count); err != nil {
				return err
			}
			continue
		}
		if first, count, err = m.mem.Offer(first, count); err != nil {
			return err
		}
		binary.LittleEndian.PutUint64(r[guest.RangeFirst:], first)
		binary.LittleEndian.PutUint64(r[guest.RangeCount:], count)
	}
	if offer && n > 0 {
		m.mem.MarkWritten(at, n*guest.RangeSize)
	}
	return nil
}
