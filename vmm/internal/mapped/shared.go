package mapped

import (
	"fmt"
	"slices"

	"seuss/guest"
	"seuss/vmm/internal/x86"
	"seuss/vmm/platform"
)

// What guests share has guest-physical addresses of its own, between RAM and the device
// window, and a memory slot for each range: it is the slot that says what a guest may
// reach, and whether it may write, whatever it makes of its page tables. A slot is made
// when a range is first mapped, and taken away with it, at which KVM and the processor
// forget all ways there. A guest that maps nothing has none.

// sharedFirst and sharedEnd are where those addresses lie: within 39 bits, which every
// processor that runs guests has.
const (
	sharedFirst = guest.FarTablesGPA + guest.FarTablesBytes
	sharedEnd   = guest.DeviceGPA
)

// sharedRange is a range that is mapped.
type sharedRange struct {
	platform.FarRange
	slot int
	gpa  uint64
	mem  []byte
}

func (s sharedRange) holds(r *platform.FarRange) bool {
	return s.Of == r.Of && s.First <= r.First && r.First < s.First+s.Count
}

// addNext makes some entries of the next range that is to come.
func (b *Memory) addNext() error {
	f := &b.far
	if next := &f.added[0]; next.Of != nil {
		if err := b.showShared(*next); err != nil {
			return err
		}
	}
	r := takePages(&f.added, addedUnit)
	if r.Of == nil {
		f.set(r, x86.PageEntry)
		return nil
	}
	i := slices.IndexFunc(f.shared, func(s sharedRange) bool { return s.holds(&r) })
	s, bits := &f.shared[i], uint64(x86.PageEntry)
	if !r.Of.Writable {
		bits &^= x86.EntryWritable
	}
	r.RAM = s.gpa/pageSize + r.First - s.First
	f.set(r, bits)
	return nil
}

// showShared makes a range of a shared file memory of the guest's, unless it is.
func (b *Memory) showShared(r platform.FarRange) error {
	f := &b.far
	s := sharedRange{FarRange: r, gpa: sharedFirst}
	at := 0 // f.shared is in the order of guest-physical addresses
	for _, o := range f.shared {
		if o.holds(&r) {
			return nil
		}
	}
	size := (r.Count*pageSize + guest.ImageAlign - 1) &^ (guest.ImageAlign - 1)
	for ; at < len(f.shared) && f.shared[at].gpa-s.gpa < size; at++ {
		s.gpa = (f.shared[at].gpa + f.shared[at].Count*pageSize + guest.ImageAlign - 1) &^ (guest.ImageAlign - 1)
	}
	if s.gpa+size > sharedEnd {
		return fmt.Errorf("%d pages: no addresses are left for them", r.Count)
	}
	for slices.ContainsFunc(f.shared, func(o sharedRange) bool { return o.slot == s.slot }) {
		s.slot++
	}
	var err error
	if s.mem, err = mapShared(r.Of.File, int64(r.RAM*pageSize), r.Count*pageSize, r.Of.Writable); err != nil {
		return err
	}
	if b.slots != nil {
		if err := b.slots.MapShared(s.slot, s.mem, guest.GPA(s.gpa), r.Of.Writable); err != nil {
			_ = unmapShared(s.mem) // nobody has seen it
			return err
		}
	}
	f.shared = slices.Insert(f.shared, at, s)
	return nil
}

// dropShared takes the range away in which r lies, nil: all of them.
func (b *Memory) dropShared(r *platform.FarRange) error {
	f := &b.far
	for i := 0; i < len(f.shared); {
		s := f.shared[i]
		if r != nil && !s.holds(r) {
			i++
			continue
		}
		if b.slots != nil {
			if err := b.slots.UnmapShared(s.slot); err != nil {
				return err
			}
		}
		f.shared = slices.Delete(f.shared, i, i+1)
		f.leaving = append(f.leaving, s.mem)
	}
	return nil
}

// leaveUnit is how many bytes are unmapped at once: a fraction of a millisecond's work, where
// the guest has touched them all.
const leaveUnit = 1 << 20

// leave unmaps some of what was shared. It is out of the guest's reach already.
func (f *farTables) leave() error {
	mem := &f.leaving[0]
	some := (*mem)[:min(leaveUnit, len(*mem))]
	if *mem = (*mem)[len(some):]; len(*mem) == 0 {
		f.leaving = f.leaving[1:]
	}
	return unmapShared(some)
}
