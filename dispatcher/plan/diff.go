package plan

import (
	"slices"
	"strings"
)

// Difference is what two plans do not share: nodes by all packages that they hold, sorted.
type Difference struct {
	Removed [][]string `json:"removed"`
	Added   [][]string `json:"added"`
	Kept    int        `json:"kept"` // the root not counted
}

// Diff compares plans by the packages that their nodes hold, wherever these are in the tree.
func Diff(before, after *Tree) Difference {
	old, new := before.held(), after.held()
	d := Difference{Removed: [][]string{}, Added: [][]string{}}
	for key, packages := range old {
		if _, ok := new[key]; ok {
			d.Kept++
		} else {
			d.Removed = append(d.Removed, packages)
		}
	}
	for key, packages := range new {
		if _, ok := old[key]; !ok {
			d.Added = append(d.Added, packages)
		}
	}
	slices.SortFunc(d.Removed, slices.Compare)
	slices.SortFunc(d.Added, slices.Compare)
	return d
}

// held are all packages of each node below the root, with those of the nodes above it.
func (t *Tree) held() map[string][]string {
	out := map[string][]string{}
	var walk func(n *Node, above []string)
	walk = func(n *Node, above []string) {
		all := slices.Concat(above, n.Packages)
		if len(all) > 0 {
			sorted := slices.Sorted(slices.Values(all))
			out[strings.Join(sorted, "\n")] = sorted
		}
		for _, c := range n.Children {
			walk(c, all)
		}
	}
	walk(t.Root, nil)
	return out
}
