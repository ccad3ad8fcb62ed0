package vmm

import (
	"errors"
	"fmt"

	"seuss/guest"
)

var (
	// ErrABI means that the kernel library in guest memory speaks another
	// version of the host/guest contract than this monitor, or that none is
	// there. The error that wraps it names both versions.
	ErrABI = errors.New("host/guest contract mismatch")

	// ErrGuestAddress means that a guest-physical range is not in guest memory.
	ErrGuestAddress = errors.New("guest address outside memory")

	// ErrState means that bytes are not a machine state that this build reads.
	ErrState = errors.New("machine state")

	// ErrNotQuiescent means that an operation needs a machine that is stopped
	// at its idle doorbell, and it is not.
	ErrNotQuiescent = errors.New("machine is not idle")

	// ErrBusy means that another goroutine is inside Run.
	ErrBusy = errors.New("machine is running")

	// ErrClosed means that the machine has been closed.
	ErrClosed = errors.New("closed")
)

// addressError reports a range of guest memory that does not exist.
func addressError(gpa GPA, n uint64, end GPA) error {
	return fmt.Errorf("%w: %d bytes at %#x, memory is [%#x, %#x)", ErrGuestAddress, n, uint64(gpa), uint64(guest.LowGPA), uint64(end))
}
