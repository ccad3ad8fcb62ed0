package cmdline

import (
	"fmt"
	"slices"
	"strings"

	"seuss/dispatcher/api"
	"seuss/lineage"
)

// NodeKey says in words what a node holds beyond its parent.
func NodeKey(n *api.Snapshot, tags map[string]string) string {
	k := n.Key
	switch n.Kind {
	case lineage.KindImage:
		if tag := tags[n.ImageDigest]; tag != "" {
			return tag
		}
		return Short(n.ImageDigest)
	case lineage.KindImport:
		return cut(strings.Join(k.Imports, ","), MaxImportsText)
	case lineage.KindFunction:
		if k.Lazy {
			return k.Function + " (lazy arguments)"
		}
		if k.Contract != "" {
			return k.Function + " over " + k.Contract
		}
		return k.Function
	case lineage.KindInstance:
		if k.Function == "" || strings.HasSuffix(k.Function, "/") {
			return "live interpreter"
		}
		return k.Function + " live"
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

// TreeKey is nodeKey for a node drawn below its parent: of an import node it
// names what the parent has not imported.
func TreeKey(n, parent *api.Snapshot, tags map[string]string) string {
	if n.Kind != lineage.KindImport || parent == nil {
		return NodeKey(n, tags)
	}
	var added []string
	for _, module := range n.Key.Imports {
		if !slices.Contains(parent.Key.Imports, module) {
			added = append(added, module)
		}
	}
	return cut(strings.Join(added, ","), MaxImportsText)
}

// What fits a line of a table.
const (
	MaxImportsText  = 60
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
		return fmt.Sprintf("<%s>", Short(a.Digest))
	}
	return cut(a.Preview, maxArgumentText)
}

// Descendants returns the ids of all nodes below a node.
func Descendants(s *lineage.Store, id string) (ids []string) {
	for _, child := range s.Children(id) {
		ids = append(append(ids, child.ID), Descendants(s, child.ID)...)
	}
	return ids
}
