package dirtytrack

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// FileData finds the pages of a shared-memory file (memfd, tmpfs) that hold
// data. The first access of any process to a page of a shared mapping puts one
// there, and only punching a hole takes it away, so the answer does not depend
// on who wrote or in which address space.
//
// FileData implements Tracker; as with Pagemap, Arm does nothing and a page is
// reported for as long as it holds data.
type FileData struct {
	file  *os.File
	pages uint64
}

var _ Tracker = (*FileData)(nil)

// NewFileData returns a tracker over the first pages of f. The caller keeps
// owning f, which must stay open.
func NewFileData(f *os.File, pages uint64) *FileData { return &FileData{f, pages} }

// Name implements Tracker.
func (t *FileData) Name() string { return "file-data" }

// Pages returns the number of pages of the tracked range.
func (t *FileData) Pages() uint64 { return t.pages }

// Arm implements Tracker and does nothing: see the type.
func (t *FileData) Arm() error { return nil }

// Collect implements Tracker: lseek(2) with SEEK_DATA and SEEK_HOLE, which
// skips holes of any size at once.
func (t *FileData) Collect(into *PageSet) error {
	if into.Cap() < t.pages {
		return fmt.Errorf("collect pages of %s: the page set holds only %d pages, the file %d", t.file.Name(), into.Cap(), t.pages)
	}
	end := int64(t.pages * PageSize)
	for at := int64(0); at < end; {
		data, err := t.file.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // no data from there on
		}
		if err != nil {
			return fmt.Errorf("look for data in %s from %d: %w", t.file.Name(), at, err)
		}
		if data >= end {
			return nil
		}
		hole, err := t.file.Seek(data, unix.SEEK_HOLE)
		if err != nil {
			return fmt.Errorf("look for a hole in %s from %d: %w", t.file.Name(), data, err)
		}
		if hole <= data {
			return fmt.Errorf("look for a hole in %s from %d: %w", t.file.Name(), data, io.ErrNoProgress)
		}
		first := uint64(data) / PageSize
		last := (uint64(min(hole, end)) + PageSize - 1) / PageSize
		into.AddRange(first, last-first)
		at = hole
	}
	return nil
}

// Close implements Tracker. There is nothing to release.
func (t *FileData) Close() error { return nil }
