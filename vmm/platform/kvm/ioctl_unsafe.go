package kvm

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// handle is an open KVM file. The number is kept beside the file because
// os.File.Fd takes a lock, which the run path can do without.
type handle struct {
	file *os.File
	fd   uintptr
}

func newHandle(fd uintptr, name string) handle {
	f := os.NewFile(fd, name)
	return handle{file: f, fd: f.Fd()}
}

func (h *handle) close() error {
	if h.file == nil {
		return nil
	}
	f := h.file
	h.file = nil
	return f.Close()
}

// call is an ioctl whose argument is a plain number. A signal is not an error:
// the request is repeated.
func (h handle) call(name string, request uintptr, arg uintptr) (int, error) {
	for {
		n, _, errno := unix.Syscall(unix.SYS_IOCTL, h.fd, request, arg)
		if errno == 0 {
			return int(n), nil
		}
		if errno != unix.EINTR {
			return 0, fmt.Errorf("ioctl %s(%#x): %w", name, arg, errno)
		}
	}
}

// callPtr is an ioctl whose argument is a structure. The pointer stays a
// pointer up to the system call, so the structure may live on a stack.
func callPtr[T any](h handle, name string, request uintptr, arg *T) (int, error) {
	for {
		n, _, errno := unix.Syscall(unix.SYS_IOCTL, h.fd, request, uintptr(unsafe.Pointer(arg)))
		if errno == 0 {
			return int(n), nil
		}
		if errno != unix.EINTR {
			return 0, fmt.Errorf("ioctl %s: %w", name, errno)
		}
	}
}

// callBytes is callPtr for a structure of variable size.
func callBytes(h handle, name string, request uintptr, arg []byte) error {
	_, err := callPtr(h, name, request, unsafe.SliceData(arg))
	return err
}

// runOnce enters the guest once: KVM_RUN, api.rst 4.10. It does not repeat
// after a signal, which is how a kick arrives.
func (h handle) runOnce() unix.Errno {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, h.fd, kvmRun, 0)
	return errno
}
