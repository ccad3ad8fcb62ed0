package demand

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Of include/uapi/linux/userfaultfd.h.
const (
	uffdAPI          = 0xaa
	userModeOnly     = 1 // UFFD_USER_MODE_ONLY
	registerMissing  = 1 // UFFDIO_REGISTER_MODE_MISSING
	eventPagefault   = 0x12
	featureMissShmem = 1 << 5 // UFFD_FEATURE_MISSING_SHMEM

	ioctlAPI        = 0xc018aa3f
	ioctlRegister   = 0xc020aa00
	ioctlUnregister = 0x8010aa01
	ioctlWake       = 0x8010aa02
	deviceNew       = 0xaa00 // USERFAULTFD_IOC_NEW of /dev/userfaultfd
)

type uffdioAPI struct{ api, features, ioctls uint64 }

type uffdioRange struct{ start, len uint64 }

type uffdioRegister struct {
	uffdioRange
	mode, ioctls uint64
}

// message is struct uffd_msg for a page fault.
type message struct {
	event   uint8
	_       [7]byte
	_       uint64 // flags
	address uint64
	_       uint64
}

const messageBytes = 32

// SyscallFlags are the flags of userfaultfd(2) with which a guest's process opens
// its descriptor: only its own code faults, so it needs no privilege.
const SyscallFlags = unix.O_CLOEXEC | unix.O_NONBLOCK | userModeOnly

// opened is /dev/userfaultfd, where it was opened before the right to do so was given
// up.
var opened atomic.Pointer[os.File]

// UseDevice has OpenOwn use a /dev/userfaultfd that is open. It keeps it.
func UseDevice(device *os.File) { opened.Store(device) }

// OpenOwn opens a descriptor for this process's own address space, faults of the
// kernel on its behalf (KVM's) included, which needs a privilege.
func OpenOwn() (int, error) {
	fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC|unix.O_NONBLOCK, 0, 0)
	if errno == 0 {
		return int(fd), nil
	}
	device := opened.Load()
	if device == nil {
		var err error
		if device, err = os.OpenFile("/dev/userfaultfd", os.O_RDWR, 0); err != nil {
			return -1, errors.Join(os.NewSyscallError("userfaultfd", errno), err)
		}
		defer device.Close()
	}
	fd, _, errno = unix.Syscall(unix.SYS_IOCTL, device.Fd(), deviceNew, unix.O_CLOEXEC|unix.O_NONBLOCK)
	if errno != 0 {
		return -1, os.NewSyscallError("USERFAULTFD_IOC_NEW", errno)
	}
	return int(fd), nil
}

// OpenUser opens a descriptor as a guest's process does.
func OpenUser() (int, error) {
	fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, SyscallFlags, 0, 0)
	if errno != 0 {
		return -1, os.NewSyscallError("userfaultfd", errno)
	}
	return int(fd), nil
}

// enable must be the first call on a descriptor.
func enable(fd int) error {
	a := uffdioAPI{api: uffdAPI, features: featureMissShmem}
	if err := ioctl(fd, ioctlAPI, unsafe.Pointer(&a)); err != nil {
		return fmt.Errorf("enable paging on demand: UFFDIO_API: %w", err)
	}
	return nil
}

func register(fd int, start, n uint64) error {
	r := uffdioRegister{uffdioRange: uffdioRange{start, n}, mode: registerMissing}
	err := ioctl(fd, ioctlRegister, unsafe.Pointer(&r))
	if errors.Is(err, unix.ENOMEM) { // the kernel says no ESRCH here, as the other ioctls do
		return fmt.Errorf("page %d bytes at %#x on demand: UFFDIO_REGISTER: the host has no memory, or the guest's process is gone: %w", n, start, err)
	}
	if err != nil {
		return fmt.Errorf("page %d bytes at %#x on demand: UFFDIO_REGISTER: %w", n, start, err)
	}
	return nil
}

func wake(fd int, start, n uint64) error {
	r := uffdioRange{start, n}
	return ioctl(fd, ioctlWake, unsafe.Pointer(&r))
}

func ioctl(fd int, request uintptr, arg unsafe.Pointer) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg))
		if errno == 0 {
			return nil
		}
		if errno != unix.EINTR {
			return errno
		}
	}
}

// readFaults reads the faults that wait, at most a few; none is no error.
func readFaults(fd int, each func(address uint64)) error {
	var m [4]message
	b := unsafe.Slice((*byte)(unsafe.Pointer(&m)), len(m)*messageBytes)
	n, err := unix.Read(fd, b)
	if err != nil {
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			return nil
		}
		return err
	}
	for i := range n / messageBytes {
		if m[i].event == eventPagefault {
			each(m[i].address)
		}
	}
	return nil
}

// AddressOf returns where mem lies.
func AddressOf(mem []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(mem)))) }
