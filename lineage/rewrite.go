package lineage

import (
	"fmt"
	"runtime"
	"slices"

	"seuss/dirtytrack"
	"seuss/lineage/nodefile"
	"seuss/lineage/pages"
)

// rewriter stores what is there in another way.
type rewriter struct{ *Store }

// Reform writes a node's file anew in the given form and returns its size before
// and after. Id, memory and users of the node notice nothing. FormAuto decides as
// for a capture. An image node has no other form than pages. As pages, a node then
// leaves out what its siblings have, and one whose file others have pages in stays as
// it is; as differences, that file's bytes are freed when those others are gone.
func (s *Store) Reform(id string, form nodefile.Form) (before, after uint64, err error) {
	before, after, err = rewriter{s}.reform(id, form)
	if err != nil {
		return 0, 0, fmt.Errorf("store node %s anew: %w", id, err)
	}
	return before, after, nil
}

func (s rewriter) reform(id string, form nodefile.Form) (before, after uint64, err error) {
	if err := s.writable(); err != nil {
		return 0, 0, err
	}
	n := s.lookup(id)
	if n == nil {
		return 0, 0, ErrNotFound
	}
	before = n.StoredBytes()
	if form == nodefile.FormAuto {
		form = chooseForm(nodefile.FormAuto, n.Kind, n.DeltaPages)
	}
	switch {
	case form != nodefile.FormPages && form != nodefile.FormDifferences:
		return 0, 0, fmt.Errorf("%v: %w", form, nodefile.ErrInvalid)
	case n.Kind == nodefile.KindImage && form == nodefile.FormPages:
		return before, before, nil
	case n.Kind == nodefile.KindImage:
		return 0, 0, fmt.Errorf("an image node is stored as pages only: %w", nodefile.ErrInvalid)
	case form == nodefile.FormDifferences && n.DeltaBytes/nodefile.PageSize > nodefile.MaxDeltaPages:
		return 0, 0, fmt.Errorf("it has %d pages, as differences at most %d: %w", n.DeltaBytes/nodefile.PageSize, nodefile.MaxDeltaPages, nodefile.ErrInvalid)
	}
	if form == nodefile.FormPages && (sharer{s.Store}).isDonor(n) {
		// What others need stays whatever becomes of the node: another file would only
		// come on top.
		return before, before, nil
	}
	parent, err := s.Snapshot(n.Parent)
	if err != nil {
		return 0, 0, err
	}
	own, err := s.Snapshot(id)
	if err != nil {
		return 0, 0, err
	}
	info := n.Info
	w, x, err := sealer{s.Store}.writeDelta(s.path(nodesDir), &info, form, parent, own)
	if err != nil {
		return 0, 0, err
	}
	defer w.discard()
	if got := nodefile.NodeID(&info, own.State, x); got != id {
		return 0, 0, fmt.Errorf("content has the id %s: %w", got, nodefile.ErrIdentity)
	}
	w = sharer{s.Store}.share(w, &info, x)
	defer w.discard()
	after, err = w.complete(&info, &parent.Node.Info, own.State, x)
	if err != nil {
		return 0, 0, err
	}
	above := &loadedNode{view: parent.View, state: parent.State}
	if _, err := (loader{s.Store}).openNode(w.Name(), &info, above, nil, pages.VerifyEager); err != nil {
		return 0, 0, fmt.Errorf("read back %s: %w", w.Name(), err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writable(); err != nil {
		return 0, 0, err
	}
	if s.lookup(id) != n {
		return 0, 0, fmt.Errorf("removed meanwhile: %w", ErrNotFound)
	}
	file, err := sealer{s.Store}.newStoredFile(w.Name(), id, w.donors)
	if err != nil {
		return 0, 0, err
	}
	if err := w.publish(s.nodePath(id)); err != nil {
		return 0, 0, err
	}
	s.uncached.Add(1)
	old := n.file.Swap(file)
	sharer{s.Store}.removeLinks(id, old.links)
	return before, after, nil
}

// writeDelta writes what differs between two views as the data of a node file.
func (s sealer) writeDelta(dir string, info *nodefile.Info, form nodefile.Form, parent, own Snapshot) (nodeWriter, *nodefile.Index, error) {
	var diffs *nodefile.DifferenceEncoder
	if form == nodefile.FormDifferences {
		diffs = new(nodefile.DifferenceEncoder)
		diffs.AddState(parent.State, own.State)
	}
	w, err := s.newNodeWriter(dir, diffs)
	if err != nil {
		return nodeWriter{}, nil, err
	}
	delta := newDeltaWriter(w.Pending, parent.View, diffs)
	for first, count := range pages.Diff(parent.View, own.View) {
		if err = own.View.Check(first, count); err != nil {
			break
		}
		for page := first; page < first+count && err == nil; page++ {
			err = delta.add(page, own.View.Bytes(page))
		}
		if err != nil {
			break
		}
	}
	var x *nodefile.Index
	var root nodefile.Digest
	if err == nil {
		x, root, err = delta.finish()
	}
	runtime.KeepAlive(parent)
	runtime.KeepAlive(own)
	if err != nil {
		w.discard()
		return nodeWriter{}, nil, err
	}
	info.Root = root.String()
	info.DeltaPages = x.DeltaPages()
	info.DeltaBytes = x.DataPages * nodefile.PageSize
	return w, x, nil
}

// Flatten stores a node that has the memory and state of the node of this id and
// hangs directly below ancestor, which must be one of its ancestors: the chain
// between them collapsed into one delta. With ancestor empty it is the image
// node. The nodes of the chain stay; they can be removed if nothing else hangs on
// them. Nodes below the given one keep hanging on it.
func (s *Store) Flatten(id, ancestor string) (*Node, error) {
	n, err := rewriter{s}.flatten(id, ancestor)
	if err != nil {
		return nil, fmt.Errorf("flatten node %s: %w", id, err)
	}
	return n, nil
}

func (s rewriter) flatten(id, ancestor string) (*Node, error) {
	if err := s.writable(); err != nil {
		return nil, err
	}
	own, err := s.Snapshot(id)
	if err != nil {
		return nil, err
	}
	path, err := s.Lineage(own.Node)
	if err != nil {
		return nil, err
	}
	at := 0
	if ancestor != "" {
		at = slices.IndexFunc(path, func(n *Node) bool { return n.ID == ancestor })
	}
	if at < 0 || at == len(path)-1 {
		return nil, fmt.Errorf("%s is not above it: %w", ancestor, nodefile.ErrInvalid)
	}
	parent, err := s.Snapshot(path[at].ID)
	if err != nil {
		return nil, err
	}
	candidates := dirtytrack.NewPageSet(own.View.Pages())
	for first, count := range pages.Diff(parent.View, own.View) {
		if err := own.View.Check(first, count); err != nil {
			return nil, err
		}
		candidates.AddRange(first, count)
	}
	i := own.Node.Info
	spec := NodeSpec{
		Kind: i.Kind, Key: i.Key, State: own.State, CPUFeatures: i.CPUFeatures, ABIVersion: i.ABIVersion, Purity: i.Purity,
	}
	for _, n := range path[at+1:] {
		spec.CaptureCost += n.CaptureCost
		spec.SavedTime += n.SavedTime
	}
	n, err := sealer{s.Store}.capture(&spec, path[at], candidates, own.View.Bytes)
	runtime.KeepAlive(own)
	return n, err
}

// CanTakeForm reports whether Reform can store the node in that form.
func CanTakeForm(n *Node, form nodefile.Form) bool {
	return form == nodefile.FormPages || n.Kind != nodefile.KindImage && n.DeltaBytes/nodefile.PageSize <= nodefile.MaxDeltaPages
}
