package vmm

import (
	"fmt"

	"seuss/vmm/platform"
)

// Resident asks the kernel, which looks at each page of the guest's: that takes a
// millisecond or more.
func (m *Memory) Resident() (platform.Resident, error) {
	r, err := m.backing.Resident()
	if err != nil {
		return r, fmt.Errorf("resident guest memory: %w", err)
	}
	return r, nil
}
