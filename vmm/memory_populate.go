package vmm

import (
	"fmt"
	"iter"
)

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
func (m *Memory) SharesWindow() bool {
	_, ok := m.backing.(*PrivateBacking)
	return ok
}

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
	return m.backing.PreferHuge(first, count), nil
}
