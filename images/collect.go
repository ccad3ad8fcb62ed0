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
	"syscall"
)

// collector gathers files of a root file system under the paths that they have
// there.
type collector struct {
	root  string          // host directory of that file system; "" = the host's own
	files map[string]File // by guest path
	// elfQueue holds ways in which collected files may be loaded whose needs are not
	// yet followed.
	elfQueue    []loading
	libraryPath string // LD_LIBRARY_PATH of the program to come
}

func newCollector(root string) *collector {
	return &collector{root: root, files: map[string]File{}}
}

// host returns where the host has a path of the tree, which must be free of links.
func (c *collector) host(p string) string { return filepath.Join("/", c.root, p) }

// walk follows a path as Linux does, with absolute links counted from the tree's own
// root, and returns it with all links resolved and what lies there. visit, if not nil,
// is told each symbolic link on the way.
func (c *collector) walk(p string, visit func(link, target string)) (string, fs.FileInfo, error) {
	rest := strings.Split(p, "/")
	real := "/"
	info, err := os.Lstat(c.host(real))
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
			return "", nil, &fs.PathError{Op: "walk", Path: c.host(real), Err: syscall.ENOTDIR}
		}
		// real is free of links, so Join resolves ".." as Linux does.
		next := filepath.Join(real, part)
		st, err := os.Lstat(c.host(next))
		if err != nil {
			return "", nil, err
		}
		if st.Mode()&fs.ModeSymlink == 0 {
			real, info = next, st
			continue
		}
		if links++; links > maxFollow {
			return "", nil, fmt.Errorf("more than %d symbolic links", maxFollow)
		}
		target, err := os.Readlink(c.host(next))
		if err != nil {
			return "", nil, err
		}
		if visit != nil {
			visit(next, target)
		}
		if strings.HasPrefix(target, "/") {
			real = "/"
			if info, err = os.Lstat(c.host(real)); err != nil {
				return "", nil, err
			}
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return real, info, nil
}

// addPath adds a file and every symbolic link on the way to it, links among its
// parent directories (/lib -> usr/lib) included, so that the path works in the guest
// as it does here. It returns the path with all links resolved. A directory adds
// nothing but the links.
func (c *collector) addPath(p string) (string, error) {
	real, info, err := c.walk(p, func(link, target string) { c.files[link] = linkTo(link, target) })
	if err != nil {
		return "", fmt.Errorf("collect %s: %w", p, err)
	}
	switch mode := info.Mode(); {
	case mode.IsRegular():
		if _, ok := c.files[real]; !ok {
			c.files[real] = File{GuestPath: real, HostPath: c.host(real)}
			c.elfQueue = append(c.elfQueue, loading{path: real})
		}
		if p != real {
			c.elfQueue = append(c.elfQueue, loading{path: p})
		}
	case !mode.IsDir():
		return "", fmt.Errorf("collect %s: %s is %v, want a file, directory or link", p, c.host(real), mode)
	}
	return real, nil
}

// linkTo is a symbolic link of the image. The link's own time is left out: package
// scripts make links such as those of update-alternatives anew, with no change in
// meaning.
func linkTo(link, target string) File { return File{GuestPath: link, Symlink: target} }

// addLink adds one symbolic link as it is, whatever it leads to, if there is one.
func (c *collector) addLink(p string) error {
	target, err := os.Readlink(c.host(p))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EINVAL) { // not there, or no link
		return nil
	}
	if err != nil {
		return fmt.Errorf("collect %s: %w", p, err)
	}
	c.files[p] = linkTo(p, target)
	return nil
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
