package images

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"seuss/images/direct"
	"seuss/images/internal/object"
	"seuss/images/layer"
)

// node is one file, directory or link of the tree that Build writes.
type node struct {
	name     string
	guest    string // full guest path
	mode     uint32 // st_mode
	mtime    int64
	size     uint64 // content or link target; unused for a directory
	explicit bool   // named in the Spec, not only implied by a path
	dated    bool   // a layer says when it was changed, be it in 1970

	uid, gid uint32
	same     *node // this is only a further name of that file, which may have lost its own; nil: it is not

	children []*node // directory, sorted by name once the tree is complete; of byName
	byName   map[string]*node
	link     string // symbolic link

	stored    *layer.File       // regular file: where its content is, or else inside, host, or data
	inside    *io.SectionReader // the own file of a Base
	host      string
	data      []byte
	hostMtime int64 // of the host file in ns when planned, to notice a change

	object    *object.Object // the ELF in a regular file, or nil
	objectErr error          // why an ELF cannot be loaded

	// Filled by the plan.
	inode   uint32
	nlink   uint32
	off     uint64
	aligned bool // content starts at a page
	// congruent, if not 0, is a guest address of the file's first byte: the two lie at
	// the same place in their stretches of 2 MiB.
	congruent uint64

	// Loaded layout of an ET_DYN object, 0 = none.
	loadOff, loadBytes uint64
	head               uint64 // so much of the content lies at loadOff
	direct             direct.Plan
}

// inLayer reports whether the content of a regular file lies in a layer.
func (n *node) inLayer() bool { return n.stored != nil && n.mode&modeTypeMask == modeRegular }

func (n *node) isDir() bool { return n.mode&modeTypeMask == modeDir }

// content is an open regular file.
type content interface {
	io.Reader
	io.ReaderAt
}

// open returns the content of a regular file, and the function to end with.
func (n *node) open() (content, func() error, error) {
	if n.stored != nil {
		return n.stored.Open(), func() error { return nil }, nil
	}
	if n.inside != nil {
		return n.inside, func() error { return nil }, nil
	}
	if n.host == "" {
		return bytes.NewReader(n.data), func() error { return nil }, nil
	}
	f, err := os.Open(n.host)
	if err != nil {
		return nil, nil, fmt.Errorf("open content of %s: %w", n.guest, err)
	}
	st, err := f.Stat()
	if err == nil && (uint64(st.Size()) != n.size || st.ModTime().UnixNano() != n.hostMtime) {
		err = fmt.Errorf("%s changed while the image was built (%d bytes, now %d)", n.host, n.size, st.Size())
	}
	if err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("read content of %s: %w", n.guest, err)
	}
	return f, f.Close, nil
}

// buildTree arranges the base and the layers of a Spec, and its files above them, as a tree
// with sorted directories.
func buildTree(spec *Spec) (*node, error) {
	root, err := mergeLayers(spec.Base, spec.Layers)
	if err != nil {
		return nil, err
	}
	below := spec.Base != nil || len(spec.Layers) > 0
	given := make(map[string]bool, len(spec.Files))
	for i := range spec.Files {
		f := &spec.Files[i]
		if err := checkGuestPath(f.GuestPath); err != nil {
			return nil, err
		}
		n, err := newNode(f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.GuestPath, err)
		}
		n.uid, n.gid = f.UID, f.GID
		if given[f.GuestPath] {
			return nil, fmt.Errorf("%s is given twice", n.guest)
		}
		given[f.GuestPath] = true
		if err := root.insert(n, below); err != nil {
			return nil, err
		}
	}
	return root, root.finish(0)
}

func newDir(name, guest string) *node {
	return &node{name: name, guest: guest, mode: modeDir | 0o755, byName: map[string]*node{}}
}

// newNode decides what kind of entry a File is and looks at its host file.
func newNode(f *File) (*node, error) {
	name := path.Base(f.GuestPath)
	special := f.Mode.Type()
	switch {
	case special == fs.ModeDir:
		if f.HostPath != "" || f.Symlink != "" || f.Data != nil {
			return nil, fmt.Errorf("a directory cannot have content")
		}
		n := newDir(name, f.GuestPath)
		if f.Mode != fs.ModeDir {
			n.mode = modeDir | linuxMode(f.Mode)
		}
		n.mtime, n.explicit = max(f.Mtime, 0), true
		return n, nil
	case f.Symlink != "":
		if f.HostPath != "" || f.Data != nil {
			return nil, fmt.Errorf("a symbolic link cannot have content")
		}
		if len(f.Symlink) > maxSymlink || strings.IndexByte(f.Symlink, 0) >= 0 {
			return nil, fmt.Errorf("link target %.64q with %d bytes is not a path", f.Symlink, len(f.Symlink))
		}
		return &node{
			name: name, guest: f.GuestPath, mode: modeSymlink | 0o777,
			link: f.Symlink, size: uint64(len(f.Symlink)), mtime: max(f.Mtime, 0), explicit: true,
		}, nil
	case special != 0:
		return nil, fmt.Errorf("mode %v: an image holds files, directories and symbolic links only", f.Mode)
	}
	n := &node{
		name: name, guest: f.GuestPath, mode: modeRegular | linuxMode(f.Mode),
		data: f.Data, host: f.HostPath, size: uint64(len(f.Data)), mtime: max(f.Mtime, 0), explicit: true,
	}
	if f.HostPath == "" {
		if f.Mode == 0 {
			n.mode = modeRegular | 0o644
		}
		return n, n.readObject()
	}
	if f.Data != nil {
		return nil, fmt.Errorf("both a host file and content are given")
	}
	st, err := os.Stat(f.HostPath)
	if err != nil {
		return nil, fmt.Errorf("find content: %w", err)
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("content %s is no regular file but %v", f.HostPath, st.Mode())
	}
	n.size, n.hostMtime = uint64(st.Size()), st.ModTime().UnixNano()
	if f.Mode == 0 {
		n.mode = modeRegular | linuxMode(st.Mode())
	}
	if f.Mtime == 0 {
		n.mtime = max(st.ModTime().Unix(), 0)
	}
	return n, n.readObject()
}

// readObject notes the ELF inside a regular file. A damaged ELF is carried as
// plain data; Build reports it in Info.NotLoadable.
func (n *node) readObject() error {
	r, done, err := n.open()
	if err != nil {
		return err
	}
	o, err := object.Read(r, int64(n.size))
	switch {
	case err == nil:
		n.object = o
	case !errors.Is(err, object.ErrNotELF):
		n.objectErr = err
	}
	if err := done(); err != nil {
		return fmt.Errorf("close content: %w", err)
	}
	return nil
}

// insert puts n at its path and makes the directories above it. Only above layers it may
// replace what is there, and lie behind a symbolic link.
func (root *node) insert(n *node, above bool) error {
	if n.guest == "/" {
		if !n.isDir() {
			return fmt.Errorf("the root must be a directory")
		}
		root.mode, root.mtime, root.explicit, root.uid, root.gid = n.mode, n.mtime, true, n.uid, n.gid
		return nil
	}
	dir, err := root.directoryOf(n, above)
	if err != nil {
		return err
	}
	old := dir.byName[n.name]
	switch {
	case old != nil && old.isDir() && n.isDir():
		old.mode, old.mtime, old.explicit, old.dated, old.uid, old.gid = n.mode, n.mtime, true, false, n.uid, n.gid
	case old == nil || above:
		dir.byName[n.name] = n
	default:
		return fmt.Errorf("%s is given twice", n.guest)
	}
	return nil
}

// directoryOf returns the directory that n belongs into.
func (root *node) directoryOf(n *node, links bool) (*node, error) {
	if links {
		dir, _, err := root.parent(n.guest[1:], true)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n.guest, err)
		}
		return dir, nil
	}
	dir := root
	parts := strings.Split(n.guest[1:], "/")
	for i, part := range parts[:len(parts)-1] {
		next := dir.byName[part]
		if next == nil {
			next = newDir(part, "/"+strings.Join(parts[:i+1], "/"))
			dir.byName[part] = next
		}
		if !next.isDir() {
			return nil, fmt.Errorf("%s: %s above it is not a directory", n.guest, next.guest)
		}
		dir = next
	}
	return dir, nil
}

// finish sorts every directory and dates the implied ones. A path is bounded like that of
// any Linux path, which bounds the depth.
func (n *node) finish(pathLen int) error {
	n.children = slices.SortedFunc(maps.Values(n.byName), func(a, b *node) int { return strings.Compare(a.name, b.name) })
	var newest int64
	for _, c := range n.children {
		if pathLen+1+len(c.name) > maxSymlink {
			return fmt.Errorf("%.64s…: its path has more than %d bytes", c.guest, maxSymlink)
		}
		if c.isDir() {
			if err := c.finish(pathLen + 1 + len(c.name)); err != nil {
				return err
			}
		}
		newest = max(newest, c.file().mtime)
	}
	if n.mtime == 0 && !n.dated {
		n.mtime = newest
	}
	return nil
}

// resolve finds a guest path in the tree and follows symbolic links.
func (root *node) resolve(p string) (*node, error) {
	return resolvePath(p, root, func(dir *node, name string) (*node, bool) {
		c, ok := dir.byName[name]
		if ok {
			c = c.file()
		}
		return c, ok
	}, func(n *node) (kind uint32, target string, err error) {
		return n.mode, n.link, nil
	}, true)
}

// resolvePath walks an absolute path as Linux does (path_resolution(7)) over
// any kind of tree. ".." is taken along the walked directories. The last part
// is followed when it is a link and followLast is set.
func resolvePath[T any](p string, root T, child func(T, string) (T, bool), describe func(T) (mode uint32, target string, err error), followLast bool) (T, error) {
	var none T
	rest := strings.Split(p, "/")
	above := []T{root}
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		dir := above[len(above)-1]
		mode, _, err := describe(dir)
		if err != nil {
			return none, err
		}
		if mode&modeTypeMask != modeDir {
			return none, fmt.Errorf("%s: %w: a part of the path is not a directory", p, ErrNotFound)
		}
		switch part {
		case "", ".":
			continue
		case "..":
			above = above[:max(1, len(above)-1)]
			continue
		}
		next, ok := child(dir, part)
		if !ok {
			return none, fmt.Errorf("%s: %w: no entry %q", p, ErrNotFound, part)
		}
		mode, target, err := describe(next)
		if err != nil {
			return none, err
		}
		if mode&modeTypeMask != modeSymlink || len(rest) == 0 && !followLast {
			above = append(above, next)
			continue
		}
		if links++; links > maxFollow {
			return none, fmt.Errorf("%s: %w: more than %d symbolic links", p, ErrNotFound, maxFollow)
		}
		if strings.HasPrefix(target, "/") {
			above = above[:1]
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return above[len(above)-1], nil
}
