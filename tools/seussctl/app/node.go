package app

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"seuss/images"
	"seuss/lineage"
)

// nodeItem is a node as commands print it.
type nodeItem struct {
	lineage.Info
	SharedBytes uint64 `json:"shared_bytes"`
	// ImageBytes is the size of an image node's file, which stores its pages.
	ImageBytes uint64   `json:"image_bytes,omitempty"`
	FileBytes  uint64   `json:"file_bytes"` // of the node's file
	Hits       uint64   `json:"hits"`
	Pure       bool     `json:"pure"`
	Tags       []string `json:"tags,omitempty"`
	Pinned     bool     `json:"pinned,omitempty"`
	// LoadingPages and LoadingRuns are the size of the loading set, in snapshot show only,
	// and so are Donors.
	LoadingPages uint64          `json:"loading_pages,omitempty"`
	LoadingRuns  uint64          `json:"loading_runs,omitempty"`
	Donors       []lineage.Donor `json:"donors,omitempty"`
	Children     []*nodeItem     `json:"children,omitempty"` // in a tree only
}

func newNodeItem(s *lineage.Store, n *lineage.Node) *nodeItem {
	item := &nodeItem{Info: n.Info, SharedBytes: pageBytes(n.SharedPages), FileBytes: n.StoredBytes(), Hits: n.Hits(), Pure: n.Purity.Pure()}
	for _, m := range s.Catalogue().NodeMarks(n.ID) {
		switch m.Kind {
		case lineage.MarkTag:
			item.Tags = append(item.Tags, m.Name)
		case lineage.MarkPin:
			item.Pinned = m.Expires.IsZero() || time.Now().Before(m.Expires)
		}
	}
	if n.Kind == lineage.KindImage {
		if st, err := os.Stat(s.ImagePath(n.ImageDigest)); err == nil {
			item.ImageBytes = uint64(st.Size())
		}
	}
	return item
}

// stored is what the node takes on disk.
func (n *nodeItem) stored() uint64 { return n.FileBytes + n.ImageBytes }

// nodeTree returns the item of a node with all that hang on it.
func nodeTree(s *lineage.Store, n *lineage.Node) *nodeItem {
	item := newNodeItem(s, n)
	for _, child := range s.Children(n.ID) {
		item.Children = append(item.Children, nodeTree(s, child))
	}
	return item
}

// forest returns the trees of a store; s may be nil, an empty one.
func forest(s *lineage.Store) []*nodeItem {
	trees := []*nodeItem{}
	if s == nil {
		return trees
	}
	for _, n := range s.Kind(lineage.KindImage) {
		trees = append(trees, nodeTree(s, n))
	}
	return trees
}

// imageTags returns the names that lead to images, by digest.
func imageTags(store images.Store) map[string]string {
	tags := map[string]string{}
	list, err := store.List()
	if err != nil {
		return tags // the names are a decoration
	}
	for _, i := range list {
		tags[i.Digest] = strings.Join(i.Tags, ",")
	}
	return tags
}

// nodeKey says in words what a node holds beyond its parent.
func nodeKey(n *nodeItem, tags map[string]string) string {
	k := n.Key
	switch n.Kind {
	case lineage.KindImage:
		if tag := tags[n.ImageDigest]; tag != "" {
			return tag
		}
		return short(n.ImageDigest)
	case lineage.KindImport:
		return cut(strings.Join(k.Imports, ","), maxImportsText)
	case lineage.KindFunction:
		if k.Lazy {
			return k.Function + " (lazy arguments)"
		}
		return k.Function
	case lineage.KindArgument:
		var parts []string
		for _, a := range k.Args {
			parts = append(parts, a.Key+"="+argumentPreview(a))
		}
		text := k.Function + "(" + strings.Join(parts, ", ")
		if k.NextKey != "" {
			if len(parts) > 0 {
				text += ", "
			}
			text += k.NextKey + "=?"
		}
		text += ")"
		if !n.Pure {
			text += " impure"
		}
		return text
	}
	return ""
}

// treeKey is nodeKey for a node drawn below its parent: of an import node it
// names what the parent has not imported.
func treeKey(n, parent *nodeItem, tags map[string]string) string {
	if n.Kind != lineage.KindImport || parent == nil {
		return nodeKey(n, tags)
	}
	var added []string
	for _, module := range n.Key.Imports {
		if !slices.Contains(parent.Key.Imports, module) {
			added = append(added, module)
		}
	}
	return cut(strings.Join(added, ","), maxImportsText)
}

// What fits a line of a table.
const (
	maxImportsText  = 60
	maxArgumentText = 28
)

// cut shortens text to most characters.
func cut(text string, most int) string {
	if r := []rune(text); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return text
}

// argumentPreview shortens a bound value; one that is not text has a digest only.
func argumentPreview(a lineage.Binding) string {
	if a.Preview == "" {
		return fmt.Sprintf("<%s>", short(a.Digest))
	}
	return cut(a.Preview, maxArgumentText)
}
