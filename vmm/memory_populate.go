package vmm

import (
	"errors"
	"fmt"
	"iter"

	"golang.org/x/sys/unix"
)

// Populate makes the given runs (first page, page count) private and writable
// ahead of the guest's first store, so that it takes no page fault there.
// Ranges that cannot be populated are an error; on a kernel without
// MADV_POPULATE_WRITE (before Linux 5.14) it does nothing, since the pages then
// merely fault in later.
func (m *Memory) Populate(runs iter.Seq2[uint64, uint64]) error {
	for first, count := range runs {
		window, err := m.pages(first, count)
		if err != nil {
			return fmt.Errorf("populate: %w", err)
		}
		if err := m.populate(window); err != nil {
			if errors.Is(err, unix.EINVAL) {
				return nil
			}
			return fmt.Errorf("populate pages %d+%d: %w", first, count, err)
		}
	}
	return nil
}

func (m *Memory) populate(window []byte) error {
	for {
		err := unix.Madvise(window, unix.MADV_POPULATE_WRITE)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Discard hands the content of count pages from page first on back to the
// host: private copies are dropped, so that the pages show again what is
// mapped there (a file's content, or zeros).
func (m *Memory) Discard(first, count uint64) error {
	window, err := m.pages(first, count)
	if err != nil {
		return fmt.Errorf("discard: %w", err)
	}
	if err := unix.Madvise(window, unix.MADV_DONTNEED); err != nil {
		return fmt.Errorf("discard pages %d+%d: %w", first, count, err)
	}
	return nil
}
