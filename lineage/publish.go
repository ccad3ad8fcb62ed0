package lineage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"seuss/lineage/nodefile"
	"seuss/lineage/pages"
	"seuss/lineage/sealed"
)

// sealer makes nodes: it writes their files and puts them into directory and catalogue.
type sealer struct{ *Store }

// nodeWriter is a node file on its way. Whole pages are written behind space for
// the header as they come; differences are collected and written at the end.
type nodeWriter struct {
	*sealed.Pending
	diffs  *nodefile.DifferenceEncoder
	donors *nodefile.Donors // where pages lie that are not written; nil: none
	links  *madeLinks       // to the donors' files
}

// discard, always safe to call, removes what was not published.
func (w nodeWriter) discard() {
	if w.Pending != nil {
		w.Discard()
	}
	if w.links != nil { // after the file that names them
		w.links.discard()
	}
}

// publish gives the synced file its name.
func (w nodeWriter) publish(path string) error {
	err := w.Publish(path)
	if w.links != nil && w.Named() {
		// After an error the file may have its name all the same.
		if _, statErr := os.Lstat(path); err == nil || !errors.Is(statErr, fs.ErrNotExist) {
			w.links.keep()
		}
	}
	return err
}

func (s sealer) newNodeWriter(dir string, diffs *nodefile.DifferenceEncoder) (nodeWriter, error) {
	p, err := s.fs.New(dir)
	if err != nil {
		return nodeWriter{}, err
	}
	w := nodeWriter{Pending: p, diffs: diffs}
	// The header's place is held by zeroes, which are no valid magic: a torn
	// file can never pass for a node.
	n := int(w.form().HeaderBytes())
	if got, err := p.Write(make([]byte, n)); err != nil {
		p.Discard()
		return nodeWriter{}, fmt.Errorf("write header of %s: wrote %d of %d bytes: %w", p.Name(), got, n, err)
	}
	return w, nil
}

func (w nodeWriter) form() nodefile.Form {
	if w.diffs != nil {
		return nodefile.FormDifferences
	}
	return nodefile.FormPages
}

// complete writes what follows whole pages, or everything, then the header, and
// syncs the file.
func (w nodeWriter) complete(info, parent *nodefile.Info, state []byte, x *nodefile.Index) (total uint64, err error) {
	head, rest, err := nodefile.EncodeFile(info, parent, state, x, w.diffs)
	if err != nil {
		return 0, err
	}
	if n, err := w.Write(rest); err != nil {
		return 0, fmt.Errorf("write %s: wrote %d of %d bytes: %w", w.Name(), n, len(rest), err)
	}
	b := head.Encode()
	if n, err := w.WriteAt(b, 0); err != nil {
		return 0, fmt.Errorf("write header of %s: wrote %d of %d bytes: %w", w.Name(), n, len(b), err)
	}
	return head.Total, w.Seal()
}

// sealNode completes a node file whose data is written or collected, reads it
// back, and puts the node into directory and catalogue. parent and above are nil
// for an image node.
func (s sealer) sealNode(w nodeWriter, info *nodefile.Info, state []byte, x *nodefile.Index, parent *nodefile.Info, above *loadedNode) (*Node, error) {
	info.ID = nodefile.NodeID(info, state, x)
	if n := s.lookup(info.ID); n != nil {
		if there, err := s.loadKnown(n); there {
			return n, err
		}
	}
	if chooseForm(s.formOption, info.Kind, info.DeltaPages) == nodefile.FormPages { // else it will be written anew, see shrink
		w = sharer{s.Store}.share(w, info, x)
		defer w.discard()
	}
	if _, err := w.complete(info, parent, state, x); err != nil {
		return nil, err
	}
	// Reading back what was written shows a damaged file while the guest that
	// could be captured again still exists.
	l, err := loader{s.Store}.openNode(w.Name(), info, above, nil, pages.VerifyEager)
	if err != nil {
		return nil, fmt.Errorf("read back %s: %w", w.Name(), err)
	}
	m := nodefile.Metadata{Info: *info}
	if parent != nil {
		m.Inherit(parent)
	}
	fresh := &Node{Info: m.Info}
	for {
		n, err := s.publishNode(w, fresh)
		if err != nil {
			return n, err
		}
		if n == fresh {
			n.mu.Lock()
			loader{s.Store}.setLoaded(n, l)
			n.mu.Unlock()
			return n, nil
		}
		if there, err := s.loadKnown(n); there {
			return n, err
		}
	}
}

// loadKnown loads a node that has the content of a new one. It is not there if it was removed
// meanwhile, and then the new one is stored.
func (s sealer) loadKnown(n *Node) (there bool, err error) {
	_, err = loader{s.Store}.load(n)
	return err == nil || s.lookup(n.ID) == n, err
}

// publishNode makes a completed node visible, in the directory first. It returns
// the node that is known already if another capture of the same was faster.
func (s sealer) publishNode(w nodeWriter, n *Node) (*Node, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writable(); err != nil {
		return nil, err
	}
	if known := s.lookup(n.ID); known != nil {
		return known, nil
	}
	if n.Parent != "" && s.lookup(n.Parent) == nil {
		return nil, fmt.Errorf("parent was removed meanwhile: %w", ErrNotFound)
	}
	file, err := s.newStoredFile(w.Name(), n.ID, w.donors)
	if err != nil {
		return nil, err
	}
	n.file.Store(file)
	txn := s.db.Txn(true)
	defer txn.Abort()
	if err := txn.Insert(nodeTable, n); err != nil {
		return nil, fmt.Errorf("catalogue node %s: %w", n.ID, err)
	}
	if err := w.publish(s.nodePath(n.ID)); err != nil {
		return nil, err
	}
	s.uncached.Add(1)
	txn.Commit()
	s.changes.told(n)
	return n, nil
}
