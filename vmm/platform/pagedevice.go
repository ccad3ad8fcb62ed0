package platform

import (
	"os"

	"seuss/vmm/internal/demand"
)

// UsePageDevice has machines page on demand by an open /dev/userfaultfd: for a process
// that has given up the right to open it. The device is kept.
func UsePageDevice(device *os.File) { demand.UseDevice(device) }
