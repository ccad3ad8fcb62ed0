package images

import (
	"io/fs"
	"slices"
)

// mountPoints are the directories on which the kernel library puts its own file
// systems, and where programs expect to be able to write.
var mountPoints = []File{
	{GuestPath: "/dev", Mode: fs.ModeDir | 0o755},
	{GuestPath: "/proc", Mode: fs.ModeDir | 0o755},
	{GuestPath: "/sys", Mode: fs.ModeDir | 0o755},
	{GuestPath: "/tmp", Mode: fs.ModeDir | fs.ModeSticky | 0o777},
}

// WithMountPoints returns files with the directories that every guest needs, where
// files does not have them.
func WithMountPoints(files []File) []File {
	files = slices.Clone(files)
	have := map[string]bool{}
	for _, f := range files {
		have[f.GuestPath] = true
	}
	for _, f := range mountPoints {
		if !have[f.GuestPath] {
			files = append(files, f)
		}
	}
	return files
}
