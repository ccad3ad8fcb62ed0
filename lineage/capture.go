package lineage

import (
	"fmt"
	"runtime"
	"slices"
	"time"

	"seuss/dirtytrack"
	"seuss/lineage/nodefile"
)

// NodeSpec is what a capture knows beyond the pages. Parent and image follow
// from the parent node.
type NodeSpec struct {
	Kind        nodefile.Kind
	Key         nodefile.Key
	State       []byte // machine state, opaque, at most 64 MiB
	CPUFeatures nodefile.CPUFeatures
	ABIVersion  uint32
	Created     time.Time // zero means now
	CaptureCost time.Duration
	SavedTime   time.Duration
	Purity      nodefile.Purity
}

// Capture stores a node below parent and returns it loaded. Of the candidate
// pages, a superset of those written since the parent, it keeps those whose
// content differs from the parent's. A page that became all zero is stored as
// nothing, equal pages of the node are stored once.
//
// read returns the PageSize bytes of a guest page, or nil for a zero page; it is
// called once a candidate, in ascending order, from this goroutine. Guest memory
// should not change meanwhile, but if it does, each page is still stored exactly
// as it was compared and hashed.
//
// If a node with the same content exists already, that one is returned. After an
// error nothing new is visible and the Store is as before; a full disk or a
// failed sync does not damage other nodes.
func (s *Store) Capture(spec NodeSpec, parent *Node, candidates *dirtytrack.PageSet, read func(page uint64) []byte) (*Node, error) {
	if parent == nil {
		return nil, fmt.Errorf("capture %s node: no parent: %w", spec.Kind, nodefile.ErrInvalid)
	}
	n, err := sealer{s}.capture(&spec, parent, candidates, read)
	if err != nil {
		return nil, fmt.Errorf("capture %s node below %s: %w", spec.Kind, parent.ID, err)
	}
	sealer{s}.shrink(n, candidates.Len())
	return n, nil
}

// shrink stores a new node as differences that was written as pages because it might
// have become large: of a machine's many candidates few pages may differ from the
// parent's. What cannot be made smaller stays as it is.
func (s sealer) shrink(n *Node, candidates uint64) {
	if chooseForm(s.formOption, n.Kind, candidates) == nodefile.FormDifferences || chooseForm(s.formOption, n.Kind, n.DeltaPages) != nodefile.FormDifferences ||
		n.StoredBytes() < n.DeltaBytes { // it was there, as differences
		return
	}
	_, _, _ = rewriter{s.Store}.reform(n.ID, nodefile.FormDifferences)
}

func (s sealer) capture(spec *NodeSpec, parent *Node, candidates *dirtytrack.PageSet, read func(page uint64) []byte) (*Node, error) {
	if err := s.writable(); err != nil {
		return nil, err
	}
	info := &nodefile.Info{
		Parent:      parent.ID,
		Kind:        spec.Kind,
		Key:         spec.Key.Clone(),
		ImageDigest: parent.ImageDigest,
		CPUFeatures: nodefile.CPUFeatures{Opaque: spec.CPUFeatures.Opaque, Named: slices.Clone(spec.CPUFeatures.Named)},
		ABIVersion:  spec.ABIVersion,
		Created:     createdAt(spec.Created),
		GuestPages:  parent.GuestPages,
		CaptureCost: spec.CaptureCost,
		SavedTime:   spec.SavedTime,
		Purity:      spec.Purity,
	}
	info.Purity.Reasons = slices.Clone(spec.Purity.Reasons)
	info.Root = nodefile.Digest{}.String() // until it is known
	if err := info.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", err, nodefile.ErrInvalid)
	}
	if len(spec.State) > nodefile.MaxStateBytes {
		return nil, fmt.Errorf("machine state has %d bytes, at most %d: %w", len(spec.State), nodefile.MaxStateBytes, nodefile.ErrInvalid)
	}
	if s.lookup(parent.ID) != parent {
		return nil, fmt.Errorf("parent: %w", ErrNotFound)
	}
	base, err := loader{s.Store}.load(parent)
	if err != nil {
		return nil, err
	}
	var diffs *nodefile.DifferenceEncoder
	if chooseForm(s.formOption, spec.Kind, candidates.Len()) == nodefile.FormDifferences {
		diffs = new(nodefile.DifferenceEncoder)
		diffs.AddState(base.state, spec.State)
	}
	w, err := s.newNodeWriter(s.path(nodesDir), diffs)
	if err != nil {
		return nil, err
	}
	defer w.discard()
	delta := newDeltaWriter(w.Pending, base.view, diffs)
	for page := range candidates.All() {
		if page >= info.GuestPages {
			return nil, fmt.Errorf("candidate page %#x, the guest has %#x pages: %w", page, info.GuestPages, nodefile.ErrInvalid)
		}
		if err := delta.add(page, read(page)); err != nil {
			return nil, err
		}
	}
	x, root, err := delta.finish()
	runtime.KeepAlive(base)
	if err != nil {
		return nil, err
	}
	info.Root = root.String()
	info.DeltaPages = x.DeltaPages()
	info.DeltaBytes = x.DataPages * nodefile.PageSize
	info.SharedPages = base.view.Backed() - delta.hidden
	return s.sealNode(w, info, spec.State, x, &parent.Info, base)
}

// autoDeltaPages bounds what FormAuto stores as differences: 4 MiB of whole
// pages. A larger node takes longer to expand than to map, and most of its pages
// are new rather than changed.
const autoDeltaPages = 1024

// chooseForm tells how a node with at most this many delta pages is stored.
func chooseForm(option nodefile.Form, kind nodefile.Kind, pages uint64) nodefile.Form {
	switch {
	case kind == nodefile.KindImage || pages > nodefile.MaxDeltaPages || option == nodefile.FormPages:
		return nodefile.FormPages
	case option == nodefile.FormDifferences || pages <= autoDeltaPages && (kind == nodefile.KindFunction || kind == nodefile.KindArgument || kind == nodefile.KindInstance):
		return nodefile.FormDifferences
	}
	return nodefile.FormPages
}

func createdAt(t time.Time) time.Time {
	if t.IsZero() {
		t = time.Now()
	}
	return t.UTC().Round(0)
}
