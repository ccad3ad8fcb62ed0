package layer

import (
	"io/fs"
	"syscall"
)

// diskBytes is what a file takes on disk: layers have holes.
func diskBytes(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		const unit = 512 // of st_blocks, stat(2)
		return st.Blocks * unit
	}
	return info.Size()
}
