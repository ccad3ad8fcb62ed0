package api

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"seuss/dispatcher/bounds"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/imports"
	"seuss/lineage"
)

// Snapshot is a node; in a tree it has its children.
type Snapshot struct {
	lineage.Info
	SharedBytes uint64      `json:"shared_bytes"`
	ImageBytes  uint64      `json:"image_bytes,omitempty"` // of an image's file and its layers, which store its pages
	FileBytes   uint64      `json:"file_bytes"`            // of the node's file
	Hits        uint64      `json:"hits"`
	Pure        bool        `json:"pure"`
	Tags        []string    `json:"tags,omitempty"`
	Pinned      bool        `json:"pinned,omitempty"`
	Planned     bool        `json:"planned,omitempty"` // a plan that is applied wants it
	Children    []*Snapshot `json:"children,omitempty"`
}

// Stored is what the snapshot takes on disk, its image's file included, in bytes.
func (s *Snapshot) Stored() uint64 { return s.FileBytes + s.ImageBytes }

// SnapshotOf describes a node of a store.
func SnapshotOf(s *lineage.Store, n *lineage.Node) *Snapshot {
	item := &Snapshot{Info: n.Info, SharedBytes: n.SharedPages * lineage.PageSize, FileBytes: n.StoredBytes(), Hits: n.Hits(), Pure: n.Purity.Pure()}
	for _, m := range s.Catalogue().NodeMarks(n.ID) {
		switch m.Kind {
		case lineage.MarkTag:
			item.Tags = append(item.Tags, m.Name)
		case lineage.MarkPin:
			item.Pinned = m.Expires.IsZero() || time.Now().Before(m.Expires)
		}
	}
	if n.Kind == lineage.KindImage {
		if layers, err := s.Transfer().LayerPages(n); err == nil {
			item.DeltaPages += layers // what its guests see that no parent has
		}
		if paths, err := s.Transfer().ImageFiles(n.ImageDigest); err == nil {
			for _, path := range paths {
				if st, err := os.Stat(path); err == nil {
					item.ImageBytes += uint64(st.Size())
				}
			}
		}
	}
	return item
}

// Find returns the one snapshot of a list that a reference leads to: an id, the beginning
// of one, or a tag. The error matches lineage.ErrNotFound or ErrAmbiguous.
func Find(list []*Snapshot, ref string) (found *Snapshot, err error) {
	for _, s := range list {
		if s.ID == ref || slices.Contains(s.Tags, ref) {
			return s, nil
		}
	}
	for _, s := range list {
		if ref == "" || !strings.HasPrefix(s.ID, ref) {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("node %s: %w", ref, lineage.ErrAmbiguous)
		}
		found = s
	}
	if found == nil {
		return nil, fmt.Errorf("node %s: %w", ref, lineage.ErrNotFound)
	}
	return found, nil
}

// Forest arranges snapshots as trees, those whose parent is not among them at the
// roots, in their order.
func Forest(list []*Snapshot) []*Snapshot {
	trees, known := []*Snapshot{}, map[string]*Snapshot{}
	for _, s := range list {
		known[s.ID] = s
	}
	for _, s := range list {
		if parent := known[s.Parent]; parent != nil {
			parent.Children = append(parent.Children, s)
		} else {
			trees = append(trees, s)
		}
	}
	return trees
}

// Function is a deployment with what its snapshots sum up to.
type Function struct {
	functions.Function
	Nodes       int    `json:"nodes"` // function and argument nodes of the deployed code
	StoredBytes uint64 `json:"stored_bytes"`
	Hits        uint64 `json:"hits"`
	// Owner is who has deployed it, where that is not the default owner. Name is what it
	// is called by who asks.
	Owner string `json:"owner,omitempty"`
	// Bounds is how far instances may go; nil: the record says what cannot be read.
	Bounds *bounds.Summary `json:"bounds,omitempty"`
	// Loaded is what loading its code has imported: a hint, which the function could
	// forge; nil: that is not known.
	Loaded *imports.Summary `json:"loaded,omitempty"`
}

// FunctionOf describes a deployment of a store over that of its snapshots, within the
// bounds of all functions.
func FunctionOf(s *lineage.Store, deployed *functions.Store, f functions.Function, outer *bounds.Outer) Function {
	item := Function{Function: f}
	item.Loaded, _ = deployed.Imported(&f) // a hint that cannot be read is none
	if reach, err := outer.Summarize(&f.Settings); err == nil {
		item.Bounds = &reach
	}
	for _, n := range s.Function(functions.BaseName(f.Name)) {
		if n.Key.CodeDigest != f.CodeDigest {
			continue // of another version
		}
		item.Nodes++
		item.StoredBytes += n.StoredBytes()
		item.Hits += n.Hits()
	}
	return item
}
