package images

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
)

// Dir returns the Spec of an image with the directory at p as its root file
// system. Symbolic links are kept as they are. Devices, sockets and FIFOs are
// left out and counted in Spec.Skipped. The caller fills in Kernel, Program
// and Argv, and Name where the directory's own name cannot name an image.
func Dir(p string) (Spec, error) {
	spec, err := dir(p)
	if err != nil {
		return Spec{}, fmt.Errorf("collect directory %s: %w", p, err)
	}
	return spec, nil
}

func dir(p string) (Spec, error) {
	root, err := filepath.Abs(p)
	if err != nil {
		return Spec{}, err
	}
	// The directory itself may be named through a link; WalkDir would stop.
	if root, err = filepath.EvalSymlinks(root); err != nil {
		return Spec{}, err
	}
	if st, err := os.Stat(root); err != nil {
		return Spec{}, err
	} else if !st.IsDir() {
		return Spec{}, fmt.Errorf("not a directory but %v", st.Mode())
	}
	var spec Spec
	if name := filepath.Base(root); checkName(name) == nil {
		spec.Name = name
	}
	err = filepath.WalkDir(root, func(host string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, host)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		f := File{GuestPath: path.Join("/", filepath.ToSlash(rel)), Mtime: info.ModTime().Unix()}
		switch mode := info.Mode(); {
		case mode.IsDir():
			f.Mode = mode
		case mode.IsRegular():
			f.Mode, f.HostPath = mode, host
		case mode&fs.ModeSymlink != 0:
			if f.Symlink, err = os.Readlink(host); err != nil {
				return err
			}
		default:
			spec.Skipped++
			return nil
		}
		spec.Files = append(spec.Files, f)
		return nil
	})
	if err != nil {
		return Spec{}, err
	}
	return spec, nil
}

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
	have := map[string]bool{}
	for _, f := range files {
		have[f.GuestPath] = true
	}
	out := slices.Clone(files)
	for _, f := range mountPoints {
		if !have[f.GuestPath] {
			out = append(out, f)
		}
	}
	return out
}
