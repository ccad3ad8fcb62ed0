package lineage

import (
	"fmt"
	"os"
	"slices"
	"syscall"

	"seuss/images/layer"
	"seuss/lineage/imagefile"
	"seuss/lineage/nodefile"
	"seuss/lineage/pages"
)

// Usage says what a node takes. Page figures count each stored page once, however
// many guest pages show it, and no zero pages.
type Usage struct {
	// FileBytes are of the node file; of an image also of its own file, and of those of its
	// layers that no image before it has.
	FileBytes uint64 `json:"file_bytes"`
	// FreedBytes are what removing this node alone frees on disk: its file, unless
	// siblings have pages in it, and files of siblings that are gone already if nobody
	// else has pages in them.
	FreedBytes uint64 `json:"freed_bytes"`
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
func (s Inspection) Stats() (map[string]Usage, error) {
	if err := s.store.usable(); err != nil {
		return nil, fmt.Errorf("stats: %w", err)
	}
	c := s.store.catalogue()
	t := accounting{
		s: s.store, c: c, deltas: map[string]*visibility{}, size: map[string]uint64{}, out: map[string]Usage{},
		files: map[uint64]*pages.Blob{}, users: map[*pages.Blob][]uint32{}, holders: holders(c.List()),
		layered: map[uint64]bool{}, layerBytes: map[string]uint64{},
	}
	roots := c.Kind(nodefile.KindImage)
	for _, root := range roots {
		t.view = map[pageOf]uint32{}
		if err := t.measure(root, pages.NewView(root.GuestPages)); err != nil {
			return nil, fmt.Errorf("stats: %w", err)
		}
	}
	for _, root := range roots {
		t.divide(root, 0, 0)
	}
	return t.out, nil
}

// visibility is what a node's delta changes about the pages that memory shows: those
// that it shows and the parent does not, and the reverse.
type visibility struct{ shown, hidden []pageOf }

// pageOf is a page of a file, which a Blob that nobody reads stands for.
type pageOf struct {
	file *pages.Blob
	page uint64
}

// accounting walks a tree twice. The cost follows the sizes of the deltas: a page
// that appears at a node is added to all of its subtree at once, and one that
// disappears is taken from all of that subtree.
type accounting struct {
	s          *Store
	c          Catalogue
	deltas     map[string]*visibility
	size       map[string]uint64        // nodes in the subtree
	files      map[uint64]*pages.Blob   // by inode
	users      map[*pages.Blob][]uint32 // of each page: nodes that show it
	view       map[pageOf]uint32        // guest pages that show a page, at the node of the walk
	holders    map[uint64]int
	layered    map[uint64]bool   // inodes of layers that an image counts already
	layerBytes map[string]uint64 // of those that it does count
	out        map[string]Usage
}

// file returns what stands for a file of at least so many pages.
func (t *accounting) file(inode, size uint64) *pages.Blob {
	b := t.files[inode]
	if b == nil {
		b = pages.StandIn(fmt.Sprintf("of inode %d", inode))
		t.files[inode] = b
	}
	if b.Grow(size) {
		t.users[b] = append(t.users[b], make([]uint32, size-uint64(len(t.users[b])))...)
	}
	return b
}

// runs reads the index of a node and says where its pages lie.
func (t *accounting) runs(n *Node) (runs []pages.Run, guestPages uint64, err error) {
	f, h, err := openNodeFile(t.s.nodePath(n.ID))
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	x, err := nodefile.ReadIndex(f, h, &n.Info)
	if err != nil {
		return nil, 0, err
	}
	stored := n.file.Load()
	var donors []*pages.Blob
	if x.Donors != nil {
		for _, d := range x.Donors.List {
			i := slices.IndexFunc(stored.links, func(l link) bool { return l.ordinal == d.Ordinal })
			if i < 0 {
				return nil, 0, fmt.Errorf("link %d to the file of node %.12s is missing: %w", d.Ordinal, d.ID, ErrNotFound)
			}
			donors = append(donors, t.file(stored.links[i].inode, d.Pages()))
		}
	}
	runs = pages.RunsOf(x, t.file(stored.inode, x.OwnPages()), donors)
	if n.Kind == nodefile.KindImage {
		layers, err := t.layers(n, x.GuestPages)
		if err != nil {
			return nil, 0, err
		}
		runs = append(runs, layers...)
	}
	return runs, x.GuestPages, nil
}

// layers says where the pages of an image's layers lie, which other images may have too.
func (t *accounting) layers(n *Node, guestPages uint64) (runs []pages.Run, err error) {
	tables, err := imagefile.ReadFile(t.s.ImagePath(n.ImageDigest))
	if err != nil {
		return nil, err
	}
	for i, l := range tables.Layers {
		st, err := os.Stat(layerStore(t.s).Path(layer.Digest(l.Digest)))
		if err != nil {
			return nil, err
		}
		inode := st.Sys().(*syscall.Stat_t).Ino
		if !t.layered[inode] {
			t.layered[inode] = true
			t.layerBytes[n.ID] += uint64(st.Size())
		}
		shown, err := tables.Shown(i, guestPages)
		if err != nil {
			return nil, err
		}
		file := t.file(inode, l.Bytes/nodefile.PageSize)
		for _, s := range shown {
			runs = append(runs, pages.Run{First: s.First, Count: s.Count, Blob: file, Page: s.Page})
		}
	}
	return runs, nil
}

// measure fills deltas for n and all below it; view is the parent's.
func (t *accounting) measure(n *Node, parent *pages.View) error {
	runs, guestPages, err := t.runs(n)
	switch {
	case os.IsNotExist(err) && t.s.lookup(n.ID) == nil:
		return nil // removed meanwhile
	case err != nil:
		return fmt.Errorf("node %s: %w", n.ID, err)
	case parent.Pages() != guestPages:
		return fmt.Errorf("node %s: %d guest pages, the parent has %d: %w", n.ID, guestPages, parent.Pages(), nodefile.ErrFormat)
	}
	d := &visibility{}
	t.deltas[n.ID] = d
	var undo []pageOf
	for _, r := range runs {
		for old := range parent.Runs(r.First, r.Count) {
			for i := uint64(0); old.Blob != nil && i < old.Count; i++ {
				p := pageOf{old.Blob, old.Page + i}
				undo = append(undo, p)
				if t.hide(p) {
					d.hidden = append(d.hidden, p)
				}
			}
		}
		for i := uint64(0); r.Blob != nil && i < r.Count; i++ {
			p := pageOf{r.Blob, r.Page + i}
			if t.view[p]++; t.view[p] == 1 {
				d.shown = append(d.shown, p)
			}
		}
	}
	view := parent.With(runs)
	size := uint64(1)
	for _, child := range t.c.Children(n.ID) {
		if err := t.measure(child, view); err != nil {
			return err
		}
		size += t.size[child.ID]
	}
	t.size[n.ID] = size
	for _, p := range d.shown {
		t.users[p.file][p.page] += uint32(size)
	}
	for _, p := range d.hidden {
		t.users[p.file][p.page] -= uint32(size)
	}
	for _, r := range runs {
		for i := uint64(0); r.Blob != nil && i < r.Count; i++ {
			t.hide(pageOf{r.Blob, r.Page + i})
		}
	}
	for _, p := range undo {
		t.view[p]++
	}
	return nil
}

// hide takes one guest page from those that show p, and reports whether it was the
// last one.
func (t *accounting) hide(p pageOf) bool {
	if t.view[p]--; t.view[p] > 0 {
		return false
	}
	delete(t.view, p)
	return true
}

// divide computes the figures of n and all below it from those of the parent.
func (t *accounting) divide(n *Node, resident uint64, proportional float64) {
	d := t.deltas[n.ID]
	if d == nil {
		return
	}
	u := Usage{FileBytes: n.StoredBytes(), FreedBytes: n.stored().freed(t.holders)}
	if n.Kind == nodefile.KindImage {
		if size, err := fileSize(t.s.ImagePath(n.ImageDigest)); err == nil {
			u.FileBytes += size + t.layerBytes[n.ID]
		}
	}
	for _, p := range d.hidden {
		proportional -= 1 / float64(t.users[p.file][p.page])
		resident--
	}
	for _, p := range d.shown {
		users := t.users[p.file][p.page]
		resident++
		proportional += 1 / float64(users)
		if users == 1 {
			u.UniqueBytes += nodefile.PageSize
		}
	}
	u.ResidentBytes = resident * nodefile.PageSize
	u.SharedBytes = u.ResidentBytes - u.UniqueBytes
	u.ProportionalBytes = proportional * nodefile.PageSize
	t.out[n.ID] = u
	for _, child := range t.c.Children(n.ID) {
		t.divide(child, resident, proportional)
	}
}
