package mapped

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"seuss/guest"
)

// mapShared maps n bytes of a file from an offset.
func mapShared(f *os.File, off int64, n uint64, writable bool) ([]byte, error) {
	prot := unix.PROT_READ
	if writable {
		prot |= unix.PROT_WRITE
	}
	addr, err := unix.MmapPtr(int(f.Fd()), off, nil, uintptr(n), prot, unix.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	return unsafe.Slice((*byte)(addr), n), nil
}

// unmapShared ends that.
func unmapShared(mem []byte) error {
	return os.NewSyscallError("munmap", unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(mem)), uintptr(len(mem))))
}

// spareBytes of addresses are left to the process where its address space is bounded
// (RLIMIT_AS): a machine that took the last of it would take it from Go's heap, which ends
// the process.
const spareBytes = 256 << 20

// reserve maps n bytes of zero memory, aligned to 2 MiB so that the host can
// back it with huge pages at the same boundaries as the guest maps it.
func reserve(n uint64) ([]byte, error) {
	total := uintptr(n) + guest.ImageAlign + spareBytes
	addr, err := unix.MmapPtr(-1, 0, nil, total, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	head := -uintptr(addr) % guest.ImageAlign
	if head > 0 {
		if err := unix.MunmapPtr(addr, head); err != nil {
			return nil, os.NewSyscallError("munmap", err)
		}
	}
	end := (head + uintptr(n) + pageSize - 1) &^ (pageSize - 1)
	if tail := total - end; tail > 0 {
		if err := unix.MunmapPtr(unsafe.Add(addr, end), tail); err != nil {
			return nil, os.NewSyscallError("munmap", err)
		}
	}
	return unsafe.Slice((*byte)(unsafe.Add(addr, head)), n), nil
}

// release unmaps what reserve mapped.
func release(mem []byte) error {
	err := unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(mem)), uintptr(len(mem)))
	return os.NewSyscallError("munmap", err)
}

// mapFixed replaces window by a private mapping of f at off, or by zero memory
// if f is nil.
func mapFixed(window []byte, f *os.File, off int64) error {
	flags, fd := unix.MAP_PRIVATE|unix.MAP_FIXED|unix.MAP_NORESERVE, -1
	if f != nil {
		fd = int(f.Fd())
	} else {
		flags |= unix.MAP_ANONYMOUS
	}
	_, err := unix.MmapPtr(fd, off, unsafe.Pointer(unsafe.SliceData(window)), uintptr(len(window)),
		unix.PROT_READ|unix.PROT_WRITE, flags)
	runtime.KeepAlive(f)
	return os.NewSyscallError("mmap", err)
}
