// Package mapped keeps a guest's memory in the monitor's own address space: files are
// mapped copy-on-write, and a guest that runs in the same mapping shares everything
// with the monitor at all times. KVM and the fake platform use it, and whoever needs
// guest memory without a guest.
//
// Page numbers count from the machine's first page; the far window's from address 0.
// A Memory owns its address space until Close, and what it pages in on demand is
// served by goroutines of package demand. Its methods are those of platform.Backing,
// for one goroutine at a time; there is no lock but platform.Paging's.
package mapped

import (
	"errors"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"seuss/dirtytrack"
	"seuss/guest"
	"seuss/vmm/internal/demand"
	"seuss/vmm/platform"
)

const pageSize = guest.PageSize

// Memory is a guest's memory.
//
// Pages that are filled on demand are reported by the kernel, for KVM's accesses
// too. Go code must never be the one who touches such a page: while it waited, the
// garbage collector could not stop it, nor let the page be filled. So they are
// filled before any access of the monitor's (Claim, Page, Populate).
type Memory struct {
	mem    []byte
	paging platform.Paging
	space  *demand.Space // nil until a Pager is mapped
	barred bool          // the host cannot page on demand
	small  bool          // PreferHuge is refused
	slots  Slots         // nil: no guest runs in it
	far    farTables
}

var _ platform.Backing = (*Memory)(nil)

// New reserves address space, aligned to 2 MiB. Without huge it never
// asks the host for huge pages.
func New(bytes uint64, huge bool) (*Memory, error) {
	mem, err := reserve(bytes)
	if err != nil {
		return nil, err
	}
	b := &Memory{mem: mem, small: !huge}
	b.keepSmall(mem)
	return b, nil
}

// Bytes implements platform.Backing.
func (b *Memory) Bytes() []byte { return b.mem }

// Shared implements platform.Backing.
func (b *Memory) Shared() bool { return true }

// Claim implements platform.Backing.
func (b *Memory) Claim(first, count uint64) error { return b.paging.Fill(first, count) }

func (b *Memory) window(first, count uint64) []byte {
	return b.mem[first*pageSize : (first+count)*pageSize]
}

// MapFile implements platform.Backing.
func (b *Memory) MapFile(first, count uint64, f *os.File, off int64) error {
	b.paging.Lay(first, count, nil, 0)
	return mapFixed(b.window(first, count), f, off)
}

// Paging implements platform.Backing.
func (b *Memory) Paging() *platform.Paging { return &b.paging }

// MapPager implements platform.Backing.
func (b *Memory) MapPager(first, count uint64, p platform.Pager, page uint64) error {
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
func (b *Memory) pages() bool {
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

// MapZero implements platform.Backing.
func (b *Memory) MapZero(first, count uint64) error {
	b.paging.Lay(first, count, nil, 0)
	window := b.window(first, count)
	if err := mapFixed(window, nil, 0); err != nil {
		return err
	}
	b.keepSmall(window)
	return nil
}

// keepSmall has zeros backed by ordinary pages also on a host that gives huge ones to those
// who do not ask, if no huge ones are wanted.
func (b *Memory) keepSmall(window []byte) {
	if b.small {
		_ = unix.Madvise(window, unix.MADV_NOHUGEPAGE) // a kernel without huge pages refuses that
	}
}

// Populate implements platform.Backing. On a kernel without MADV_POPULATE_WRITE (before
// Linux 5.14) it does nothing, since the pages then merely fault in later.
func (b *Memory) Populate(first, count uint64) error {
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

// Discard implements platform.Backing.
func (b *Memory) Discard(first, count uint64) error {
	return unix.Madvise(b.window(first, count), unix.MADV_DONTNEED)
}

// PreferHuge implements platform.Backing.
func (b *Memory) PreferHuge(first, count uint64) bool {
	return !b.small && hugeOffered() && unix.Madvise(b.window(first, count), unix.MADV_HUGEPAGE) == nil
}

// hugeOffered tells whether the host gives huge pages to those who ask.
var hugeOffered = sync.OnceValue(func() bool {
	b, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled")
	return err == nil && !strings.Contains(string(b), "[never]")
})

// Protect implements platform.Backing. KVM keeps copies of a guest's page table entries
// that only an instruction at ring 0 would drop. It also drops them when the
// protection of the host's mapping changes.
func (b *Memory) Protect(first, count uint64) error {
	window := b.window(first, count)
	if err := unix.Mprotect(window, unix.PROT_READ); err != nil {
		return os.NewSyscallError("mprotect", err)
	}
	return os.NewSyscallError("mprotect", unix.Mprotect(window, unix.PROT_READ|unix.PROT_WRITE))
}

// Forget implements platform.Backing.
func (b *Memory) Forget() error {
	if b.slots == nil {
		return nil
	}
	return b.slots.Forget()
}

// Page implements platform.Backing.
func (b *Memory) Page(page uint64) []byte {
	if b.paging.Fill(page, 1) != nil {
		return guest.ZeroPage[:] // whoever runs the guest, or checks the page, learns why
	}
	return b.window(page, 1)
}

// Resident implements platform.Backing: copies of file pages, and pages of no file, are the
// guest's own.
func (b *Memory) Resident() (platform.Resident, error) {
	p, err := dirtytrack.NewPagemap(b.mem)
	if err != nil {
		return platform.Resident{}, err
	}
	private, shared, err := p.Resident()
	return platform.Resident{Private: private * pageSize, Shared: shared * pageSize}, errors.Join(err, p.Close())
}

// Tracker implements platform.Backing with the host's page map.
func (b *Memory) Tracker() (dirtytrack.Tracker, error) { return dirtytrack.NewPagemap(b.mem) }

// Close implements platform.Backing.
func (b *Memory) Close() error {
	var err error
	if b.space != nil {
		err = b.space.Close() // before what its goroutines use goes
	}
	mem := b.mem
	b.mem, b.space = nil, nil
	return errors.Join(err, release(mem), b.far.close())
}
