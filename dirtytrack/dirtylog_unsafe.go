package dirtytrack

import (
	"encoding/binary"
	"math/bits"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kvmDirtyLog is struct kvm_dirty_log of include/uapi/linux/kvm.h.
type kvmDirtyLog struct {
	slot   uint32
	_      uint32
	bitmap uint64 // address
}

// KVM ioctls of include/uapi/linux/kvm.h.
const (
	ioctlGetDirtyLog     = 1<<30 | uint(unsafe.Sizeof(kvmDirtyLog{}))<<16 | 0xae<<8 | 0x42
	ioctlResetDirtyRings = 0xae<<8 | 0xc7
)

// getDirtyLog fills bitmap, which must be mapped memory, with the slot's log.
func getDirtyLog(vm *os.File, slot uint32, bitmap []byte) error {
	arg := kvmDirtyLog{slot: slot, bitmap: addressOf(bitmap)}
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, vm.Fd(), uintptr(ioctlGetDirtyLog), uintptr(unsafe.Pointer(&arg)))
		runtime.KeepAlive(bitmap)
		runtime.KeepAlive(vm)
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
			continue
		}
		return os.NewSyscallError("ioctl KVM_GET_DIRTY_LOG", errno)
	}
}

// resetDirtyRings tells KVM that the harvested ring entries may be reused and
// their pages protected again; it returns how many that were.
func resetDirtyRings(vm *os.File) (int, error) {
	for {
		n, _, errno := unix.Syscall(unix.SYS_IOCTL, vm.Fd(), ioctlResetDirtyRings, 0)
		runtime.KeepAlive(vm)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
			continue
		}
		return 0, os.NewSyscallError("ioctl KVM_RESET_DIRTY_RINGS", errno)
	}
}

// addBitmap adds the set bits of the first n bits of b.
func addBitmap(into *PageSet, b []byte, n uint64) {
	for i := 0; i+8 <= len(b); i += 8 {
		for w := binary.NativeEndian.Uint64(b[i:]); w != 0; w &= w - 1 {
			if page := uint64(i)*8 + uint64(bits.TrailingZeros64(w)); page < n {
				into.Add(page)
			}
		}
	}
}

// dirtyGFN is struct kvm_dirty_gfn: an entry of a vCPU's dirty ring.
type dirtyGFN struct {
	flags  uint32
	slot   uint32
	offset uint64 // page within the slot
}

// dirtyEntries casts a mapped ring.
func dirtyEntries(ring []byte) []dirtyGFN {
	return unsafe.Slice((*dirtyGFN)(unsafe.Pointer(unsafe.SliceData(ring))), uintptr(len(ring))/unsafe.Sizeof(dirtyGFN{}))
}
