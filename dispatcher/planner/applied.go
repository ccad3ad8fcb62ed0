package planner

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"seuss/dispatcher/plan"
	"seuss/lineage"
)

// Applied is a plan that is lived with. It does not change; another state is another one.
type Applied struct {
	Format int `json:"format"`
	// Owner is whose functions it is for; "" is everybody's.
	Owner string `json:"owner,omitempty"`
	Place
	At     time.Time `json:"applied"`
	Fitted bool      `json:"fitted,omitempty"` // by the daemon itself
	Nodes  []Node    `json:"nodes"`            // parents before children
}

// Node is a node of an applied plan.
type Node struct {
	Parent   int      `json:"parent"`   // index; -1: the image's base
	Packages []string `json:"packages"` // beyond its parent, NAME==VERSION
	Calls    int      `json:"calls,omitempty"`
	SavedMS  float64  `json:"saved_ms,omitempty"` // over these calls, as it was predicted
}

// Which names a plan.
type Which struct {
	Image   string `json:"image,omitempty"` // "": the default runtime's
	Runtime string `json:"runtime,omitempty"`
	Shared  bool   `json:"shared,omitempty"` // it is for everybody's functions; else for Owner's
	Owner   string `json:"-"`                // who asks
}

func (w *Which) ownerOf() string {
	if w.Shared {
		return ""
	}
	return w.Owner
}

// Ask asks for a plan to be applied.
type Ask struct {
	Which
	Tree *plan.Node `json:"tree"`
	Now  bool       `json:"now,omitempty"` // what it lacks is made without rests

	fitted bool // by Refits
}

const appliedFormat = 1

// newApplied lays a tree out.
func newApplied(owner string, at Place, tree *plan.Tree, now time.Time) (*Applied, error) {
	most := MaxNodes
	if owner != "" {
		most = MaxOwnersNodes
	}
	a := &Applied{Format: appliedFormat, Owner: owner, Place: at, At: now.UTC().Round(0), Nodes: []Node{}}
	var add func(n *plan.Node, parent int)
	add = func(n *plan.Node, parent int) {
		if n != tree.Root {
			a.Nodes = append(a.Nodes, Node{parent, slices.Clone(n.Packages), n.Count, n.SavedMS})
			parent = len(a.Nodes) - 1
		}
		for _, c := range n.Children {
			add(c, parent)
		}
	}
	add(tree.Root, -1)
	if len(a.Nodes) > most {
		return nil, fmt.Errorf("the plan has %d nodes, at most %d can be applied: fit it with --nodes %d: %w", len(a.Nodes), most, most+1, lineage.ErrInvalid)
	}
	return a, nil
}

// check refuses a file that says what no plan can.
func (a *Applied) check() error {
	if a.Format != appliedFormat {
		return fmt.Errorf("format %d, this release reads %d: %w", a.Format, appliedFormat, lineage.ErrFormat)
	}
	for i, n := range a.Nodes {
		if n.Parent < -1 || n.Parent >= i || len(n.Packages) == 0 {
			return fmt.Errorf("node %d has parent %d and %d packages: %w", i, n.Parent, len(n.Packages), lineage.ErrFormat)
		}
	}
	if len(a.Nodes) > MaxNodes {
		return fmt.Errorf("%d nodes, at most %d: %w", len(a.Nodes), MaxNodes, lineage.ErrFormat)
	}
	return nil
}

// laid is a plan with what is known of its packages: where its nodes are in the lineage,
// and who may start from them.
type laid struct {
	*Applied
	steps [][]Step   // of each node; the last is its own, unless that has nothing to import
	needs [][]string // keys of all packages that it holds, sorted
	ms    []float64  // that starting from it saves
	owned []bool     // it has packages beyond its parent's, and can be made
	order []int      // in which nodes are made: those that save most, as was predicted, first
	known *knowledge // that it was laid out with
}

// lay lays a plan out. Packages that cannot be imported, or are not there, are left out.
func lay(a *Applied, k *knowledge) *laid {
	l := &laid{Applied: a, steps: make([][]Step, len(a.Nodes)), needs: make([][]string, len(a.Nodes)), ms: make([]float64, len(a.Nodes)), owned: make([]bool, len(a.Nodes)), known: k}
	for i, n := range a.Nodes {
		held := map[string]bool{}
		if n.Parent >= 0 {
			for _, id := range l.needs[n.Parent] {
				held[id] = true
			}
			l.steps[i] = slices.Clip(l.steps[n.Parent])
		}
		var step Step
		for _, pin := range n.Packages {
			p := k.Packages[key(pin)]
			if p == nil || !p.usable() {
				continue
			}
			step.Modules = append(step.Modules, p.Modules...)
			for _, id := range p.Needs {
				held[id] = true
			}
		}
		total := len(step.Modules)
		for _, s := range l.steps[i] {
			total += len(s.Modules)
		}
		if len(step.Modules) > 0 && total <= maxPathModules {
			l.steps[i] = append(l.steps[i], step)
			l.owned[i] = true
		}
		if l.owned[i] {
			l.needs[i] = sorted(held)
		} else if n.Parent >= 0 {
			l.needs[i] = l.needs[n.Parent]
		}
		for _, id := range l.needs[i] {
			if p := k.Packages[id]; p != nil {
				l.ms[i] += p.MS
			}
		}
		l.order = append(l.order, i)
	}
	slices.SortStableFunc(l.order, func(i, j int) int { return cmp.Compare(a.Nodes[j].SavedMS, a.Nodes[i].SavedMS) })
	return l
}

// without returns l without a node, and those below it.
func (l *laid) without(i int) *laid {
	less := *l
	less.owned = slices.Clone(l.owned)
	less.owned[i] = false
	for n := i + 1; n < len(l.Nodes); n++ { // parents come before children
		if at := l.Nodes[n].Parent; at >= 0 && (at == i || !less.owned[at] && l.owned[at]) {
			less.owned[n] = false
		}
	}
	return &less
}

// best returns the node that saves a function with such needs most, -1 if there is none.
func (l *laid) best(needs map[string]bool) int {
	at := -1
next:
	for i := range l.Nodes {
		if !l.owned[i] || at >= 0 && l.ms[i] <= l.ms[at] {
			continue
		}
		for _, id := range l.needs[i] {
			if !needs[id] {
				continue next
			}
		}
		at = i
	}
	return at
}
