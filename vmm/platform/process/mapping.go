package process

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"seuss/guest"
	"seuss/vmm/platform/process/stub"
)

// How the stub's mappings are brought up to date.

// errKicked means that a kick came before all was done. What was done is kept.
var errKicked = errors.New("the mappings of the guest's process are not up to date yet")

// batch is a list of mappings for the stub and the files that it needs.
type batch struct {
	calls []stub.Call
	files []*os.File
	stale []stretch // pages that it brings up to date
	paged []stretch // of those, the ones that may be missing
}

// add appends a mapping, and reports false where the batch has no room.
func (b *batch) add(first, count uint64, f *os.File, off int64, prot, flags uint64) bool {
	slot := slices.Index(b.files, f)
	if len(b.calls) == stub.Calls-1 || slot < 0 && len(b.files) == stub.WindowFds {
		return false
	}
	if slot < 0 {
		slot = len(b.files)
		b.files = append(b.files, f)
	}
	b.calls = append(b.calls, stub.Call{Number: unix.SYS_MMAP, Args: [6]uint64{
		first * pageSize, count * pageSize, prot, flags, uint64(stub.FDWindow + slot), uint64(off)}})
	return true
}

// flush brings the stub's mappings up to date.
func (m *memory) flush() error { return m.flushUnless(func() bool { return false }) }

// flushUnless is flush, but between two batches it asks whether to stop (errKicked).
func (m *memory) flushUnless(stop func() bool) error {
	if err := m.syncGuards(stop); err != nil {
		return err
	}
	if err := m.claimFar(stop); err != nil {
		return err
	}
	if m.stale.Len() == 0 && !m.far.changed {
		return nil
	}
	var b batch
	add := func(first, count uint64, f *os.File, off int64, prot, flags uint64) error {
		if b.add(first, count, f, off, prot, flags) {
			return nil
		}
		if err := m.apply(&b); err != nil {
			return err
		}
		if stop() {
			return errKicked
		}
		b = batch{}
		b.add(first, count, f, off, prot, flags)
		return nil
	}
	if m.far.changed {
		if err := m.addFar(add); err != nil {
			return err
		}
	}
	if err := m.addStale(&b, stop, add); err != nil {
		return err
	}
	if err := m.apply(&b); err != nil {
		return err
	}
	m.far.done()
	m.stale.Clear()
	return nil
}

// lookUnit is how many pages' entries are looked at between two looks whether somebody
// wants the guest to stop: that takes a fraction of a millisecond.
const lookUnit = 1 << 14

// addStale adds mappings for the pages that are not up to date.
func (m *memory) addStale(b *batch, stop func() bool, add func(first, count uint64, f *os.File, off int64, prot, flags uint64) error) error {
	tables, protected, looked := m.newTableReader(), 0, uint64(0)
	for first, count := range m.stale.Runs() {
		if low := uint64(guest.LowGPA / pageSize); first < low { // mapped for nobody
			count -= min(count, low-first)
			first = low
		}
		for count > 0 {
			var n uint64
			var err error
			prot := tables.prot(first)
			if prot != guestProt {
				if protected++; protected > maxProtected {
					tables.base, prot = 0, guestProt
				}
			}
			shown := m.shown.Has(first)
			if shown {
				part := m.below.find(first).part(first, count)
				for n = 1; n < min(part.count, lookUnit) && m.shown.Has(first+n) && tables.prot(first+n) == prot; n++ {
				}
				err = add(first, n, part.source.file, part.off, prot, fileFlags)
			} else {
				for n = 1; n < min(count, lookUnit) && !m.shown.Has(first+n) && tables.prot(first+n) == prot; n++ {
				}
				err = add(first, n, m.file, int64(first*pageSize), prot, ownFlags)
			}
			if err != nil {
				return err
			}
			b.stale = append(b.stale, stretch{first, n})
			if shown {
				b.paged = m.appendPaged(b.paged, first, n)
			}
			first, count = first+n, count-n
			if looked += n; looked >= lookUnit {
				if err := m.apply(b); err != nil {
					return err
				}
				if *b, looked = (batch{}), 0; stop() {
					return errKicked
				}
			}
		}
	}
	return nil
}

// apply has the stub make a batch of mappings.
func (m *memory) apply(b *batch) error {
	if err := m.vm.proc.remap(b); err != nil {
		return err
	}
	if err := registerPaged(m.space, b.paged); err != nil {
		return err
	}
	for _, s := range b.stale {
		m.stale.RemoveRange(s.first, s.count)
	}
	return nil
}

// remap has the stub make a batch of mappings. The files are lent to it for as
// long as that takes: they are put into the descriptor table of the parked
// stub, which the kernel says it is, and are closed by the last call of the list.
func (p *proc) remap(b *batch) error {
	if len(b.calls) == 0 {
		return nil
	}
	if err := p.settle(); err != nil {
		return err
	}
	for i, f := range b.files {
		a := addFD{id: p.parked, flags: addFDSet, from: uint32(f.Fd()), to: uint32(stub.FDWindow + i)}
		if err := ioctl(p.notify, notifAddFD, &a); err != nil {
			return fmt.Errorf("lend %s to the guest's process: %w", f.Name(), err)
		}
	}
	n := copy(p.area.Calls[:], b.calls)
	p.area.Calls[n] = stub.Call{Number: unix.SYS_CLOSE_RANGE, Args: [6]uint64{stub.FDWindow, stub.FDWindow + stub.WindowFds - 1}}
	if err := p.make(n + 1); err != nil {
		return err
	}
	for i := range b.calls {
		c := &p.area.Calls[i]
		if c.Result != int64(b.calls[i].Args[0]) {
			return fmt.Errorf("map %d bytes at %#x into the guest's process: %w", c.Args[1], c.Args[0], unix.Errno(-c.Result))
		}
	}
	if r := p.area.Calls[n].Result; r != 0 {
		return fmt.Errorf("close what was lent to the guest's process: %w", unix.Errno(-r))
	}
	return nil
}
