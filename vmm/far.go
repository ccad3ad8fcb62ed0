package vmm

import (
	"bytes"
	"slices"

	"seuss/guest"
	"seuss/vmm/platform"
)

// mapFar makes the guest see what its list of far mappings, which the control page
// names, says now. fresh: it is another instance's.
func (m *Memory) mapFar(control []byte, fresh bool) error {
	if le32(control[guest.ControlFarUsed:]) == 0 && !m.far {
		return nil
	}
	ranges := slices.Collect(platform.FarIn(bytes.Clone(control), m.Pages(), m.backing.Page))
	for _, r := range ranges {
		for root := platform.FarRoot(r.First); root <= platform.FarRoot(r.First+r.Count-1); root++ {
			at := GPA(guest.PML4GPA + (guest.FarBase>>39+root)*8)
			if entry, err := m.ReadU64(at); err != nil || entry == platform.FarEntry(root) {
				continue
			}
			if err := m.WriteU64(at, platform.FarEntry(root)); err != nil {
				return err
			}
		}
	}
	m.far = true
	return m.backing.MapFar(ranges, fresh)
}
