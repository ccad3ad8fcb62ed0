package vmm

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"seuss/dirtytrack"
)

// PrivateBacking keeps a guest's memory in the monitor's own address space:
// files are mapped copy-on-write, and a KVM guest runs in the same mapping. So
// window and guest share everything at all times.
type PrivateBacking struct{ mem []byte }

var _ Backing = (*PrivateBacking)(nil)

// NewPrivateBacking reserves address space, aligned to 2 MiB.
func NewPrivateBacking(bytes uint64) (*PrivateBacking, error) {
	mem, err := reserve(bytes)
	if err != nil {
		return nil, err
	}
	return &PrivateBacking{mem}, nil
}

// Bytes implements Backing.
func (b *PrivateBacking) Bytes() []byte { return b.mem }

// Claim implements Backing.
func (b *PrivateBacking) Claim(first, count uint64) error { return nil }

func (b *PrivateBacking) window(first, count uint64) []byte {
	return b.mem[first*pageSize : (first+count)*pageSize]
}

// MapFile implements Backing.
func (b *PrivateBacking) MapFile(first, count uint64, f *os.File, off int64) error {
	return mapFixed(b.window(first, count), f, off)
}

// MapZero implements Backing.
func (b *PrivateBacking) MapZero(first, count uint64) error {
	return mapFixed(b.window(first, count), nil, 0)
}

// Populate implements Backing. On a kernel without MADV_POPULATE_WRITE (before
// Linux 5.14) it does nothing, since the pages then merely fault in later.
func (b *PrivateBacking) Populate(first, count uint64) error {
	for {
		err := unix.Madvise(b.window(first, count), unix.MADV_POPULATE_WRITE)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if errors.Is(err, unix.EINVAL) {
			return nil
		}
		return err
	}
}

// Discard implements Backing.
func (b *PrivateBacking) Discard(first, count uint64) error {
	return unix.Madvise(b.window(first, count), unix.MADV_DONTNEED)
}

// Page implements Backing.
func (b *PrivateBacking) Page(page uint64) []byte { return b.window(page, 1) }

// Tracker implements Backing with the host's page map.
func (b *PrivateBacking) Tracker() (dirtytrack.Tracker, error) { return dirtytrack.NewPagemap(b.mem) }

// Close implements Backing.
func (b *PrivateBacking) Close() error {
	mem := b.mem
	b.mem = nil
	return release(mem)
}
