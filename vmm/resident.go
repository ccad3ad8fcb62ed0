package vmm

import (
	"fmt"

	"seuss/vmm/platform"
)

// Resident asks the kernel. It reads the whole list of a process's mappings, which
// takes a millisecond or more.
func (m *Memory) Resident() (platform.Resident, error) {
	r, err := m.backing.Resident()
	if err != nil {
		return r, fmt.Errorf("resident guest memory: %w", err)
	}
	return r, nil
}
