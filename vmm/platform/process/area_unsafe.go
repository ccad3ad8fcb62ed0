package process

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"seuss/vmm/platform/process/stub"
)

// mapArea maps the shared area of a stub.
func mapArea(f *os.File) (*stub.Area, []byte, error) {
	mem, err := unix.Mmap(int(f.Fd()), 0, stub.SharedSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, fmt.Errorf("map the stub's area of %d bytes: %w", stub.SharedSize, err)
	}
	return (*stub.Area)(unsafe.Pointer(unsafe.SliceData(mem))), mem, nil
}

// mapMemory maps guest memory of a memfd, aligned to 2 MiB.
func mapMemory(f *os.File, bytes uint64) ([]byte, error) {
	addr, err := unix.MmapPtr(int(f.Fd()), 0, nil, uintptr(bytes), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("map guest memory of %d bytes: %w", bytes, err)
	}
	return unsafe.Slice((*byte)(addr), bytes), nil
}

// Kernel structures of the system call filter, include/uapi/linux/seccomp.h.
type (
	seccompData struct {
		number      int32
		_           uint32 // architecture
		instruction uint64
		_           [6]uint64 // arguments
	}
	notification struct {
		id   uint64
		_    uint32 // process
		_    uint32 // flags
		data seccompData
	}
	response struct {
		id uint64
		_  int64  // value
		_  int32  // error
		_  uint32 // flags
	}
	addFD struct {
		id       uint64
		flags    uint32
		from, to uint32
		_        uint32 // flags of the new descriptor
	}
)

// Requests of include/uapi/linux/seccomp.h; the sizes in them are checked by a test.
const (
	notifReceive = 0xc0502100 // SECCOMP_IOCTL_NOTIF_RECV
	notifSend    = 0xc0182101 // SECCOMP_IOCTL_NOTIF_SEND
	notifAddFD   = 0x40182103 // SECCOMP_IOCTL_NOTIF_ADDFD
	notifFlags   = 0x40082104 // SECCOMP_IOCTL_NOTIF_SET_FLAGS, Linux 6.6

	wakeHere = 1 // SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP: wake the other side on this CPU

	respContinue = 1 // SECCOMP_USER_NOTIF_FLAG_CONTINUE
	addFDSet     = 1 // SECCOMP_ADDFD_FLAG_SETFD
)

func ioctl[T any](fd int, request uintptr, arg *T) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(arg)))
		if errno == 0 {
			return nil
		}
		if errno != unix.EINTR {
			return errno
		}
	}
}

// pollIn waits until fd can be read, at most ms milliseconds. hangup tells that
// nobody is left on the other side.
func pollIn(fd, ms int) (ready, hangup bool, err error) {
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	ts := unix.Timespec{Sec: int64(ms) / 1000, Nsec: int64(ms) % 1000 * 1e6}
	n, _, errno := unix.Syscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&fds[0])), 1, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
	if errno == unix.EINTR {
		return false, false, nil
	}
	if errno != 0 {
		return false, false, errno
	}
	return n > 0 && fds[0].Revents&unix.POLLIN != 0, n > 0 && fds[0].Revents&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0, nil
}

// unmapMemory unmaps what mapMemory mapped.
func unmapMemory(mem []byte) error {
	return unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(mem)), uintptr(len(mem)))
}
