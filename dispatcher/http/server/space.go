package server

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// FreeSpace says what a directory's file system has for this user, and has in all.
func FreeSpace(dir string) (free, all uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return st.Bavail * uint64(st.Bsize), st.Blocks * uint64(st.Bsize), nil
}
