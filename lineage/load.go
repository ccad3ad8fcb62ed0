package lineage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"weak"

	"golang.org/x/sys/unix"

	"seuss/lineage/nodefile"
	"seuss/lineage/pages"
)

// openNodeFile opens a node file and validates its header.
func openNodeFile(path string) (*os.File, *nodefile.Header, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	fi, err := f.Stat()
	if err == nil {
		var h *nodefile.Header
		if h, err = nodefile.ReadHeader(f, fi.Size()); err == nil {
			return f, h, nil
		}
	}
	f.Close()
	return nil, nil, err
}

// loader opens nodes: it reads, checks and maps their files.
type loader struct{ *Store }

// Load resolves the memory of the node with this exact id: it opens the node and
// all its ancestors, checks those that were not loaded yet as Options.Verify
// says, and builds their Views. Afterwards View, State and Blob of the returned
// node are set.
//
// Damage is reported as an error that matches ErrChecksum, ErrFormat or another
// of the file errors, and names the node and the pages; damaged memory is never
// handed out.
//
// Where other goroutines unload nodes, use Snapshot, which cannot lose the race.
func (s *Store) Load(id string) (*Node, error) {
	snapshot, err := s.Snapshot(id)
	return snapshot.Node, err
}

// Snapshot is what a machine needs to become a node. It stays valid whatever
// happens to the node.
type Snapshot struct {
	Node  *Node
	View  *pages.View
	State []byte // machine state; do not modify
}

// Snapshot is Load, and returns what was loaded.
func (s *Store) Snapshot(id string) (Snapshot, error) {
	if err := s.usable(); err != nil {
		return Snapshot{}, fmt.Errorf("load node %s: %w", id, err)
	}
	n := s.lookup(id)
	if n == nil {
		return Snapshot{}, fmt.Errorf("load node %s: %w", id, ErrNotFound)
	}
	l, err := loader{s}.load(n)
	if err != nil {
		return Snapshot{}, err
	}
	return Snapshot{Node: n, View: l.view, State: l.state}, nil
}

// Unload drops a node's View and machine state. Memory and file are released as
// soon as no other View uses them. Load brings them back.
func (s *Store) Unload(id string) {
	if n := s.lookup(id); n != nil {
		s.hot.remove(n)
	}
}

// load walks up to the nearest loaded ancestor and then down again. What it
// holds is passed along, so a concurrent Unload does no harm.
func (s loader) load(n *Node) (*loadedNode, error) {
	var above *loadedNode
	todo := []*Node{}
	for at := n; ; {
		if above = at.loaded.Load(); above != nil {
			break
		}
		todo = append(todo, at)
		if at.Parent == "" {
			break
		}
		parent := s.lookup(at.Parent)
		if parent == nil {
			return nil, fmt.Errorf("load node %s: parent %s of %s: %w", n.ID, at.Parent, at.ID, ErrOrphan)
		}
		at = parent
	}
	for i := len(todo) - 1; i >= 0; i-- {
		var err error
		if above, err = s.loadOne(todo[i], above); err != nil {
			if todo[i] != n {
				return nil, fmt.Errorf("load node %s: ancestor: %w", n.ID, err)
			}
			return nil, err
		}
	}
	return above, nil
}

func (s loader) loadOne(n *Node, parent *loadedNode) (*loadedNode, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if l := n.loaded.Load(); l != nil {
		return l, nil
	}
	var l *loadedNode
	err := s.whileRewritten(n, func() (err error) {
		l, err = s.openNode(s.nodePath(n.ID), &n.Info, parent, n.blob.Value(), s.verify)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("load node %s: %w", n.ID, err)
	}
	s.setLoaded(n, l)
	return l, nil
}

// whileRewritten calls f, which opens the node's files, again if they were replaced
// by others meanwhile: then the links of the old file are gone.
func (s loader) whileRewritten(n *Node, f func() error) error {
	for {
		file := n.file.Load()
		err := f()
		if !errors.Is(err, fs.ErrNotExist) || n.file.Load() == file || s.lookup(n.ID) == nil {
			return err
		}
	}
}

// setLoaded needs n.mu.
func (s loader) setLoaded(n *Node, l *loadedNode) {
	n.blob = weak.Pointer[pages.Blob]{}
	if len(l.donors) == 0 { // else its blobs are found by their files
		n.blob = weak.Make(l.blob)
	}
	n.loaded.Store(l)
	s.hot.add(n, l.blob)
}

// smallFileBytes is the most that is read with one call: function nodes are stored
// as a few of ten kilobytes.
const smallFileBytes = 64 << 10

// smallFiles are buffers for one small file and a byte more.
var smallFiles = make(nodefile.Buffers, nodefile.KeptBuffers)

// openAt opens a file of a directory for reading, in half of the time that its path
// takes.
func openAt(dir *os.File, name string) (fd int, err error) {
	conn, err := dir.SyscallConn()
	if err != nil {
		return -1, err
	}
	if cerr := conn.Control(func(d uintptr) { fd, err = unix.Openat(int(d), name, unix.O_RDONLY|unix.O_CLOEXEC, 0) }); cerr != nil {
		return -1, cerr // it is closed
	}
	return fd, err
}

// openSmall reads a small node file in the form "differences" with three system
// calls, which is what loading one costs most for otherwise. Nothing that is decoded
// from such a file refers to its bytes. It returns no header if the file is larger,
// or of the other form.
func (s loader) openSmall(name string) (h *nodefile.Header, buf *[]byte, err error) {
	fd, err := openAt(s.nodes, name)
	if err != nil {
		return nil, nil, nil // openNodeFile tells
	}
	defer unix.Close(fd)
	if buf = smallFiles.Get(); *buf == nil {
		*buf = make([]byte, smallFileBytes+1)
	}
	n, err := unix.Pread(fd, *buf, 0)
	if err != nil || n > smallFileBytes || n < nodefile.DifferencesHeaderBytes || binary.LittleEndian.Uint32((*buf)[24:]) != uint32(nodefile.FormDifferences) {
		smallFiles.Put(buf)
		return nil, nil, nil
	}
	var head [nodefile.DifferencesHeaderBytes]byte
	copy(head[:], *buf) // it is changed
	if h, err = nodefile.DecodeHeader(head[:], int64(n)); err != nil {
		smallFiles.Put(buf)
		return nil, nil, err
	}
	return h, buf, nil
}

// openNode reads, checks and maps the node file at path, in the nodes' directory. All
// of the node's pages are those of blob if that is not nil: an earlier call made it.
// Else they are mapped and, with VerifyEager, checked.
func (s loader) openNode(path string, info *nodefile.Info, parent *loadedNode, blob *pages.Blob, verify pages.Verify) (*loadedNode, error) {
	var f *os.File
	h, buf, err := s.openSmall(filepath.Base(path))
	from := io.ReaderAt(nil)
	if buf != nil {
		from = nodefile.Bytes((*buf)[:h.Total])
	} else if err == nil { // a large one
		f, h, err = openNodeFile(path)
		from = f
	}
	if err != nil {
		return nil, err
	}
	keep := false
	defer func() {
		if f != nil && !keep {
			f.Close()
		}
		if buf != nil {
			smallFiles.Put(buf)
		}
	}()
	if err := nodefile.CheckInfo(from, h, info); err != nil {
		return nil, err
	}
	x, err := nodefile.ReadIndex(from, h, info)
	if err != nil {
		return nil, err
	}
	base := &loadedNode{view: pages.NewView(x.GuestPages)}
	if parent != nil {
		base = parent
	}
	if base.view.Pages() != x.GuestPages {
		return nil, fmt.Errorf("%d guest pages, the parent has %d: %w", x.GuestPages, base.view.Pages(), nodefile.ErrFormat)
	}
	l := &loadedNode{blob: blob}
	switch {
	case h.Form == nodefile.FormDifferences:
		err = l.openDifferences(from, h, x, info.ID, base, verify == pages.VerifyEager)
	case info.Kind == nodefile.KindImage:
		if l.state, err = h.ReadSection(f, nodefile.SectionState); err == nil && blob == nil {
			l.blob, err = s.openImage(info.ImageDigest, x, verify)
		}
	default:
		if l.state, err = h.ReadSection(f, nodefile.SectionState); err == nil && blob == nil {
			keep = true
			l.blob, l.donors, err = s.openPages(f, h, x, info.ID, verify)
		}
	}
	if err != nil {
		return nil, err
	}
	if verify == pages.VerifyEager {
		if err := errors.Join(l.blob.Check(0, l.blob.Pages()), checkDonors(x, l.donors, info.ID)); err != nil {
			return nil, err
		}
	}
	runs := pages.RunsOf(x, l.blob, l.donors)
	if info.Kind == nodefile.KindImage {
		layers, err := s.layerRuns(info.ImageDigest, l.blob, x.GuestPages, verify)
		if err != nil {
			return nil, err
		}
		runs = append(runs, layers...)
	}
	l.view = base.view.With(runs).Named(info.ID)
	return l, nil
}

// openDifferences reads the state and, unless the node has a blob already,
// expands the pages.
func (l *loadedNode) openDifferences(f io.ReaderAt, h *nodefile.Header, x *nodefile.Index, id string, base *loadedNode, sums bool) (err error) {
	data, err := h.ReadSection(f, nodefile.SectionData)
	if err != nil {
		return err
	}
	d, err := nodefile.ParseDifferences(h.Version, data, x.DataPages)
	if err != nil {
		return err
	}
	if l.blob != nil {
		if err = d.Unpack(nil); err == nil {
			l.state = d.State(base.state)
		}
		return err
	}
	if l.blob, err = pages.Expand("of node "+id, d, x, base.view, sums); err != nil {
		return err
	}
	l.state = d.State(base.state)
	return nil
}

// openImage maps an image file.
func (s loader) openImage(digest string, x *nodefile.Index, verify pages.Verify) (*pages.Blob, error) {
	f, err := os.Open(s.ImagePath(digest))
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && uint64(fi.Size()) != x.DataPages*nodefile.PageSize {
		err = fmt.Errorf("image %s has %d bytes, sealed with %d: %w", f.Name(), fi.Size(), x.DataPages*nodefile.PageSize, nodefile.ErrLength)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return pages.Open(verify, s.huge, "of image "+digest, f, 0, x)
}
