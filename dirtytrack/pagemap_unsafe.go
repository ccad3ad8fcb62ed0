package dirtytrack

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pageRegion is struct page_region of include/uapi/linux/fs.h.
type pageRegion struct {
	start, end uint64 // addresses
	categories uint64
}

// scanArg is struct pm_scan_arg of include/uapi/linux/fs.h.
type scanArg struct {
	size              uint64
	flags             uint64
	start, end        uint64 // addresses
	walkEnd           uint64 // OUT: address at which the walk ended
	vec, vecLen       uint64 // pageRegion buffer and its length
	maxPages          uint64
	categoryInverted  uint64
	categoryMask      uint64
	categoryAnyOfMask uint64
	returnMask        uint64
}

// ioctlPagemapScan is PAGEMAP_SCAN, _IOWR('f', 16, struct pm_scan_arg).
const ioctlPagemapScan = 3<<30 | uint(unsafe.Sizeof(scanArg{}))<<16 | 'f'<<8 | 16

// pagemapScan runs one PAGEMAP_SCAN and returns how many regions it filled in.
// arg and regions live on the heap, where Go moves nothing; the kernel reads
// the buffer's address out of arg, so the buffer is kept alive explicitly.
func pagemapScan(f *os.File, arg *scanArg, regions []pageRegion) (int, error) {
	arg.size = uint64(unsafe.Sizeof(*arg))
	arg.vec = uint64(uintptr(unsafe.Pointer(unsafe.SliceData(regions))))
	arg.vecLen = uint64(len(regions))
	for {
		n, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), uintptr(ioctlPagemapScan), uintptr(unsafe.Pointer(arg)))
		runtime.KeepAlive(regions)
		runtime.KeepAlive(f)
		switch {
		case errno == unix.EINTR:
			continue
		case errno != 0:
			return 0, os.NewSyscallError("ioctl PAGEMAP_SCAN", errno)
		case n > uintptr(len(regions)):
			return 0, fmt.Errorf("ioctl PAGEMAP_SCAN: %d regions for a buffer of %d", n, len(regions))
		}
		return int(n), nil
	}
}

// addressOf returns the address of the first byte of mem.
func addressOf(mem []byte) uint64 {
	return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(mem))))
}
