package vmm

import (
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
	if isZero(m.backing.Page(page)) {
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

func isZero(b []byte) bool {
	for ; len(b) >= 8; b = b[8:] {
		if le64(b) != 0 {
			return false
		}
	}
	return true
}

// giveBack serves the guest's doorbell: n ranges.
func (m *Machine) giveBack(n uint64) error {
	if n > guest.GiveRanges {
		return fmt.Errorf("the guest gives back %d ranges, at most %d are possible", n, guest.GiveRanges)
	}
	ranges, err := m.mem.Slice(GPA(le64(m.control[guest.ControlGiveGPA:])), n*guest.RangeSize)
	if err != nil {
		return err
	}
	for ; len(ranges) > 0; ranges = ranges[guest.RangeSize:] {
		if err := m.mem.GiveBack(le64(ranges[guest.RangeFirst:]), le64(ranges[guest.RangeCount:])); err != nil {
			return err
		}
	}
	return nil
}
