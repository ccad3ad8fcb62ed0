package vmm

import (
	"fmt"
	"time"

	"seuss/guest"
)

// owed is what the guest has rung for and the monitor has not done yet. The guest does
// not run before all is, so what it says of it in its memory stays as it is. The zero
// value is nothing.
type owed struct {
	giving     giving
	protecting pageRun
	far        bool // the far window is not what the guest's list says
	regions    regionCall
}

// sliceNS bounds, in ns, the host's work for the guest after which Run looks whether
// it has to stop. A slice takes one unit of work longer, which is less than that.
const sliceNS = int64(time.Millisecond)

func (o *owed) any() bool {
	return o.giving.active() || o.protecting.count > 0 || o.far || o.regions.active
}

// give notes n ranges that have to be zero, or that are on offer.
func (o *owed) give(control []byte, n uint64, offer bool) error {
	if n > guest.GiveRanges {
		return fmt.Errorf("the guest gives back %d ranges, at most %d are possible", n, guest.GiveRanges)
	}
	o.giving = giving{at: GPA(le64(control[guest.ControlGiveGPA:])), n: n, offer: offer}
	return nil
}

// protect notes pages whose page table entries have changed.
func (o *owed) protect(control []byte, mem *Memory) error {
	r := control[guest.ControlProtect:]
	first, count := le64(r[guest.RangeFirst:]), le64(r[guest.RangeCount:])
	if _, err := mem.pages(first, count); err != nil {
		return fmt.Errorf("protect: %w", err)
	}
	o.protecting = pageRun{first, count}
	return nil
}

// protectUnit bounds the pages that are protected at once: what the guest has stored
// to them may have to be copied.
const protectUnit = largePage / pageSize

// slice does some of it.
func (o *owed) slice(m *Machine) error {
	for until := hostNow() + sliceNS; o.any() && hostNow() < until; {
		if err := o.step(m); err != nil {
			*o = owed{}
			return err
		}
	}
	return nil
}

// step does a unit.
func (o *owed) step(m *Machine) error {
	mem, r := m.mem, &o.protecting
	switch {
	case o.regions.active:
		return o.regionStep(m)
	case o.far:
		var err error
		o.far, err = mem.backing.FarStep()
		return err
	case r.count == 0:
		return o.giving.step(mem)
	}
	n := min(r.count, protectUnit-r.first%protectUnit)
	err := mem.backing.Protect(r.first, n)
	r.first, r.count = r.first+n, r.count-n
	return err
}
