package bench

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// CachedBytes is how much of the files below a directory is in the page cache, by mincore.
func CachedBytes(dir string) (total uint64, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		n, err := cachedOf(path)
		total += n
		return err
	})
	return total, err
}

func cachedOf(path string) (cached uint64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || st.Size() == 0 {
		return 0, err
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return 0, fmt.Errorf("map %s: %w", path, err)
	}
	page := os.Getpagesize()
	pages := make([]byte, (len(mem)+page-1)/page)
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(unsafe.SliceData(mem))), uintptr(len(mem)), uintptr(unsafe.Pointer(unsafe.SliceData(pages))))
	if err := unix.Munmap(mem); err != nil {
		return 0, err
	}
	if errno != 0 {
		return 0, fmt.Errorf("mincore %s: %w", path, errno)
	}
	for _, p := range pages {
		cached += uint64(p&1) * uint64(page)
	}
	return cached, nil
}
