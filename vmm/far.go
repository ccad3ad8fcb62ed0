package vmm

import (
	"bytes"
	"slices"

	"seuss/guest"
	"seuss/vmm/platform"
)

// mapFar begins to make the guest see what its list of far mappings, which the control
// page names, says now. fresh: it is another instance's. more tells whether there is
// something for the backing's FarStep to do.
func (m *Memory) mapFar(control []byte, fresh bool) (more bool, err error) {
	if le32(control[guest.ControlFarUsed:]) == 0 && !m.far {
		return false, nil
	}
	ranges := slices.Collect(platform.FarIn(bytes.Clone(control), m.Pages(), m.backing.Page))
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

// mapAllFar does all of it, for an instance that does not run yet.
func mapAllFar(m *Memory, control []byte) error {
	more, err := m.mapFar(control, true)
	for more && err == nil {
		more, err = m.backing.FarStep()
	}
	return err
}
