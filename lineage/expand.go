package lineage

import (
	"fmt"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// expand makes a blob of whole pages from differences: each data page is the
// parent's page at its first guest page with some words replaced. The pages are
// compared with their checksums on the way.
func expand(name string, d *deltaDecoder, x *pageIndex, parent *View) (*Blob, error) {
	var w memoryWriter
	if err := w.open(name); err != nil {
		return nil, fmt.Errorf("expand pages %s: %w", name, err)
	}
	defer w.discard()
	err := eachExpanded(d, x, parent, func(page uint64, content []byte) error {
		if why := checkSum(content, x.sums[page]); why != "" {
			return &PageError{Where: name, Page: page, Guest: x.guestRuns(page, 1), Why: why}
		}
		return w.add(content)
	})
	if err != nil {
		return nil, err
	}
	f, err := w.seal()
	if err != nil {
		return nil, fmt.Errorf("expand pages %s: %w", name, err)
	}
	b, err := newBlob(name, f, 0, x)
	if err == nil {
		b.inMemory = true
		b.allChecked()
	}
	return b, err
}

// eachExpanded calls f with each data page in order. content is valid only
// during the call.
func eachExpanded(d *deltaDecoder, x *pageIndex, parent *View, f func(page uint64, content []byte) error) error {
	uses, err := x.firstUses()
	if err != nil {
		return err
	}
	var content [PageSize]byte
	for page, guest := range uses {
		if err := parent.Check(guest, 1); err != nil {
			return err
		}
		copy(content[:], orZero(parent.Bytes(guest)))
		if err := d.apply(content[:]); err != nil {
			return fmt.Errorf("data page %d, guest page %#x: %w", page, guest, err)
		}
		if err := f(uint64(page), content[:]); err != nil {
			return err
		}
	}
	return d.end()
}

// memoryWriter fills a file in memory that can then no longer change.
type memoryWriter struct {
	f   *os.File
	buf *[batchPages * PageSize]byte
	n   int
}

var batches = sync.Pool{New: func() any { return new([batchPages * PageSize]byte) }}

func (w *memoryWriter) open(name string) error {
	fd, err := unix.MemfdCreate("seuss pages", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return fmt.Errorf("memfd_create: %w", err)
	}
	w.f, w.buf, w.n = os.NewFile(uintptr(fd), name), batches.Get().(*[batchPages * PageSize]byte), 0
	return nil
}

func (w *memoryWriter) add(page []byte) error {
	w.n += copy(w.buf[w.n:], page)
	if w.n < len(w.buf) {
		return nil
	}
	return w.flush()
}

func (w *memoryWriter) flush() error {
	n, err := w.f.Write(w.buf[:w.n])
	if err != nil {
		return fmt.Errorf("write pages to memory: wrote %d of %d bytes: %w", n, w.n, err)
	}
	w.n = 0
	return nil
}

// seal returns the file opened for reading only: a shared mapping of a file that
// is open for writing would be refused by kernels before 6.7.
func (w *memoryWriter) seal() (*os.File, error) {
	if err := w.flush(); err != nil {
		return nil, err
	}
	if err := w.f.Chmod(sealedMode); err != nil {
		return nil, fmt.Errorf("seal memory: %w", err)
	}
	const seals = unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(w.f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return nil, fmt.Errorf("seal memory: %w", err)
	}
	return os.Open("/proc/self/fd/" + strconv.Itoa(int(w.f.Fd())))
}

func (w *memoryWriter) discard() {
	batches.Put(w.buf)
	_ = w.f.Close() // written and sealed, or given up
}
