package lineage

import (
	"errors"
	"fmt"
	"io"
	"os"
	"weak"
)

// openNodeFile opens a node file and validates its header.
func openNodeFile(path string) (*os.File, *header, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	fi, err := f.Stat()
	if err == nil {
		var h *header
		if h, err = readHeader(f, fi.Size()); err == nil {
			return f, h, nil
		}
	}
	f.Close()
	return nil, nil, err
}

// readInfo reads the metadata of the node that the file's name promises.
func readInfo(r io.ReaderAt, h *header, id string) (*Info, error) {
	b, err := h.readSection(r, sectionMetadata)
	if err != nil {
		return nil, err
	}
	info, err := decodeInfo(b)
	if err != nil {
		return nil, err
	}
	if info.ID != id {
		return nil, fmt.Errorf("the file holds node %s: %w", info.ID, ErrIdentity)
	}
	return info, nil
}

// readIndex reads the index and checks it against header and metadata.
func readIndex(r io.ReaderAt, h *header, info *Info) (*pageIndex, []byte, error) {
	b, err := h.readSection(r, sectionIndex)
	if err != nil {
		return nil, nil, err
	}
	x, err := decodeIndex(b)
	if err != nil {
		return nil, nil, err
	}
	if got, want := checksum(x.encodeSums()), h.sections[sectionData].crc; got != want {
		return nil, nil, fmt.Errorf("data section: checksum of its checksums is %#08x, sealed as %#08x: %w", got, want, ErrChecksum)
	}
	stored := h.sections[sectionData].length / PageSize
	want := x.dataPages
	if info.Kind == KindImage {
		want = 0 // the pages lie in the image file
	}
	if stored != want || x.guestPages != info.GuestPages || x.deltaPages() != info.DeltaPages || stored*PageSize != info.DeltaBytes {
		return nil, nil, fmt.Errorf("index of %d guest pages, %d of them in %d data pages, contradicts the metadata (%d, %d) or the data section of %d pages: %w",
			x.guestPages, x.deltaPages(), x.dataPages, info.GuestPages, info.DeltaPages, stored, ErrFormat)
	}
	return x, b, nil
}

// Load resolves the memory of the node with this exact id: it opens the node and
// all its ancestors, checks every byte of those that were not loaded yet, and
// builds their Views. Afterwards View, State and Blob of the returned node are
// set, and the View's methods cannot fail.
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
	View  *View
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
	l, err := s.load(n)
	if err != nil {
		return Snapshot{}, err
	}
	return Snapshot{Node: n, View: l.view, State: l.state}, nil
}

// Unload drops a node's View and machine state. Memory and file are released as
// soon as no other View uses them. Load brings them back.
func (s *Store) Unload(id string) {
	if n := s.lookup(id); n != nil {
		n.loaded.Store(nil)
	}
}

// load walks up to the nearest loaded ancestor and then down again. What it
// holds is passed along, so a concurrent Unload does no harm.
func (s *Store) load(n *Node) (*loadedNode, error) {
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

func (s *Store) loadOne(n *Node, parent *loadedNode) (*loadedNode, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if l := n.loaded.Load(); l != nil {
		return l, nil
	}
	l, err := s.openNode(s.nodePath(n.ID), &n.Info, parent, n.blob.Value())
	if err != nil {
		return nil, fmt.Errorf("load node %s: %w", n.ID, err)
	}
	n.setLoaded(l)
	return l, nil
}

// setLoaded needs n.mu, or a node that nobody else knows.
func (n *Node) setLoaded(l *loadedNode) {
	n.blob = weak.Make(l.blob)
	n.loaded.Store(l)
}

// openNode reads, checks and maps the node file at path. Its page data is
// checked unless blob is the mapping of it that an earlier check admitted.
func (s *Store) openNode(path string, info *Info, parent *loadedNode, blob *Blob) (_ *loadedNode, err error) {
	f, h, err := openNodeFile(path)
	if err != nil {
		return nil, err
	}
	keep := false
	defer func() {
		if !keep {
			f.Close()
		}
	}()
	stored, err := readInfo(f, h, info.ID)
	if err != nil {
		return nil, err
	}
	if stored.DataDigest != info.DataDigest {
		return nil, fmt.Errorf("data digest changed from %s to %s: %w", info.DataDigest, stored.DataDigest, ErrIdentity)
	}
	x, _, err := readIndex(f, h, stored)
	if err != nil {
		return nil, err
	}
	if parent != nil && parent.view.Pages() != x.guestPages {
		return nil, fmt.Errorf("%d guest pages, the parent has %d: %w", x.guestPages, parent.view.Pages(), ErrFormat)
	}
	state, err := h.readSection(f, sectionState)
	if err != nil {
		return nil, err
	}
	if blob == nil {
		data, offset := f, int64(h.sections[sectionData].offset)
		if info.Kind == KindImage {
			offset = 0
			if data, err = os.Open(s.ImagePath(info.ImageDigest)); err != nil {
				return nil, err
			}
		} else {
			keep = true
		}
		if blob, err = openBlob(data, offset, info, x); err != nil {
			return nil, err
		}
	}
	base := NewView(x.guestPages)
	if parent != nil {
		base = parent.view
	}
	return &loadedNode{view: base.With(x.viewRuns(blob)), state: state, blob: blob}, nil
}

// openBlob checks the page data of a node and maps it. It owns f.
func openBlob(f *os.File, offset int64, info *Info, x *pageIndex) (*Blob, error) {
	name := "of node " + info.ID
	if info.Kind == KindImage {
		name = "of image " + info.ImageDigest
		fi, err := f.Stat()
		if err == nil && uint64(fi.Size()) != x.dataPages*PageSize {
			err = fmt.Errorf("image %s has %d bytes, sealed with %d: %w", f.Name(), fi.Size(), x.dataPages*PageSize, ErrLength)
		}
		if err != nil {
			f.Close()
			return nil, err
		}
	}
	if err := verifyPages(f, offset, x.dataPages, x.sums); err != nil {
		path := f.Name()
		f.Close()
		if bad := (*chunkError)(nil); errors.As(err, &bad) {
			return nil, fmt.Errorf("%s: %s: %w", path, x.guestRuns(bad.first, bad.count), err)
		}
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	digest, err := ParseDigest(info.DataDigest)
	if err != nil {
		f.Close()
		return nil, err
	}
	return newBlob(name, f, offset, x.dataPages, digest)
}

// Verify reads a node from disk again, page data or image file included, and
// recomputes its id. It finds what the checksums cannot: files whose content is
// consistent but not what was captured. It does not look at ancestors.
func (s *Store) Verify(id string) error {
	if err := s.usable(); err != nil {
		return fmt.Errorf("verify node %s: %w", id, err)
	}
	if err := s.verify(id); err != nil {
		return fmt.Errorf("verify node %s: %w", id, err)
	}
	return nil
}

func (s *Store) verify(id string) error {
	f, h, err := openNodeFile(s.nodePath(id))
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := readInfo(f, h, id)
	if err != nil {
		return err
	}
	x, index, err := readIndex(f, h, info)
	if err != nil {
		return err
	}
	state, err := h.readSection(f, sectionState)
	if err != nil {
		return err
	}
	data, offset := f, int64(h.sections[sectionData].offset)
	if info.Kind == KindImage {
		if data, err = os.Open(s.ImagePath(info.ImageDigest)); err != nil {
			return err
		}
		offset = 0
	} else if data, err = os.Open(f.Name()); err != nil { // openBlob closes what it gets
		return err
	}
	blob, err := openBlob(data, offset, info, x)
	if err != nil {
		return err
	}
	if err := blob.Verify(); err != nil {
		return err
	}
	if got := nodeID(info, state, index); got != id {
		return fmt.Errorf("content has the id %s: %w", got, ErrIdentity)
	}
	return nil
}
