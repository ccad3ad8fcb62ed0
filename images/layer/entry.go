package layer

import (
	"fmt"
	"io"
	"iter"
)

// Entry is what a layer says of one path.
type Entry struct {
	Path string // "" is the root
	// Hides: what the layers below have at this path, and below it, is gone. Opaque:
	// what they have below it is gone.
	Hides, Opaque bool
	// File is what is there; nil: nothing, and the entry only hides. Names of one file
	// have the same *File.
	File *File
}

// File is a file, directory or symbolic link of a layer.
type File struct {
	layer *Layer
	n     *inode
	// LinkTo, if not "", is the path in the layers below of what this is a name of; the
	// file has nothing else then.
	LinkTo string
	Target string // of a symbolic link
}

// Mode is the Linux st_mode, with the type.
func (f *File) Mode() uint32 { return f.n.Mode }

// Owner returns the ids of user and group.
func (f *File) Owner() (uid, gid uint32) { return f.n.UID, f.n.GID }

// Mtime is the modification time in seconds since 1970.
func (f *File) Mtime() int64 { return int64(f.n.Mtime) }

// Size is that of a regular file's content.
func (f *File) Size() int64 { return int64(f.n.Size) }

// Layer is what the file belongs to.
func (f *File) Layer() *Layer { return f.layer }

// Entries yields what the layer says, by path. A directory may be implied only by what
// lies below it.
func (l *Layer) Entries() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		for i := range l.entries {
			e := &l.entries[i]
			out := Entry{Path: string(l.names[e.Path:][:e.PathLen]), Hides: e.Flags&flagHides != 0, Opaque: e.Flags&flagOpaque != 0}
			if e.Inode != 0 {
				out.File = &l.files[e.Inode-1]
			}
			if !yield(out) {
				return
			}
		}
	}
}

func (l *Layer) newFile(n *inode) File {
	f := File{layer: l, n: n}
	target := string(l.names[n.Target:][:n.TargetLen])
	if n.Mode == 0 {
		f.LinkTo = target
	} else {
		f.Target = target
	}
	return f
}

// Open returns the content of a regular file. It is valid until the layer is closed.
func (f *File) Open() *io.SectionReader { return io.NewSectionReader(f, 0, f.Size()) }

// ReadAt implements io.ReaderAt over the content of a regular file.
func (f *File) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("read at %d: negative offset", off)
	}
	for n < len(p) {
		at := uint64(off) + uint64(n)
		if at >= f.n.Size {
			return n, io.EOF
		}
		place, most := f.n.Off+at-f.n.Head, f.n.Size-at
		if at < f.n.Head {
			place, most = f.n.LoadOff+at, f.n.Head-at
		}
		got, err := f.layer.file.ReadAt(p[n:n+int(min(most, uint64(len(p)-n)))], int64(place))
		n += got
		if err != nil {
			return n, fmt.Errorf("read layer %s: %w", f.layer.path, noEOF(err))
		}
	}
	return n, nil
}
