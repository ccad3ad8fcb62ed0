package plan

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// Node is a node of a plan: an import node of the lineage that has its packages and those of
// all nodes above it.
type Node struct {
	Packages   []string `json:"packages"`             // what it imports beyond its parent; empty for the root
	Direct     []string `json:"direct"`               // those that need the others
	Generation int      `json:"split_generation"`     // in which order nodes were found; those below N make the plan of N nodes
	Benefit    float64  `json:"benefit,omitempty"`    // in the weights of the fit, at the time that it was found
	Count      int      `json:"count"`                // calls of the workload that it serves
	SavedMS    float64  `json:"saved_ms,omitempty"`   // over these calls, against its parent
	MiB        float64  `json:"mib,omitempty"`        // of its packages, by their costs
	TestCount  *int     `json:"test_count,omitempty"` // in published trees
	Children   []*Node  `json:"children"`
}

// Tree is a plan. Its root has no packages: functions start there as they do without a plan.
type Tree struct{ Root *Node }

// ReadTree reads the JSON of a tree, and refuses one that breaks a rule of this package.
func ReadTree(r io.Reader) (*Tree, error) {
	doc, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	if err == nil && len(doc) > maxDocument {
		err = fmt.Errorf("it is longer than %d bytes", maxDocument)
	}
	root := &Node{}
	if err == nil {
		err = strict(doc, root)
	}
	if err == nil {
		err = root.check()
	}
	if err != nil {
		return nil, fmt.Errorf("read tree: %w", err)
	}
	return &Tree{Root: root}, nil
}

// Check refuses a tree that breaks a rule of this package, and brings packages into the
// form of columns.
func (t *Tree) Check() error { return t.Root.check() }

func (n *Node) check() error {
	if len(n.Packages) != 0 {
		return errors.New("its root has packages")
	}
	nodes := 0
	var walk func(n *Node, above map[string]bool, depth int) error
	walk = func(n *Node, above map[string]bool, depth int) error {
		if nodes++; nodes > MaxNodes || depth > MaxDepth {
			return fmt.Errorf("more than %d nodes, or more than %d below each other", MaxNodes, MaxDepth)
		}
		defer func() {
			for _, p := range n.Packages {
				delete(above, p)
			}
		}()
		for i, p := range n.Packages {
			column, err := Canonical(p)
			if err == nil && above[column] {
				err = fmt.Errorf("%s is twice on one path", column)
			}
			if err != nil {
				n.Packages = n.Packages[:i]
				return err
			}
			n.Packages[i] = column
			above[column] = true
		}
		for _, child := range n.Children {
			if child == nil || len(child.Packages) == 0 {
				return errors.New("a node below the root has no packages")
			}
			if err := walk(child, above, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	return walk(n, map[string]bool{}, 0)
}

// Each calls f for every node in pre-order, with its depth, 0 for the root.
func (t *Tree) Each(f func(n *Node, depth int)) {
	var walk func(n *Node, depth int)
	walk = func(n *Node, depth int) {
		f(n, depth)
		for _, c := range n.Children {
			walk(c, depth+1)
		}
	}
	walk(t.Root, 0)
}

// Len is the number of nodes, the root included.
func (t *Tree) Len() (n int) {
	t.Each(func(*Node, int) { n++ })
	return n
}

// Prefix returns the tree of the first n nodes that were found, the root being the first.
// Counts are those of the whole tree.
func (t *Tree) Prefix(n int) *Tree {
	var cut func(of *Node) *Node
	cut = func(of *Node) *Node {
		out := *of
		out.Children = []*Node{}
		for _, c := range of.Children {
			if c.Generation < n {
				out.Children = append(out.Children, cut(c))
			}
		}
		return &out
	}
	return &Tree{Root: cut(t.Root)}
}

// MiB is the memory of all nodes by the costs of what each imports; packages without a
// known cost count nothing.
func (t *Tree) MiB(costs Costs) (sum float64) {
	t.Each(func(n *Node, _ int) {
		for _, p := range n.Packages {
			sum += costs[p].MiB
		}
	})
	return sum
}

func newNode(packages, direct []string, generation int, benefit float64) *Node {
	return &Node{Packages: slices.Clip(packages), Direct: direct, Generation: generation, Benefit: benefit, Children: []*Node{}}
}
