package lineage

import (
	"fmt"
	"os"
)

// Usage says what a node takes. Page figures count each stored page once, however
// many guest pages show it, and no zero pages.
type Usage struct {
	FileBytes uint64 `json:"file_bytes"` // of the node file; removing the node frees them
	// ResidentBytes is what an instance that touches every page of the node maps:
	// unique and shared ones.
	ResidentBytes uint64 `json:"resident_bytes"`
	// UniqueBytes are pages that no other node's memory shows.
	UniqueBytes uint64 `json:"unique_bytes"`
	SharedBytes uint64 `json:"shared_bytes"`
	// ProportionalBytes counts each page divided by the number of nodes whose
	// memory shows it: over all nodes it adds up to all pages.
	ProportionalBytes float64 `json:"proportional_bytes"`
}

// Stats returns the Usage of every node by id. It reads the nodes' indexes, not
// their pages.
func (s *Store) Stats() (map[string]Usage, error) {
	if err := s.usable(); err != nil {
		return nil, fmt.Errorf("stats: %w", err)
	}
	t := accounting{s: s, c: s.catalogue(), deltas: map[string]*visibility{}, size: map[string]uint64{}, out: map[string]Usage{}}
	for _, root := range t.c.Kind(KindImage) {
		t.view = nil
		if err := t.measure(root, NewView(root.GuestPages)); err != nil {
			return nil, fmt.Errorf("stats: %w", err)
		}
		t.divide(root, 0, 0)
	}
	return t.out, nil
}

// visibility is what a node's delta changes about the pages that memory shows.
type visibility struct {
	users  []uint32 // of each own page: nodes that show it
	shown  uint64   // own pages that the node shows: all but unplaced ones of an image
	hidden []pageOf // ancestors' pages that it shows no longer
}

// pageOf is a page of a node's own.
type pageOf struct {
	owner string
	page  uint64
}

// accounting walks a tree twice. The cost follows the sizes of the deltas: a page
// that appears at a node is added to all of its subtree at once, and one that
// disappears is taken from all of that subtree.
type accounting struct {
	s      *Store
	c      Catalogue
	deltas map[string]*visibility
	size   map[string]uint64 // nodes in the subtree
	owner  map[*Blob]string
	view   map[pageOf]uint32 // guest pages that show a page, at the node of the walk
	out    map[string]Usage
}

// measure fills deltas for n and all below it; view is the parent's.
func (t *accounting) measure(n *Node, parent *View) error {
	if t.view == nil {
		t.view, t.owner = map[pageOf]uint32{}, map[*Blob]string{}
	}
	f, h, err := openNodeFile(t.s.nodePath(n.ID))
	if err != nil {
		if os.IsNotExist(err) && t.s.lookup(n.ID) == nil {
			return nil // removed meanwhile
		}
		return fmt.Errorf("node %s: %w", n.ID, err)
	}
	x, err := readIndex(f, h, &n.Info)
	f.Close()
	if err != nil {
		return fmt.Errorf("node %s: %w", n.ID, err)
	}
	if parent.Pages() != x.guestPages {
		return fmt.Errorf("node %s: %d guest pages, the parent has %d: %w", n.ID, x.guestPages, parent.Pages(), ErrFormat)
	}
	blob := &Blob{name: "of node " + n.ID, pages: x.dataPages} // stands for pages that nobody reads
	t.owner[blob] = n.ID
	d := &visibility{users: make([]uint32, x.dataPages)}
	t.deltas[n.ID] = d
	var undo []pageOf
	for _, r := range x.runs {
		for old := range parent.Runs(r.first, r.count) {
			for i := uint64(0); old.Blob != nil && i < old.Count; i++ {
				p := pageOf{t.owner[old.Blob], old.Page + i}
				undo = append(undo, p)
				if t.view[p]--; t.view[p] == 0 {
					delete(t.view, p)
					d.hidden = append(d.hidden, p)
				}
			}
		}
		for i := uint64(0); r.page != zeroRun && i < r.count; i++ {
			p := pageOf{n.ID, r.page + i}
			if t.view[p]++; t.view[p] == 1 {
				d.shown++
			}
		}
	}
	view := parent.With(x.viewRuns(blob))
	size := uint64(1)
	for _, child := range t.c.Children(n.ID) {
		if err := t.measure(child, view); err != nil {
			return err
		}
		size += t.size[child.ID]
	}
	t.size[n.ID] = size
	for p := range d.users {
		if t.view[pageOf{n.ID, uint64(p)}] > 0 {
			d.users[p] += uint32(size)
		}
		delete(t.view, pageOf{n.ID, uint64(p)})
	}
	for _, p := range d.hidden {
		t.deltas[p.owner].users[p.page] -= uint32(size)
	}
	for _, p := range undo {
		t.view[p]++
	}
	return nil
}

// divide computes the figures of n and all below it from those of the parent.
func (t *accounting) divide(n *Node, resident uint64, proportional float64) {
	d := t.deltas[n.ID]
	if d == nil {
		return
	}
	u := Usage{FileBytes: n.StoredBytes()}
	if n.Kind == KindImage {
		if size, err := fileSize(t.s.ImagePath(n.ImageDigest)); err == nil {
			u.FileBytes += size
		}
	}
	for _, p := range d.hidden {
		proportional -= 1 / float64(t.deltas[p.owner].users[p.page])
		resident--
	}
	for _, users := range d.users {
		if users == 0 {
			continue
		}
		resident++
		proportional += 1 / float64(users)
		if users == 1 {
			u.UniqueBytes += PageSize
		}
	}
	u.ResidentBytes = resident * PageSize
	u.SharedBytes = u.ResidentBytes - u.UniqueBytes
	u.ProportionalBytes = proportional * PageSize
	t.out[n.ID] = u
	for _, child := range t.c.Children(n.ID) {
		t.divide(child, resident, proportional)
	}
}
