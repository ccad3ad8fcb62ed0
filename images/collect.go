package images

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// collector gathers files of this host under the paths that they have here.
type collector struct {
	files map[string]File // by guest path
	// elfQueue holds regular files whose ELF dependencies are not yet
	// followed.
	elfQueue []string
	libs     *libraryIndex
}

func newCollector() *collector { return &collector{files: map[string]File{}} }

// addPath adds a file of the host and every symbolic link on the way to it,
// links among its parent directories (/lib -> usr/lib) included, so that the
// path works in the guest as it does here. It returns the path with all links
// resolved. A directory adds nothing but the links.
func (c *collector) addPath(p string) (string, error) {
	rest := strings.Split(p, "/")
	real := "/"
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		if part == "" || part == "." {
			continue
		}
		// real is free of links, so Join resolves ".." as Linux does.
		next := filepath.Join(real, part)
		if part == ".." {
			real = next
			continue
		}
		st, err := os.Lstat(next)
		if err != nil {
			return "", fmt.Errorf("collect %s: %w", p, err)
		}
		switch {
		case st.Mode()&fs.ModeSymlink != 0:
			if links++; links > maxFollow {
				return "", fmt.Errorf("collect %s: more than %d symbolic links", p, maxFollow)
			}
			target, err := c.addLink(next)
			if err != nil {
				return "", fmt.Errorf("collect %s: %w", p, err)
			}
			if strings.HasPrefix(target, "/") {
				real = "/"
			}
			rest = append(strings.Split(target, "/"), rest...)
			continue
		case st.Mode().IsRegular():
			if len(rest) > 0 {
				return "", fmt.Errorf("collect %s: %s is not a directory", p, next)
			}
			if _, ok := c.files[next]; !ok {
				c.files[next] = File{GuestPath: next, HostPath: next}
				c.elfQueue = append(c.elfQueue, next)
			}
		case !st.IsDir():
			return "", fmt.Errorf("collect %s: %s is %v, want a file, directory or link", p, next, st.Mode())
		}
		real = next
	}
	return real, nil
}

// addLink adds one symbolic link as it is and returns its target.
func (c *collector) addLink(p string) (string, error) {
	target, err := os.Readlink(p)
	if err != nil {
		return "", err
	}
	// The link's own time is left out: package scripts make links such as
	// those of update-alternatives anew, with no change in meaning.
	c.files[p] = File{GuestPath: p, Symlink: target}
	return target, nil
}

// addOptional is addPath, but a path that this host lacks is left out.
func (c *collector) addOptional(p string) error {
	_, err := c.addPath(p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// addData adds a file with given content.
func (c *collector) addData(p string, data []byte) {
	c.files[p] = File{GuestPath: p, Data: data, Mode: 0o644}
}

// addDir adds an empty directory.
func (c *collector) addDir(p string, mode fs.FileMode) {
	c.files[p] = File{GuestPath: p, Mode: fs.ModeDir | mode}
}

// sorted returns what was collected in the order of guest paths.
func (c *collector) sorted() []File {
	return slices.SortedFunc(maps.Values(c.files), func(a, b File) int {
		return cmp.Compare(a.GuestPath, b.GuestPath)
	})
}
