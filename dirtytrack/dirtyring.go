package dirtytrack

import (
	"fmt"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Flags of struct kvm_dirty_gfn: the kernel sets dirty, we set reset, the
// kernel clears both. Documentation/virt/kvm/api.rst, 8.29.
const (
	gfnDirty = 1 << 0
	gfnReset = 1 << 1
)

// dirtyRingPageOffset is KVM_DIRTY_LOG_PAGE_OFFSET on x86: the page of a
// vCPU's file at which its ring is mapped.
const dirtyRingPageOffset = 64

// DirtyRing finds written pages with KVM's dirty ring: KVM appends the page of
// each first store to a ring in shared memory. In contrast to the dirty log,
// its cost grows with the pages written and not with the size of the slot.
//
// It sees the guest's stores only. The vCPU must not run during Collect. When
// the ring is nearly full KVM makes the vCPU exit (KVM_EXIT_DIRTY_RING_FULL),
// so that no store is lost; the guest goes on after Collect.
type DirtyRing struct {
	vm      *os.File
	slot    uint32
	pages   uint64
	ring    []byte
	entries []dirtyGFN
	next    int // entry that the kernel fills next
}

var _ Tracker = (*DirtyRing)(nil)

// NewDirtyRing maps the ring of a vCPU. ringBytes is what KVM_CAP_DIRTY_LOG_RING
// was enabled with on the VM before the vCPU was created; the slot has been
// created with KVM_MEM_LOG_DIRTY_PAGES. The caller keeps owning both files.
func NewDirtyRing(vm, vcpu *os.File, slot uint32, pages, ringBytes uint64) (*DirtyRing, error) {
	if pages == 0 || ringBytes == 0 || ringBytes%PageSize != 0 {
		return nil, fmt.Errorf("dirty ring of %d bytes over slot %d of %d pages: need whole pages", ringBytes, slot, pages)
	}
	ring, err := unix.Mmap(int(vcpu.Fd()), dirtyRingPageOffset*PageSize, int(ringBytes), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("dirty ring: map %d bytes (was KVM_CAP_DIRTY_LOG_RING enabled on this VM with that size?): %w", ringBytes, err)
	}
	return &DirtyRing{vm: vm, slot: slot, pages: pages, ring: ring, entries: dirtyEntries(ring)}, nil
}

// Name implements Tracker.
func (d *DirtyRing) Name() string { return "kvm-dirty-ring" }

// Arm implements Tracker: it harvests the ring and forgets it.
func (d *DirtyRing) Arm() error { return d.harvest(nil) }

// Collect implements Tracker. It also starts the next interval.
func (d *DirtyRing) Collect(into *PageSet) error {
	if into.Cap() < d.pages {
		return fmt.Errorf("dirty ring of slot %d: the slot has %d pages, the page set holds only %d", d.slot, d.pages, into.Cap())
	}
	return d.harvest(into)
}

func (d *DirtyRing) harvest(into *PageSet) error {
	taken := 0
	for taken < len(d.entries) {
		e := &d.entries[d.next]
		// The kernel publishes slot and offset by setting the flag.
		if atomic.LoadUint32(&e.flags)&gfnDirty == 0 {
			break
		}
		if into != nil && e.slot == d.slot {
			if e.offset >= d.pages {
				return fmt.Errorf("dirty ring of slot %d: entry for page %d of %d", d.slot, e.offset, d.pages)
			}
			into.Add(e.offset)
		}
		atomic.StoreUint32(&e.flags, gfnReset)
		d.next = (d.next + 1) % len(d.entries)
		taken++
	}
	// Since Linux 6.16 the kernel stops at a signal and returns what it has done.
	const tries = 100
	reset := 0
	for range tries {
		n, err := resetDirtyRings(d.vm)
		if err != nil {
			return fmt.Errorf("dirty ring of slot %d: %w", d.slot, err)
		}
		if reset += n; reset >= taken {
			break
		}
	}
	if reset != taken {
		return fmt.Errorf("dirty ring of slot %d: harvested %d entries, the kernel reset %d", d.slot, taken, reset)
	}
	return nil
}

// Close implements Tracker.
func (d *DirtyRing) Close() error {
	if d.ring == nil {
		return nil
	}
	ring := d.ring
	d.ring, d.entries = nil, nil
	if err := unix.Munmap(ring); err != nil {
		return fmt.Errorf("dirty ring of slot %d: unmap: %w", d.slot, err)
	}
	return nil
}
