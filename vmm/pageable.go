package vmm

import (
	"golang.org/x/sys/unix"

	"seuss/vmm/internal/demand"
)

// CanPage says whether guests' memory can be filled while they run, from this
// process's privileges: own of machines under KVM, whose faults are the kernel's, and
// child of guests that are processes. Nil means that it can.
func CanPage() (own, child error) {
	fd, own := demand.OpenOwn()
	if own == nil {
		own = unix.Close(fd)
	}
	if fd, child = demand.OpenUser(); child == nil {
		child = unix.Close(fd)
	}
	return own, child
}
