package vmm

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"seuss/guest"
	"seuss/vmm/platform"
)

// mapFar begins to make the guest see what its list of far mappings, which the control
// page names, says now, beside what it shares. fresh: it is another instance's. more tells
// whether there is something for the backing's FarStep to do.
func (m *Memory) mapFar(control []byte, fresh bool) (more bool, err error) {
	if le32(control[guest.ControlFarUsed:]) == 0 && !m.far && len(m.shared) == 0 {
		return false, nil
	}
	ranges, err := farRanges(m, control)
	if err != nil {
		return false, err
	}
	for _, r := range ranges {
		for root := platform.FarRoot(r.First); root <= platform.FarRoot(r.First+r.Count-1); root++ {
			at := GPA(guest.PML4GPA + (guest.FarBase>>39+root)*8)
			if entry, err := m.ReadU64(at); err != nil || entry == platform.FarEntry(root) {
				continue
			}
			if err := m.WriteU64(at, platform.FarEntry(root)); err != nil {
				return false, err
			}
		}
	}
	m.far = true
	return true, m.backing.MapFar(ranges, fresh)
}

// mapShared begins to make the guest see other ranges of what it shares. After an error it
// sees what it did.
func mapShared(m *Memory, control []byte, ranges []platform.FarRange) (more bool, err error) {
	before := m.shared
	m.shared = ranges
	if more, err = m.mapFar(control, false); err != nil {
		m.shared = before
	}
	return more, err
}

// farRanges are what the guest's list says and what it shares, in ascending order.
func farRanges(m *Memory, control []byte) ([]platform.FarRange, error) {
	var ranges []platform.FarRange
	if le32(control[guest.ControlFarUsed:]) != 0 || m.far {
		ranges = slices.Collect(platform.FarIn(bytes.Clone(control), m.Pages(), m.backing.Page))
	}
	if len(m.shared) == 0 {
		return ranges, nil
	}
	ranges = append(ranges, m.shared...)
	slices.SortFunc(ranges, func(a, b platform.FarRange) int { return cmp.Compare(a.First, b.First) })
	for i := 1; i < len(ranges); i++ {
		if a, b := ranges[i-1], ranges[i]; a.First+a.Count > b.First { // a kernel library sees to that
			return nil, fmt.Errorf("the guest maps memory and regions at the same address, %#x: %w", b.First*pageSize, unix.EINVAL)
		}
	}
	return ranges, nil
}

// mapAllFar does all of it, for an instance that does not run yet and shares nothing.
func mapAllFar(m *Memory, control []byte) error {
	m.shared = nil
	more, err := m.mapFar(control, true)
	for more && err == nil {
		more, err = m.backing.FarStep()
	}
	return err
}
