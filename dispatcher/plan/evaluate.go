package plan

import (
	"fmt"
	"math"
)

// Lookup says which node serves a call.
type Lookup string

// The lookups of the study.
const (
	// LookupFirst goes from the root to the first child, in child order, that holds nothing
	// which the call does not need, and on from there.
	LookupFirst Lookup = "first"
	// LookupBest takes the node that lacks the fewest packages, the first in pre-order.
	LookupBest Lookup = "best"
)

// Lookups are all of them.
var Lookups = []Lookup{LookupFirst, LookupBest}

// Evaluation is how well a tree serves a workload. Ratios are rounded to 5 decimals, as
// published ones are.
type Evaluation struct {
	Nodes       int     `json:"nodes"`
	Calls       int     `json:"calls"`
	Hit         float64 `json:"hit"`               // calls that a node below the root serves, or that need no package
	PackageHit  float64 `json:"pkg_hit"`           // packages that are there already
	RemainingMS float64 `json:"remaining_ms"`      // of imports, over all calls; 0 without costs
	WithoutMS   float64 `json:"without_ms"`        // the same with no tree
	MiB         float64 `json:"mib"`               // of the tree, by the packages' costs
	Unknown     int     `json:"unknown,omitempty"` // packages that are needed and have no known cost
	Served      []int   `json:"-"`                 // calls by node, in pre-order
}

// Evaluate serves every call of a workload from a tree. Costs may be nil.
func Evaluate(t *Tree, w *Workload, lookup Lookup, costs Costs) (Evaluation, error) {
	if lookup != LookupFirst && lookup != LookupBest {
		return Evaluation{}, fmt.Errorf("lookup %q: want %v", lookup, Lookups)
	}
	e := Evaluation{Nodes: t.Len(), MiB: t.MiB(costs)}
	e.Served = make([]int, e.Nodes)
	l := lay(t, w)
	needs := make([]bool, len(w.Columns))
	ms := make([]float64, len(w.Columns))
	for i, c := range w.Columns {
		cost, ok := costs[c]
		if ms[i] = cost.MS; !ok {
			e.Unknown++
		}
	}
	hits, pins, misses := 0, 0, 0
	for _, f := range w.Functions {
		total := 0.0
		for _, c := range f.Packages {
			needs[c] = true
			total += ms[c]
		}
		at := l.serve(needs, lookup)
		saved := 0.0
		for n := at; n > 0; n = l.nodes[n].parent {
			for _, c := range l.nodes[n].packages {
				saved += ms[c]
			}
		}
		for _, c := range f.Packages {
			needs[c] = false
		}
		if at > 0 || len(f.Packages) == 0 {
			hits += f.Calls
		}
		e.Calls += f.Calls
		e.Served[at] += f.Calls
		pins += f.Calls * len(f.Packages)
		misses += f.Calls * (len(f.Packages) - l.nodes[at].has)
		e.WithoutMS += float64(f.Calls) * total
		e.RemainingMS += float64(f.Calls) * max(total-saved, 0)
	}
	e.Hit, e.PackageHit = ratio(hits, e.Calls), ratio(pins-misses, pins)
	return e, nil
}

func ratio(a, b int) float64 {
	if b == 0 {
		return 0
	}
	return math.Round(float64(a)/float64(b)*1e5) / 1e5
}

// laid is a tree in the columns of a workload, in pre-order.
type laid struct{ nodes []laidNode }

type laidNode struct {
	parent   int     // -1 for the root
	packages []int32 // nil if one of them is needed by no function
	has      int     // packages from the root to here
	children []int
}

func lay(t *Tree, w *Workload) *laid {
	l := &laid{}
	var add func(n *Node, parent, has int) int
	add = func(n *Node, parent, has int) int {
		at := len(l.nodes)
		packages, ok := w.indices(n.Packages)
		if !ok {
			packages = nil
		}
		has += len(packages)
		l.nodes = append(l.nodes, laidNode{parent: parent, packages: packages, has: has})
		var children []int
		for _, c := range n.Children {
			children = append(children, add(c, at, has))
		}
		l.nodes[at].children = children
		return at
	}
	add(t.Root, -1, 0)
	return l
}

// serve returns the node that serves a call that needs these columns.
func (l *laid) serve(needs []bool, lookup Lookup) int {
	at := 0
	if lookup == LookupFirst {
	next:
		for {
			for _, c := range l.nodes[at].children {
				if l.nodes[c].within(needs) {
					at = c
					continue next
				}
			}
			return at
		}
	}
	var walk func(n int)
	walk = func(n int) {
		if l.nodes[n].has > l.nodes[at].has {
			at = n
		}
		for _, c := range l.nodes[n].children {
			if l.nodes[c].within(needs) {
				walk(c)
			}
		}
	}
	walk(0)
	return at
}

func (n *laidNode) within(needs []bool) bool {
	for _, c := range n.packages {
		if !needs[c] {
			return false
		}
	}
	return len(n.packages) > 0
}
