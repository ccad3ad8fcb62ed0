package debian

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"seuss/images"
)

// Limits of Linux, as in package images.
const (
	maxLinks   = 40   // MAXSYMLINKS
	maxSymlink = 4095 // PATH_MAX without the NUL
)

// libraryPathVariable has the dynamic loader search further directories.
const libraryPathVariable = "LD_LIBRARY_PATH"

// Collector gathers files of a root file system under the paths that they have
// there.
type Collector struct {
	root  string                 // host directory of that file system; "" = the host's own
	files map[string]images.File // by guest path
	db    *database
	// elfQueue holds ways in which collected files may be loaded whose needs are not
	// yet followed.
	elfQueue    []loading
	libraryPath string // LD_LIBRARY_PATH of the program to come
}

// Open returns a Collector for the file system at root, "" being the host's own. env
// is the environment that the image's program will have.
func Open(ctx context.Context, root string, env []string) (*Collector, error) {
	db, err := readPackages(ctx, root)
	if err != nil {
		return nil, err
	}
	c := newCollector(root)
	c.db = db
	for _, e := range env {
		if value, ok := strings.CutPrefix(e, libraryPathVariable+"="); ok {
			c.libraryPath = value
		}
	}
	return c, nil
}

func newCollector(root string) *Collector {
	return &Collector{root: root, files: map[string]images.File{}}
}

// Host returns where the host has a path of the tree, which must be free of links.
func (c *Collector) Host(p string) string { return filepath.Join("/", c.root, p) }

// Resolve follows a path as Linux does, with absolute links counted from the tree's own
// root, and returns it with all links resolved and what lies there. visit, if not nil,
// is told each symbolic link on the way.
func (c *Collector) Resolve(p string, visit func(link, target string)) (string, fs.FileInfo, error) {
	rest := strings.Split(p, "/")
	real := "/"
	info, err := os.Lstat(c.Host(real))
	if err != nil {
		return "", nil, err
	}
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		if part == "" || part == "." {
			continue
		}
		if !info.IsDir() {
			return "", nil, &fs.PathError{Op: "walk", Path: c.Host(real), Err: syscall.ENOTDIR}
		}
		// real is free of links, so Join resolves ".." as Linux does.
		next := filepath.Join(real, part)
		st, err := os.Lstat(c.Host(next))
		if err != nil {
			return "", nil, err
		}
		if st.Mode()&fs.ModeSymlink == 0 {
			real, info = next, st
			continue
		}
		if links++; links > maxLinks {
			return "", nil, fmt.Errorf("more than %d symbolic links", maxLinks)
		}
		target, err := os.Readlink(c.Host(next))
		if err != nil {
			return "", nil, err
		}
		if visit != nil {
			visit(next, target)
		}
		if strings.HasPrefix(target, "/") {
			real = "/"
			if info, err = os.Lstat(c.Host(real)); err != nil {
				return "", nil, err
			}
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return real, info, nil
}

// Add adds a file and every symbolic link on the way to it, links among its
// parent directories (/lib -> usr/lib) included, so that the path works in the guest
// as it does here. It returns the path with all links resolved. A directory adds
// nothing but the links.
func (c *Collector) Add(p string) (string, error) {
	real, info, err := c.Resolve(p, func(link, target string) { c.files[link] = linkTo(link, target) })
	if err != nil {
		return "", fmt.Errorf("collect %s: %w", p, err)
	}
	switch mode := info.Mode(); {
	case mode.IsRegular():
		if _, ok := c.files[real]; !ok {
			c.files[real] = images.File{GuestPath: real, HostPath: c.Host(real)}
			c.elfQueue = append(c.elfQueue, loading{path: real})
		}
		if p != real {
			c.elfQueue = append(c.elfQueue, loading{path: p})
		}
	case strings.HasPrefix(real, "/dev/") && p != real: // a link to a device: guests have their own
	case !mode.IsDir():
		return "", fmt.Errorf("collect %s: %s is %v, want a file, directory or link", p, c.Host(real), mode)
	}
	return real, nil
}

// linkTo is a symbolic link of the image. The link's own time is left out: package
// scripts make links such as those of update-alternatives anew, with no change in
// meaning.
func linkTo(link, target string) images.File { return images.File{GuestPath: link, Symlink: target} }

// AddLink adds one symbolic link as it is, whatever it leads to, if there is one.
func (c *Collector) AddLink(p string) error {
	target, err := os.Readlink(c.Host(p))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EINVAL) { // not there, or no link
		return nil
	}
	if err != nil {
		return fmt.Errorf("collect %s: %w", p, err)
	}
	c.files[p] = linkTo(p, target)
	return nil
}

// AddOptional is Add, but a path that this host lacks is left out.
func (c *Collector) AddOptional(p string) error {
	_, err := c.Add(p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// AddData adds a file with given content.
func (c *Collector) AddData(p string, data []byte) {
	c.files[p] = images.File{GuestPath: p, Data: data, Mode: 0o644}
}

// AddDir adds an empty directory.
func (c *Collector) AddDir(p string, mode fs.FileMode) {
	c.files[p] = images.File{GuestPath: p, Mode: fs.ModeDir | mode}
}

// Has reports whether a path was collected.
func (c *Collector) Has(p string) bool {
	_, ok := c.files[p]
	return ok
}

// Paths returns the paths of what was collected, sorted.
func (c *Collector) Paths() []string { return slices.Sorted(maps.Keys(c.files)) }

// Files returns what was collected, in the order of guest paths.
func (c *Collector) Files() []images.File {
	return slices.SortedFunc(maps.Values(c.files), func(a, b images.File) int {
		return cmp.Compare(a.GuestPath, b.GuestPath)
	})
}

// AddTree adds every file below a directory, if there is one. A link that leads
// nowhere is in the tree as it is.
func (c *Collector) AddTree(dir string) error {
	if _, err := os.Lstat(c.Host(dir)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return filepath.WalkDir(c.Host(dir), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		p = path.Join(dir, strings.TrimPrefix(p, c.Host(dir)))
		if d.Type()&fs.ModeSymlink != 0 {
			return c.AddOptional(p)
		}
		_, err = c.Add(p)
		return err
	})
}
