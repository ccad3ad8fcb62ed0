package images

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// Root looks things up among the files of a Spec, as a guest would: symbolic links are
// followed within them. It opens files of the host by the paths that the Spec gives.
type Root struct {
	files map[string]*File // by guest path; nil: a directory that a path implies
}

// NewRoot returns a view of files, which must not change as long as it is used.
func NewRoot(files []File) *Root {
	r := &Root{files: make(map[string]*File, len(files)+1)}
	for i := range files {
		r.files[files[i].GuestPath] = &files[i]
	}
	for i := range files {
		for dir := path.Dir(files[i].GuestPath); dir != "/"; dir = path.Dir(dir) {
			if _, ok := r.files[dir]; ok {
				break
			}
			r.files[dir] = nil
		}
	}
	if _, ok := r.files["/"]; !ok {
		r.files["/"] = nil
	}
	return r
}

// Lookup finds a path, with all links followed: it returns where that leads, and the
// entry there, nil for a directory that only other paths imply. What is not there is
// ErrNotFound.
func (r *Root) Lookup(guestPath string) (real string, f *File, err error) {
	real, err = resolvePath(guestPath, "/", func(dir, name string) (string, bool) {
		p := path.Join(dir, name)
		_, ok := r.files[p]
		return p, ok
	}, func(p string) (uint32, string, error) {
		switch f := r.files[p]; {
		case f == nil || f.Mode.IsDir():
			return modeDir, "", nil
		case f.Symlink != "":
			return modeSymlink, f.Symlink, nil
		}
		return modeRegular, "", nil
	}, true)
	if err != nil {
		return "", nil, err
	}
	return real, r.files[real], nil
}

// Names returns the names in a directory that begin with prefix, in no order; none if
// there is no such directory.
func (r *Root) Names(dir, prefix string) (names []string) {
	real, _, err := r.Lookup(dir)
	if err != nil {
		return nil
	}
	begin := path.Join(real, "x") // "/x" or "/dir/x"
	begin = begin[:len(begin)-1] + prefix
	for p := range r.files {
		if name := p[min(len(p), len(begin)-len(prefix)):]; strings.HasPrefix(p, begin) && name != "" && !strings.Contains(name, "/") {
			names = append(names, name)
		}
	}
	return names
}

// Content is an open regular file.
type Content interface {
	io.ReaderAt
	io.Closer
}

// Open opens the regular file at a path, with all links followed, and returns its size.
func (r *Root) Open(guestPath string) (c Content, size int64, err error) {
	real, f, err := r.Lookup(guestPath)
	if err != nil {
		return nil, 0, err
	}
	switch {
	case f == nil || f.Mode.Type() != 0:
		return nil, 0, fmt.Errorf("%s: %w: it is no regular file", real, ErrNotFound)
	case f.HostPath == "":
		return given{bytes.NewReader(f.Data)}, int64(len(f.Data)), nil
	}
	file, err := os.Open(f.HostPath)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", real, err)
	}
	st, err := file.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: f.HostPath, Err: fs.ErrInvalid}
	}
	if err != nil {
		file.Close()
		return nil, 0, fmt.Errorf("%s: %w", real, err)
	}
	return file, st.Size(), nil
}

type given struct{ *bytes.Reader }

func (given) Close() error { return nil }
