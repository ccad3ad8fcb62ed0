package sealedtest

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// MemoryDir returns a directory in memory where there is such a file system, and room
// in it, which containers give little of: a kill loses nothing that was written, and
// PowerCut decides itself what is lost, so that a disk would only make tests slow.
func MemoryDir(t *testing.T) string {
	const memory, room = "/dev/shm", 1 << 30
	var st unix.Statfs_t
	if unix.Statfs(memory, &st) != nil || st.Bavail*uint64(st.Bsize) < room {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp(memory, "lineage-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
