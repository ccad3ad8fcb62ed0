package process

import (
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"seuss/guest"
	"seuss/vmm/platform"
)

// In the guest's far window pages of its memory are mapped a second time. Those
// mappings of the stub's are of the memfd, so the pages have to be the memfd's: then
// both ways lead to the same. Pages of a snapshot are copied there (Claim). What guests
// share is mapped from its own file, which the stub is lent for reading alone if its guest
// may not write: nobody can then map it for more.

const (
	farFirst = guest.FarBase / pageSize
	farPages = guest.FarBytes / pageSize
)

// far is what a memory knows of the far window.
type far struct {
	wanted, mapped []platform.FarRange // as it has to be, and as it is in the stub
	changed        bool                // those may differ
	unclaimed      bool                // pages show files that may have been claimed for wanted
	covered        bool                // the window is one mapping that allows nothing, but for mapped
	unknown        bool                // mapped and covered do not hold: some mappings were made, others may not have been
}

// MapFar implements platform.Backing.
func (m *memory) MapFar(ranges []platform.FarRange, _ bool) error {
	m.far.wanted, m.far.changed, m.far.unclaimed = slices.Clone(ranges), true, true
	return nil
}

// FarStep implements platform.Backing: it is done when the stub's mappings are brought up
// to date, where somebody may want the guest to stop as well.
func (m *memory) FarStep() (more bool, err error) { return false, nil }

// claimUnit is how many pages are made the memfd's between two looks whether somebody
// wants the guest to stop: copying them takes a fraction of a millisecond.
const claimUnit = 128

// claimFar makes the pages of the window the memfd's.
func (m *memory) claimFar(stop func() bool) error {
	if !m.far.unclaimed {
		return nil
	}
	for _, r := range m.far.wanted {
		if r.Of != nil {
			continue
		}
		for done := uint64(0); done < r.Count; done += claimUnit {
			if err := m.Claim(r.RAM+done, min(r.Count-done, claimUnit)); err != nil {
				return err
			}
			if stop() {
				return errKicked
			}
		}
	}
	m.far.unclaimed = false
	return nil
}

// addFar adds the mappings that make the window what it has to be. What is not used
// of it is one mapping, or lies between those that are: however long a guest goes on,
// its process does not collect mappings.
func (m *memory) addFar(add func(first, count uint64, f *os.File, off int64, prot, flags uint64) error) error {
	cover := func(first, count uint64) error {
		return add(first, count, m.file, int64((first-farFirst)*pageSize), unix.PROT_NONE, ownFlags)
	}
	f := &m.far
	if f.unknown || !f.covered && len(f.wanted) > 0 || len(f.mapped) > 0 && len(f.wanted) == 0 {
		if err := cover(farFirst, farPages); err != nil {
			return err
		}
		f.covered, f.mapped = true, nil
	}
	f.unknown = true // until all are made
	for r := range platform.FarWithout(f.mapped, f.wanted) {
		if err := cover(r.First, r.Count); err != nil {
			return err
		}
	}
	for r := range platform.FarWithout(f.wanted, f.mapped) {
		file, prot := m.file, uint64(guestProt)
		if r.Of != nil {
			if file, prot = r.Of.File, unix.PROT_READ; r.Of.Writable {
				prot |= unix.PROT_WRITE
			}
		}
		if err := add(r.First, r.Count, file, int64(r.RAM*pageSize), prot, ownFlags); err != nil {
			return err
		}
	}
	return nil
}

// done notes that the stub's mappings are what they have to be.
func (f *far) done() {
	if f.changed {
		f.mapped, f.changed, f.unknown = f.wanted, false, false
	}
}

// Forget implements platform.Backing: what the guest has access to is what the monitor maps.
func (m *memory) Forget() error { return nil }
