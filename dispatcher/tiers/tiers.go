package tiers

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"seuss/lineage"
)

// Tier is what one of the tiers has done for starts since Open, and what it holds. What the
// first lacks is asked of the second, and what that lacks of the third.
type Tier struct {
	Hits    uint64 `json:"hits"`
	Misses  uint64 `json:"misses"`
	Removed uint64 `json:"removed"` // nodes, or layers
	Bytes   uint64 `json:"bytes"`
	Budget  uint64 `json:"budget,omitempty"` // 0: no bound of its own
}

// Tiers are all of them.
type Tiers struct {
	Handler  Tier `json:"handler"`  // function nodes, and argument nodes below
	Imports  Tier `json:"imports"`  // import nodes
	Packages Tier `json:"packages"` // layers of images, as images are opened
}

// Budgets are those of the tiers' files, in bytes; 0: no bound.
type Budgets struct {
	Handler, Imports, Packages uint64
}

// youngLayer is how long a layer that no image names is left to who may be about to name it,
// though there are too many.
const youngLayer = time.Hour

// ErrOver: what must stay takes more than its tier's budget.
var ErrOver = errors.New("what must stay takes more than the budget")

// Report is what was done for the budgets.
type Report struct {
	Nodes  int // removed
	Layers int
}

// Nodes is a store of nodes.
type Nodes interface {
	GC(lineage.GCOptions) (lineage.GCReport, error)
	Remove(id string, cascade bool) error
	Catalogue() lineage.Catalogue
}

// handler and imports say which nodes are of a tier.
func handler(n *lineage.Node) bool {
	return n.Kind == lineage.KindFunction || n.Kind == lineage.KindArgument
}

func imports(n *lineage.Node) bool { return n.Kind == lineage.KindImport }

// Fit brings the tiers to their budgets: nodes go by their value, as by lineage.Store.GC with
// o's Running and Wanted. The error matches ErrOver where that cannot be done.
func Fit(b Budgets, nodes Nodes, p *Packages, o lineage.GCOptions) (r Report, err error) {
	tier := func(name string, budget uint64, of func(*lineage.Node) bool, further func() (int, bool, error)) {
		if budget == 0 {
			return
		}
		ask := o
		ask.Only, ask.Budget = of, budget
		report, failed := nodes.GC(ask)
		within := report.WithinBudget
		r.Nodes += len(report.Removed)
		if failed == nil && !within && further != nil {
			var more int
			more, within, failed = further()
			r.Nodes += more
		}
		if failed == nil && !within {
			failed = fmt.Errorf("the tier %s, of %d bytes: %w", name, budget, ErrOver)
		}
		err = errors.Join(err, failed)
	}
	tier("handler", b.Handler, handler, nil)
	tier("imports", b.Imports, imports, func() (int, bool, error) { return cascade(b.Imports, nodes, o) })
	if b.Packages > 0 {
		if _, bytes := p.stored(); bytes > b.Packages {
			gone, failed := p.Store.CollectLayers(youngLayer)
			r.Layers = len(gone)
			p.mu.Lock()
			p.removed += uint64(len(gone))
			p.mu.Unlock()
			if _, bytes = p.stored(); failed == nil && bytes > b.Packages {
				failed = fmt.Errorf("the tier packages, of %d bytes: images name layers of %d: remove images (image rm): %w", b.Packages, bytes, ErrOver)
			}
			err = errors.Join(err, failed)
		}
	}
	return r, err
}

// worth is an import node with all below it.
type worth struct {
	node  *lineage.Node
	saves float64 // time an hour
	count int     // nodes
}

func least(a, b worth) int {
	return cmp.Or(cmp.Compare(a.saves, b.saves), cmp.Compare(a.node.ID, b.node.ID))
}

// cascade removes import nodes with the functions below them, those first that are worth
// least together.
func cascade(budget uint64, nodes Nodes, o lineage.GCOptions) (removed int, within bool, err error) {
	now := time.Now()
	var bytes uint64
	var line []worth // least first
	c := nodes.Catalogue()
	for _, n := range c.Kind(lineage.KindImport) {
		bytes += n.StoredBytes()
		if w, ok := below(c, n, o.Running, now); ok {
			line = append(line, w)
		}
	}
	slices.SortFunc(line, least)
	for bytes > budget {
		if len(line) == 0 {
			return removed, false, nil
		}
		w := line[0]
		line = line[1:]
		if err := nodes.Remove(w.node.ID, true); err != nil {
			return removed, false, err
		}
		bytes -= min(bytes, w.node.StoredBytes())
		removed += w.count
		c = nodes.Catalogue()
		parent, err := c.Get(w.node.Parent)
		if err != nil || !imports(parent) {
			continue
		}
		if p, ok := below(c, parent, o.Running, now); ok { // it was the last import node there
			at, _ := slices.BinarySearchFunc(line, p, least)
			line = slices.Insert(line, at, p)
		}
	}
	return removed, true, nil
}

// below sums up what a node with all below it is worth; ok is false if another import node
// hangs on it, which goes before, or something must stay.
func below(c lineage.Catalogue, n *lineage.Node, running func(string) bool, now time.Time) (w worth, ok bool) {
	if running != nil && running(n.ID) {
		return w, false
	}
	for _, m := range c.NodeMarks(n.ID) {
		if m.Kind == lineage.MarkTag || m.Kind == lineage.MarkPin && (m.Expires.IsZero() || now.Before(m.Expires)) {
			return w, false
		}
	}
	w = worth{node: n, saves: n.Value(now) * float64(n.StoredBytes()), count: 1}
	for _, child := range c.Children(n.ID) {
		if imports(child) {
			return w, false
		}
		its, ok := below(c, child, running, now)
		if !ok {
			return w, false
		}
		w.saves, w.count = w.saves+its.saves, w.count+its.count
	}
	return w, true
}
