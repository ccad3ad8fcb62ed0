package confine

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"seuss/vmm/platform"
)

// pageDevice is root's alone on most hosts. Machines need it for faults of KVM's.
const pageDevice = "/dev/userfaultfd"

// openPageDevice opens it for root, who may be somebody else after execve: 0 if there
// is none.
func openPageDevice() (fd int, err error) {
	if os.Geteuid() != 0 {
		return 0, nil
	}
	fd, err = unix.Open(pageDevice, unix.O_RDWR, 0) // not close-on-exec
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return 0, nil // what cannot be paged is read before
	}
	if err != nil {
		return 0, fmt.Errorf("open %s: %w", pageDevice, err)
	}
	return fd, nil
}

// takePageDevice hands it to whoever makes machines.
func (c *Confinement) takePageDevice() {
	if fd := c.carried.PageDevice; fd > 0 {
		unix.CloseOnExec(fd)
		platform.UsePageDevice(os.NewFile(uintptr(fd), pageDevice))
	}
}
