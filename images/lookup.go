package images

import (
	"fmt"
	"io"
	"path"
	"sort"

	"seuss/images/internal/object"
)

// Entry is a file, directory or symbolic link of an image.
type Entry struct {
	Path   string // guest path by which it was reached, links resolved
	Number uint32 // inode number
	Inode  Inode
	Target string // of a symbolic link
}

// Lookup finds a guest path and follows symbolic links. A path that does not
// exist is ErrNotFound.
func (m *Image) Lookup(guestPath string) (Entry, error) { return m.find(guestPath, true) }

// Lstat is Lookup, but does not follow a link in the last part.
func (m *Image) Lstat(guestPath string) (Entry, error) { return m.find(guestPath, false) }

func (m *Image) find(guestPath string, follow bool) (Entry, error) {
	root, err := m.entry("/", 0)
	if err != nil {
		return Entry{}, err
	}
	// An entry whose link target cannot be read is carried with its error.
	type found struct {
		Entry
		err error
	}
	e, err := resolvePath(guestPath, found{Entry: root}, func(dir found, name string) (found, bool) {
		num, ok := m.child(&dir.Inode, name)
		if !ok {
			return found{}, false
		}
		e, err := m.entry(path.Join(dir.Path, name), num)
		return found{e, err}, true
	}, func(f found) (uint32, string, error) {
		return f.Inode.Mode, f.Target, f.err
	}, follow)
	if err != nil {
		return Entry{}, fmt.Errorf("image %s: %w", m.config.Name, err)
	}
	return e.Entry, nil
}

// child finds a name in a directory by binary search.
func (m *Image) child(dir *Inode, name string) (uint32, bool) {
	list := m.dirents[dir.Off : dir.Off+dir.Size]
	i := sort.Search(len(list), func(i int) bool { return string(m.name(&list[i])) >= name })
	if i == len(list) || string(m.name(&list[i])) != name {
		return 0, false
	}
	return list[i].Inode, true
}

// entry describes an inode, and reads the target of a link.
func (m *Image) entry(guestPath string, num uint32) (Entry, error) {
	e := Entry{Path: guestPath, Number: num, Inode: m.inodes[num]}
	if e.Inode.IsSymlink() {
		buf := make([]byte, e.Inode.Size)
		if err := object.ReadFull(m.content, buf, e.Inode.Off); err != nil {
			return e, fmt.Errorf("read link %s: %w", guestPath, err)
		}
		e.Target = string(buf)
	}
	return e, nil
}

// Content reads the content of a regular file.
func (m *Image) Content(e Entry) (*io.SectionReader, error) {
	if !e.Inode.IsRegular() {
		return nil, fmt.Errorf("image %s: %s is not a regular file", m.config.Name, e.Path)
	}
	return m.section(&e.Inode), nil
}

// section reads the content of a regular file.
func (m *Image) section(n *Inode) *io.SectionReader {
	return io.NewSectionReader(regular{m.content, n}, 0, int64(n.Size))
}

// regular reads a regular file, of which a part may lie in its loaded layout.
type regular struct {
	image io.ReaderAt
	inode *Inode
}

func (f regular) ReadAt(p []byte, off int64) (n int, err error) {
	if head := int64(f.inode.Head); off < head {
		n, err = f.image.ReadAt(p[:min(int64(len(p)), head-off)], int64(f.inode.LoadOff)+off)
		if err != nil || n == len(p) {
			return n, err
		}
	}
	more, err := f.image.ReadAt(p[n:], int64(f.inode.Off)+off+int64(n)-int64(f.inode.Head))
	return n + more, err
}

// Loaded reads the loaded layout of an ET_DYN object.
func (m *Image) Loaded(e Entry) (*io.SectionReader, error) {
	if e.Inode.LoadOff == 0 {
		return nil, fmt.Errorf("image %s: %s has no loaded layout", m.config.Name, e.Path)
	}
	return io.NewSectionReader(m.content, int64(e.Inode.LoadOff), int64(e.Inode.LoadBytes)), nil
}

// Walk calls fn for every entry, a directory before what it holds, each
// directory in the order of its names. It stops at the first error.
func (m *Image) Walk(fn func(Entry) error) error {
	type todo struct {
		path string
		num  uint32
	}
	stack := []todo{{"/", 0}}
	for len(stack) > 0 {
		t := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		e, err := m.entry(t.path, t.num)
		if err != nil {
			return fmt.Errorf("image %s: %w", m.config.Name, err)
		}
		if err := fn(e); err != nil {
			return err
		}
		if !e.Inode.IsDir() {
			continue
		}
		for k := e.Inode.Size; k > 0; k-- {
			d := &m.dirents[e.Inode.Off+k-1]
			stack = append(stack, todo{path.Join(t.path, string(m.name(d))), d.Inode})
		}
	}
	return nil
}
