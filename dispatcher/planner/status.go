package planner

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"seuss/dispatcher/plan"
	"seuss/lineage"
)

// Status says how far a plan is.
type Status struct {
	Owner string `json:"owner,omitempty"` // "": it is for everybody's functions
	Place
	// Outdated: the image's name leads to another image by now, whose functions this plan
	// does not concern.
	Outdated bool         `json:"outdated,omitempty"`
	At       time.Time    `json:"applied"`
	Fitted   bool         `json:"fitted,omitempty"` // by the daemon itself
	Nodes    []NodeStatus `json:"nodes"`
	Skipped  []Skipped    `json:"skipped,omitempty"`
	Left     int          `json:"left"`    // nodes and packages that are still to be looked at or made
	Moving   int          `json:"moving"`  // functions, of all plans, that wait to be looked at
	Moved    uint64       `json:"moved"`   // that were captured anew, of all plans, since this process began
	Trouble  string       `json:"trouble"` // why it does not go on at present
}

// NodeStatus is a node's.
type NodeStatus struct {
	Node
	State string `json:"state"` // made, left, evicted, failed or skipped
	Why   string `json:"why,omitempty"`
	ID    string `json:"id,omitempty"`
	Bytes uint64 `json:"bytes,omitempty"`
	Hits  uint64 `json:"hits,omitempty"`
}

// Skipped is a package that a plan names and that is in no node.
type Skipped struct {
	Package string `json:"package"`
	Why     string `json:"why"`
}

// States of nodes.
const (
	Made     = "made"
	Left     = "left"    // it is made when a function needs it, or in its turn
	Evicted  = "evicted" // it was made; a function that needs it has it made again
	NodeFail = "failed"
	NodeSkip = "skipped" // all that it has beyond its parent is skipped
)

// Status describes the plans of an owner and those for all; all: of every owner.
func (p *Planner) Status(owner string, all bool) []*Status {
	p.mu.Lock()
	var plans []live
	for k, l := range p.live {
		if all || k.owner == "" || k.owner == owner {
			now := *l
			now.failed, now.tried = maps.Clone(l.failed), maps.Clone(l.tried)
			plans = append(plans, now)
		}
	}
	moving, moved := p.moving.count, p.moved
	p.mu.Unlock()
	list := []*Status{}
	for i := range plans {
		s := plans[i].describe(p.host.Current, p.nodes.Catalogue())
		s.Moving, s.Moved = moving, moved
		list = append(list, s)
	}
	return sortPlans(list)
}

func sortPlans(list []*Status) []*Status {
	slices.SortFunc(list, func(a, b *Status) int { return strings.Compare(a.Owner+" "+a.Image, b.Owner+" "+b.Image) })
	return list
}

// StatusIn describes the plans in a store's directory for who has no Planner; trouble says
// why. What cannot be made, and what waits, only their Planner knows.
func StatusIn(s *lineage.Store, trouble string) []*Status {
	list := []*Status{}
	plans, _ := ReadPlans(s.Dir()) // those that cannot be read are nobody's
	for _, a := range plans {
		k, err := readKnowledge(filepath.Join(s.Dir(), Dir), &a.Place)
		if err != nil || k == nil {
			k = newKnowledge(nil)
		}
		l := &live{laid: lay(a, k)}
		st := l.describe(func(Place) bool { return true }, s.Catalogue())
		st.Trouble = trouble
		list = append(list, st)
	}
	return sortPlans(list)
}

// describe says how far a plan is.
func (l *live) describe(current func(Place) bool, nodes lineage.Catalogue) *Status {
	s := &Status{Owner: l.Owner, Place: l.Place, At: l.At, Fitted: l.Fitted, Nodes: []NodeStatus{}, Trouble: l.trouble, Outdated: !current(l.Place)}
	named := map[string]bool{}
	for i, n := range l.Nodes {
		ns := NodeStatus{Node: n, State: Left}
		if l.owned[i] {
			if n := Find(nodes, &l.Place, l.steps[i]); n != nil {
				ns.ID, ns.Bytes, ns.Hits = n.ID, n.StoredBytes(), n.Hits()
			}
		}
		unknown := false
		for _, pin := range n.Packages {
			unknown = l.tell(s, pin, named) || unknown
		}
		switch why := l.failed[i]; {
		case why != "":
			ns.State, ns.Why = NodeFail, why
		case ns.ID != "":
			ns.State = Made
		case unknown:
			s.Left++
		case !l.owned[i]:
			ns.State = NodeSkip
		case l.tried[i]:
			ns.State = Evicted
		default:
			s.Left++
		}
		s.Nodes = append(s.Nodes, ns)
	}
	return s
}

// tell adds to a status what is to be said of a package, once, and reports whether it is
// still to be looked at.
func (l *live) tell(s *Status, pin string, named map[string]bool) (unknown bool) {
	found := l.known.Packages[key(pin)]
	unknown = len(l.known.Packages) == 0 || found != nil && !found.Probed
	if named[pin] {
		return unknown
	}
	named[pin] = true
	switch {
	case unknown:
		s.Left++
	case found == nil:
		s.Skipped = append(s.Skipped, Skipped{pin, "the image does not have it"})
	case found.Why != "":
		s.Skipped = append(s.Skipped, Skipped{pin, found.Why})
	}
	return unknown
}

// Tree is the plan as package plan has it.
func (s *Status) Tree() *plan.Tree {
	a := Applied{Nodes: make([]Node, len(s.Nodes))}
	for i, n := range s.Nodes {
		a.Nodes[i] = n.Node
	}
	return a.tree()
}

func (a *Applied) tree() *plan.Tree {
	nodes := make([]*plan.Node, len(a.Nodes))
	root := &plan.Node{Packages: []string{}, Direct: []string{}, Children: []*plan.Node{}}
	for i, n := range a.Nodes {
		nodes[i] = &plan.Node{Packages: slices.Clone(n.Packages), Direct: slices.Clone(n.Packages), Generation: i + 1, Count: n.Calls, SavedMS: n.SavedMS, Children: []*plan.Node{}}
		parent := root
		if n.Parent >= 0 {
			parent = nodes[n.Parent]
		}
		parent.Children = append(parent.Children, nodes[i])
	}
	return &plan.Tree{Root: root}
}
