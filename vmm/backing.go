package vmm

import (
	"errors"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"seuss/dirtytrack"
	"seuss/vmm/internal/demand"
)

// PrivateBacking keeps a guest's memory in the monitor's own address space:
// files are mapped copy-on-write, and a KVM guest runs in the same mapping. So
// window and guest share everything at all times.
//
// Pages that are filled on demand are reported by the kernel, for KVM's accesses
// too. Go code must never be the one who touches such a page: while it waited, the
// garbage collector could not stop it, nor let the page be filled. So they are
// filled before any access of the monitor's (Claim, Page, Populate).
type PrivateBacking struct {
	mem    []byte
	paging Paging
	space  *demand.Space // nil until a Pager is mapped
	barred bool          // the host cannot page on demand
	small  bool          // PreferHuge is refused
	slots  Slots         // nil: no guest runs in it
	far    farTables
}

var _ Backing = (*PrivateBacking)(nil)

// NewPrivateBacking reserves address space, aligned to 2 MiB. Without huge it never
// asks the host for huge pages.
func NewPrivateBacking(bytes uint64, huge bool) (*PrivateBacking, error) {
	mem, err := reserve(bytes)
	if err != nil {
		return nil, err
	}
	return &PrivateBacking{mem: mem, small: !huge}, nil
}

// Bytes implements Backing.
func (b *PrivateBacking) Bytes() []byte { return b.mem }

// Claim implements Backing.
func (b *PrivateBacking) Claim(first, count uint64) error { return b.paging.Fill(first, count) }

func (b *PrivateBacking) window(first, count uint64) []byte {
	return b.mem[first*pageSize : (first+count)*pageSize]
}

// MapFile implements Backing.
func (b *PrivateBacking) MapFile(first, count uint64, f *os.File, off int64) error {
	b.paging.Lay(first, count, nil, 0)
	return mapFixed(b.window(first, count), f, off)
}

// Paging implements Backing.
func (b *PrivateBacking) Paging() *Paging { return &b.paging }

// MapPager implements Backing.
func (b *PrivateBacking) MapPager(first, count uint64, p Pager, page uint64) error {
	if p.Filled(page, count) || !b.pages() {
		if err := p.Fill(page, count); err != nil {
			return err
		}
		return b.MapFile(first, count, p.File(), int64(page*pageSize))
	}
	window := b.window(first, count)
	if err := mapFixed(window, p.File(), int64(page*pageSize)); err != nil {
		return err
	}
	if err := b.space.Register(demand.AddressOf(window), uint64(len(window))); err != nil {
		return errors.Join(err, mapFixed(window, nil, 0))
	}
	b.paging.Lay(first, count, p, page)
	return nil
}

// pages reports whether the host reports missing pages.
func (b *PrivateBacking) pages() bool {
	if b.space != nil || b.barred {
		return b.space != nil
	}
	b.barred = true
	fd, err := demand.OpenOwn()
	if err != nil {
		return false // no privilege, or a kernel without
	}
	base := demand.AddressOf(b.mem)
	b.space, err = demand.New(fd, func(address uint64) {
		// An error is known to the machine, and the guest is woken all the same: it
		// waits again, or sees its kick.
		first, count, _ := b.paging.Touch((address - base) / pageSize)
		_ = b.space.Wake(base+first*pageSize, count*pageSize)
	})
	return err == nil
}

// MapZero implements Backing.
func (b *PrivateBacking) MapZero(first, count uint64) error {
	b.paging.Lay(first, count, nil, 0)
	return mapFixed(b.window(first, count), nil, 0)
}

// Populate implements Backing. On a kernel without MADV_POPULATE_WRITE (before
// Linux 5.14) it does nothing, since the pages then merely fault in later.
func (b *PrivateBacking) Populate(first, count uint64) error {
	if err := b.paging.Fill(first, count); err != nil {
		return err
	}
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

// PreferHuge implements Backing.
func (b *PrivateBacking) PreferHuge(first, count uint64) bool {
	return !b.small && hugeOffered() && unix.Madvise(b.window(first, count), unix.MADV_HUGEPAGE) == nil
}

// hugeOffered tells whether the host gives huge pages to those who ask.
var hugeOffered = sync.OnceValue(func() bool {
	b, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled")
	return err == nil && !strings.Contains(string(b), "[never]")
})

// Protect implements Backing. KVM keeps copies of a guest's page table entries
// that only an instruction at ring 0 would drop. It also drops them when the
// protection of the host's mapping changes.
func (b *PrivateBacking) Protect(first, count uint64) error {
	window := b.window(first, count)
	if err := unix.Mprotect(window, unix.PROT_READ); err != nil {
		return os.NewSyscallError("mprotect", err)
	}
	return os.NewSyscallError("mprotect", unix.Mprotect(window, unix.PROT_READ|unix.PROT_WRITE))
}

// Forget implements Backing.
func (b *PrivateBacking) Forget() error {
	if b.slots == nil {
		return nil
	}
	return b.slots.Forget()
}

// Page implements Backing.
func (b *PrivateBacking) Page(page uint64) []byte {
	if b.paging.Fill(page, 1) != nil {
		return zeros[:] // whoever runs the guest, or checks the page, learns why
	}
	return b.window(page, 1)
}

var zeros [pageSize]byte

// Tracker implements Backing with the host's page map.
func (b *PrivateBacking) Tracker() (dirtytrack.Tracker, error) { return dirtytrack.NewPagemap(b.mem) }

// Close implements Backing.
func (b *PrivateBacking) Close() error {
	var err error
	if b.space != nil {
		err = b.space.Close() // before what its goroutines use goes
	}
	mem := b.mem
	b.mem, b.space = nil, nil
	return errors.Join(err, release(mem), b.far.close())
}
