package pages

import (
	"errors"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapAligned maps a file for writing, from its beginning, at a multiple of hugeSize.
func mapAligned(f *os.File, bytes uint64) ([]byte, error) {
	total := uintptr(bytes) + hugeSize
	start, err := unix.MmapPtr(-1, 0, nil, total, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	head := -uintptr(start) % hugeSize
	at := unsafe.Add(start, head)
	_, err = unix.MmapPtr(int(f.Fd()), 0, at, uintptr(bytes), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_FIXED)
	runtime.KeepAlive(f)
	if err != nil {
		return nil, errors.Join(os.NewSyscallError("mmap", err), unix.MunmapPtr(start, total))
	}
	if head > 0 {
		err = unix.MunmapPtr(start, head)
	}
	if tail := total - head - uintptr(bytes); err == nil && tail > 0 {
		err = unix.MunmapPtr(unsafe.Add(at, bytes), tail)
	}
	return unsafe.Slice((*byte)(at), bytes), os.NewSyscallError("munmap", err)
}

// unmapAligned ends what mapAligned made.
func unmapAligned(mem []byte) error {
	err := unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(mem)), uintptr(len(mem)))
	return os.NewSyscallError("munmap", err)
}
