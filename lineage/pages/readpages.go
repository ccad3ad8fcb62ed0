package pages

import (
	"fmt"
	"io"

	"seuss/lineage/nodefile"
)

// BatchPages is the number of pages that are read or written at a time: 256 KiB.
const BatchPages = 64

// ReadPages calls f with at most batchPages pages at a time: the number of the
// first and the bytes. It reads with pread, so that a bad disk is an error and
// not a fault in a mapping.
func ReadPages(r io.ReaderAt, offset int64, first, count uint64, f func(first uint64, data []byte) error) error {
	buf := make([]byte, min(count, BatchPages)*nodefile.PageSize)
	for end := first + count; first < end; first += BatchPages {
		data := buf[:min(BatchPages, end-first)*nodefile.PageSize]
		at := offset + int64(first*nodefile.PageSize)
		if n, err := r.ReadAt(data, at); n < len(data) {
			return fmt.Errorf("read pages %d+%d at offset %d: got %d of %d bytes: %w",
				first, len(data)/nodefile.PageSize, at, n, len(data), nodefile.NoEOF(err))
		}
		if err := f(first, data); err != nil {
			return err
		}
	}
	return nil
}

// PageError is a page whose content is not what was sealed. It matches
// ErrChecksum.
type PageError struct {
	Where string // the blob, by name: it names the node
	Page  uint64 // of the blob
	Guest string // guest pages that show it
	Why   string
}

func (e *PageError) Error() string {
	return fmt.Sprintf("data page %d %s (%s): %s: %v", e.Page, e.Where, e.Guest, e.Why, nodefile.ErrChecksum)
}

func (e *PageError) Unwrap() error { return nodefile.ErrChecksum }
