package vmm

import (
	"fmt"
	"iter"

	"seuss/guest"
	"seuss/vmm/platform"
)

// Guards yields the guest's guards, ranges of pages (first, count) that its page
// tables let nobody touch.
func (m *Memory) Guards() iter.Seq2[uint64, uint64] {
	return platform.GuardsIn(m.backing.Page(guest.GuardsGPA/pageSize), m.ram/pageSize)
}

// guardOf finds the guard that an address lies in.
func (m *Memory) guardOf(address uint64) (first, count uint64, ok bool) {
	page := address / pageSize
	for first, count := range m.Guards() {
		if page >= first && page-first < count {
			return first, count, true
		}
	}
	return 0, 0, false
}

// stackReach is how far from a guard a stack pointer may be when the access that
// hit the guard was one of the stack's: a large frame is written from its far end.
const stackReach = 1 << 20

// describeGuard says what a fault in a guard means, "" for another one.
func describeGuard(mem *Memory, r *CrashReport) string {
	first, count, ok := mem.guardOf(r.Address)
	if !ok {
		return ""
	}
	start, end := first*pageSize, (first+count)*pageSize
	if r.Regs.RSP+stackReach >= start && r.Regs.RSP < end+stackReach {
		return fmt.Sprintf("the stack of thread %d is exhausted: %#x lies in the guard below it, %#x-%#x", r.Thread, r.Address, start, end)
	}
	return fmt.Sprintf("%#x lies in a guard, %#x-%#x, which nothing may touch", r.Address, start, end)
}
