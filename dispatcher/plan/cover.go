package plan

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"math"
)

// CoverOptions are those of [Cover]. One of Nodes and MiB must be given.
type CoverOptions struct {
	Nodes int     // at most, the root included; 0 = as many as pay
	MiB   float64 // of all nodes, by the costs of packages; 0 = no bound
}

// Cover fits a tree by what it saves. A node of a lineage is a delta that shares its parent's
// pages, and a start from a deep node takes as long as one from a shallow one: so a plan is a
// choice of sets of packages, of which each function starts from the one that saves it most,
// and the tree only says which set is stored as a difference against which. What a choice
// saves for all functions is monotone and submodular in the sets, so the greedy choice is
// within 1-1/e of the best one (Nemhauser, Wolsey and Fisher 1978); exchanges follow that
// take the set that is missed least for the one that would save most.
//
// Candidates are the sets of packages that functions have in common (each function's own, and
// intersections), as far as they can be imported: a set with a package lacks none that this
// one depends on. A greedy splitter cannot choose them: it moves functions into one child and
// keeps every other node from them.
//
// Under a bound of memory the choice goes by milliseconds for each byte that a set adds to the
// tree; the better of that choice and of the one that ignores bytes is taken.
func Cover(ctx context.Context, w *Workload, deps Dependencies, costs Costs, o CoverOptions) (*Tree, error) {
	switch {
	case o.Nodes < 0 || o.Nodes > MaxNodes:
		return nil, fmt.Errorf("%d nodes: want 1 to %d", o.Nodes, MaxNodes)
	case math.IsNaN(o.MiB) || o.MiB < 0:
		return nil, fmt.Errorf("a budget of %g MiB", o.MiB)
	case o.Nodes == 0 && o.MiB == 0:
		return nil, errors.New("a plan needs a number of nodes or a budget of memory")
	}
	if o.Nodes == 0 {
		o.Nodes = MaxNodes
	}
	of, err := costs.Of(w)
	if err != nil {
		return nil, err
	}
	c := &cover{CoverOptions: o, costs: of}
	c.rows = newRows(c.withUnseen(w, deps), true)
	if c.candidates, err = c.commonSets(ctx, deps); err != nil {
		return nil, err
	}
	best, err := c.choose(ctx, false)
	if err == nil && o.MiB > 0 {
		var byBytes *choice
		if byBytes, err = c.choose(ctx, true); err == nil && byBytes.saved() > best.saved() {
			best = byBytes
		}
	}
	if err != nil {
		return nil, err
	}
	return best.tree(w, deps), nil
}

// cover is one run of Cover.
type cover struct {
	CoverOptions
	*rows
	costs      []Cost
	candidates []*packageSet
}

// packageSet is a candidate.
type packageSet struct {
	columns []int32 // ascending
	mask    uint64  // a bit for each column, by its remainder: what is no part of this is no part
	order   int     // among candidates, for ties
	always  bool    // it is a candidate whatever it would save alone
	ms, mib float64 // of all its packages
	having  group   // rows that need all of it
	gained  float64 // by it, when that was last counted; it can only fall
	bound   float64 // of its value
}

// within says whether a set is part of another.
func (s *packageSet) within(o *packageSet) bool {
	return s.mask&^o.mask == 0 && subset(s.columns, o.columns)
}

// subset says whether all of a, ascending, are in b.
func subset(a, b []int32) bool {
	if len(a) > len(b) {
		return false
	}
	i := 0
	for _, x := range b {
		if i < len(a) && a[i] == x {
			i++
		}
	}
	return i == len(a)
}

// choice is a set of sets.
type choice struct {
	*cover
	byBytes bool
	chosen  []*packageSet // in the order in which they were found
	parents []*packageSet // of each; nil is the root
	mib     float64       // of the tree
	best    []float64     // ms that a row saves, by row
}

func (c *choice) saved() (sum float64) {
	for row, ms := range c.best {
		sum += float64(c.calls[row]) * ms
	}
	return sum
}

// gain is what a set adds to what is saved.
func (c *choice) gain(s *packageSet) (sum float64) {
	s.having.each(func(row int) {
		if more := s.ms - c.best[row]; more > 0 {
			sum += float64(c.calls[row]) * more
		}
	})
	return sum
}

// larger says whether a saves more memory as a parent than b, which may be nil, the root.
func larger(a, b *packageSet) bool {
	return b == nil || a.mib > b.mib || a.mib == b.mib && len(a.columns) > len(b.columns)
}

// partOf says whether a is part of b and not the same.
func partOf(a, b *packageSet) bool { return len(a.columns) < len(b.columns) && a.within(b) }

// parent is the largest chosen set that is part of s, nil for the root.
func (c *choice) parent(s *packageSet) (p *packageSet) {
	for _, o := range c.chosen {
		if partOf(o, s) && larger(o, p) {
			p = o
		}
	}
	return p
}

func (s *packageSet) size() float64 {
	if s == nil {
		return 0
	}
	return s.mib
}

// adds is what the tree grows by with a set: its packages beyond its parent's, less what
// chosen sets need no longer hold themselves. It may be below zero.
func (c *choice) adds(s *packageSet) float64 {
	sum := s.mib - c.parent(s).size()
	for i, o := range c.chosen {
		if p := c.parents[i].size(); p < s.mib && partOf(s, o) {
			sum -= s.mib - p
		}
	}
	return sum
}

// Exchanges are tried while that is cheap: each counts what every candidate gains.
const (
	maxExchangeWork = 1 << 27 // words that are looked at, for all of them
	maxExchanged    = 1 << 10 // sets of a choice
)

// leastMiB is what a node takes at least: two pages.
const leastMiB = 2.0 / pagesPerMiB

// value is what sets are chosen by.
func (c *choice) value(s *packageSet) float64 {
	s.gained = c.gain(s)
	if !c.byBytes || s.gained <= 0 {
		return s.gained
	}
	return s.gained / max(c.adds(s), leastMiB)
}

func (c *choice) fits(s *packageSet) bool { return c.MiB == 0 || c.mib+c.adds(s) <= c.MiB }

// choose is the greedy choice, then exchanges.
func (c *cover) choose(ctx context.Context, byBytes bool) (*choice, error) {
	ch := &choice{cover: c, byBytes: byBytes, best: make([]float64, len(c.needs))}
	if err := ch.greedy(ctx); err != nil {
		return nil, err
	}
	work := 1
	for _, s := range c.candidates {
		work += len(s.having.at)
	}
	for range min(c.Nodes, maxExchangeWork/work) {
		if len(ch.chosen) > maxExchanged {
			break
		}
		better, err := ch.exchange(ctx)
		if err != nil {
			return nil, err
		}
		if better == nil {
			break
		}
		ch = better
	}
	return ch, nil
}

// greedy adds sets until nothing is gained or nothing fits. What a set adds can only fall, so
// only those that might be the best are counted anew; by bytes this is nearly so, since a set
// takes less once a part of it is there.
func (c *choice) greedy(ctx context.Context) error {
	q := make(setQueue, 0, len(c.candidates))
	for _, s := range c.candidates {
		if s.bound = c.value(s); s.bound > 0 {
			q = append(q, s)
		}
	}
	heap.Init(&q)
	for len(q) > 0 && len(c.chosen)+1 < c.Nodes {
		if err := pause(ctx); err != nil {
			return err
		}
		top := q[0]
		now := c.value(top)
		switch {
		case now <= 0: // as that of what is chosen
			heap.Pop(&q)
		case now != top.bound:
			top.bound = now
			heap.Fix(&q, 0)
		case !c.fits(top):
			heap.Pop(&q)
		default:
			heap.Pop(&q)
			c.add(top)
			if c.byBytes {
				again := false
				for _, s := range q { // those that have it as a part may take less now
					if top.within(s) {
						s.bound = max(s.bound, s.gained/max(s.mib-top.mib, leastMiB))
						again = true
					}
				}
				if again {
					heap.Init(&q)
				}
			}
		}
	}
	return nil
}

func (c *choice) add(s *packageSet) {
	c.mib += c.adds(s)
	p := c.parent(s)
	for i, o := range c.chosen {
		if larger(s, c.parents[i]) && partOf(s, o) {
			c.parents[i] = s
		}
	}
	c.chosen, c.parents = append(c.chosen, s), append(c.parents, p)
	s.having.each(func(row int) { c.best[row] = max(c.best[row], s.ms) })
}

// exchange takes the set away that is missed least and chooses anew with what became free; it
// returns nil if that saves no more.
func (c *choice) exchange(ctx context.Context) (*choice, error) {
	if len(c.chosen) < 2 {
		return nil, nil
	}
	second, by := make([]float64, len(c.best)), make([]int, len(c.best))
	first := make([]float64, len(c.best))
	for i, s := range c.chosen {
		s.having.each(func(row int) {
			switch {
			case s.ms > first[row]:
				second[row], first[row], by[row] = first[row], s.ms, i
			case s.ms > second[row]:
				second[row] = s.ms
			}
		})
	}
	loss := make([]float64, len(c.chosen))
	for row := range first {
		loss[by[row]] += float64(c.calls[row]) * (first[row] - second[row])
	}
	least := 0
	for i := range loss {
		if loss[i] < loss[least] {
			least = i
		}
	}
	other := &choice{cover: c.cover, byBytes: c.byBytes, best: make([]float64, len(c.best))}
	for i, s := range c.chosen {
		if i != least {
			other.add(s)
		}
	}
	if err := other.greedy(ctx); err != nil {
		return nil, err
	}
	if other.saved() <= c.saved()*(1+1e-9) {
		return nil, nil
	}
	return other, nil
}

// setQueue has the set that adds most in front.
type setQueue []*packageSet

func (q setQueue) Len() int { return len(q) }
func (q setQueue) Less(i, j int) bool {
	if q[i].bound != q[j].bound {
		return q[i].bound > q[j].bound
	}
	return q[i].order < q[j].order
}
func (q setQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *setQueue) Push(x any)   { *q = append(*q, x.(*packageSet)) }
func (q *setQueue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}
