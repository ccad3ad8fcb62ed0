package dirtytrack

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// DirtyLog finds written pages with KVM's dirty log: the hypervisor
// write-protects the pages of a memory slot and notes each first store.
// Documentation/virt/kvm/api.rst of the Linux source, 4.8.
//
// It sees the guest's stores only, not the monitor's own writes, and reports
// more than was written where KVM maps a page writable on a read. Reading the
// log re-protects the pages, so that each costs the guest a fault when it is
// next written; that is why it is not the default.
type DirtyLog struct {
	vm    *os.File
	slot  uint32
	pages uint64
	bits  []byte // mapped memory: the kernel gets its address
}

var _ Tracker = (*DirtyLog)(nil)

// NewDirtyLog returns a tracker over the pages of a memory slot, which the
// caller has created with KVM_MEM_LOG_DIRTY_PAGES. The caller keeps owning vm,
// the VM's file, and keeps it open until Close.
func NewDirtyLog(vm *os.File, slot uint32, pages uint64) (*DirtyLog, error) {
	if pages == 0 {
		return nil, fmt.Errorf("dirty log of slot %d: a slot of no pages", slot)
	}
	// The kernel writes whole longs: api.rst, "padded to 64 bits".
	bits, err := unix.Mmap(-1, 0, int((pages+63)/64*8), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("dirty log of slot %d: map a bitmap for %d pages: %w", slot, pages, err)
	}
	d := &DirtyLog{vm: vm, slot: slot, pages: pages, bits: bits}
	if err := d.Arm(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Name implements Tracker.
func (d *DirtyLog) Name() string { return "kvm-dirty-log" }

// Arm implements Tracker: it reads the log, which clears it, and forgets it.
func (d *DirtyLog) Arm() error { return d.read() }

// read fetches the log since the last read and protects its pages again.
func (d *DirtyLog) read() error {
	err := getDirtyLog(d.vm, d.slot, d.bits)
	switch {
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("dirty log of slot %d: the slot does not exist or does not log dirty pages: %w", d.slot, err)
	case errors.Is(err, unix.ENXIO):
		return fmt.Errorf("dirty log of slot %d: the VM uses a dirty ring: %w", d.slot, err)
	case err != nil:
		return fmt.Errorf("dirty log of slot %d: %w", d.slot, err)
	}
	return nil
}

// Collect implements Tracker. It also starts the next interval: a page is
// reported once for all its stores up to now.
func (d *DirtyLog) Collect(into *PageSet) error {
	if into.Cap() < d.pages {
		return fmt.Errorf("dirty log of slot %d: the slot has %d pages, the page set holds only %d", d.slot, d.pages, into.Cap())
	}
	if err := d.read(); err != nil {
		return err
	}
	addBitmap(into, d.bits, d.pages)
	return nil
}

// Close implements Tracker.
func (d *DirtyLog) Close() error {
	if d.bits == nil {
		return nil
	}
	bits := d.bits
	d.bits = nil
	if err := unix.Munmap(bits); err != nil {
		return fmt.Errorf("dirty log of slot %d: unmap bitmap: %w", d.slot, err)
	}
	return nil
}
