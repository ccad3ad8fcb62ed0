package plan

import (
	"container/heap"
	"context"
	"fmt"
	"math"
	"slices"
)

// The published tree builder's depth, below which a node gets no children, and the cost below
// which it is not split.
const (
	PublishedDepth = 30
	leastCost      = 0.01
)

// SplitOptions are those of [Published].
type SplitOptions struct {
	Nodes  int  // at most, the root included
	Depth  int  // at which a node gets no children; 0 = PublishedDepth
	Single bool // a split adds one package; false = a package with what it depends on
	// Entropy is the penalty for packages that some of a node's functions need and others do
	// not (the lecture's rule 3); 0 = none.
	Entropy float64
}

// Published fits a tree as Forklift does: it splits, again and again, the node whose best
// candidate lowers the cost most. The cost of a node is the weight of all packages that its
// functions need and no node on its path has; a candidate is a package with those of its
// dependencies that are not there yet, and moves the functions that need all of them to a
// new child. Equal benefits go to the older node, in a node to the smaller package, then
// to the earlier dependency set. It stops at o.Nodes or when nothing is left to gain.
//
// Benefits of a node's other candidates can only fall when functions leave it, unless there
// is a penalty for entropy: so only those that might be the best are counted anew.
func Published(ctx context.Context, w *Workload, deps Dependencies, weights []float64, o SplitOptions) (*Tree, error) {
	switch {
	case o.Nodes < 1 || o.Nodes > MaxNodes:
		return nil, fmt.Errorf("%d nodes: want 1 to %d", o.Nodes, MaxNodes)
	case o.Depth < 0 || o.Depth > MaxDepth:
		return nil, fmt.Errorf("a depth of %d: want 1 to %d", o.Depth, MaxDepth)
	case math.IsNaN(o.Entropy) || o.Entropy < 0 || o.Entropy > 1e6:
		return nil, fmt.Errorf("an entropy penalty of %g: want 0 to 1000000", o.Entropy)
	}
	if o.Depth == 0 {
		o.Depth = PublishedDepth
	}
	s := &splitter{SplitOptions: o, rows: newRows(w, o.Entropy != 0), weights: weights}
	root := &splitNode{node: newNode([]string{}, []string{}, 0, 0), group: s.all(), open: make([]bool, len(w.Columns))}
	for c := range root.open {
		root.open[c] = true
	}
	for _, c := range deps.fitting(s.rows) {
		s.add(root, c)
	}
	s.enqueue(root)
	nodes := []*splitNode{root}
	for len(nodes) < o.Nodes && len(s.queue) > 0 {
		if err := pause(ctx); err != nil {
			return nil, err
		}
		child := s.split(s.queue[0].node, len(nodes))
		nodes = append(nodes, child)
	}
	for _, n := range nodes {
		n.group.each(func(row int) { n.node.Count += s.calls[row] })
	}
	return &Tree{Root: root.node}, nil
}

// splitter is one run of Published.
type splitter struct {
	SplitOptions
	*rows
	weights []float64
	queue   splitQueue
	uses    []int // by column, of entropyBenefit; zero between calls
}

// splitNode is a node while the tree grows.
type splitNode struct {
	node       *Node
	depth      int
	group      group       // functions that stay here
	open       []bool      // columns that no node on the path has
	candidates []candidate // a heap; see better
	uses       []int       // of open columns by calls, for entropy; nil = not counted since a split
	total      int         // calls
}

// candidate is a reduced dependency set.
type candidate struct {
	direct  int32
	columns []int32 // not on the path yet
	order   int     // of the dependency set
	bound   float64 // benefit when it was last counted; never below the one now, without entropy
}

// better is the order of candidates in one node.
func better(a, b *candidate) bool {
	switch {
	case a.bound != b.bound:
		return a.bound > b.bound
	case a.direct != b.direct:
		return a.direct < b.direct
	}
	return a.order < b.order
}

func (n *splitNode) Len() int           { return len(n.candidates) }
func (n *splitNode) Less(i, j int) bool { return better(&n.candidates[i], &n.candidates[j]) }
func (n *splitNode) Swap(i, j int) {
	n.candidates[i], n.candidates[j] = n.candidates[j], n.candidates[i]
}
func (n *splitNode) Push(x any) { n.candidates = append(n.candidates, x.(candidate)) }
func (n *splitNode) Pop() any {
	last := n.candidates[len(n.candidates)-1]
	n.candidates = n.candidates[:len(n.candidates)-1]
	return last
}

// splitQueue holds the best candidate of each node that has one.
type splitQueue []queued

type queued struct {
	benefit float64
	node    *splitNode
}

func (q splitQueue) Len() int { return len(q) }
func (q splitQueue) Less(i, j int) bool {
	if q[i].benefit != q[j].benefit {
		return q[i].benefit > q[j].benefit
	}
	return q[i].node.node.Generation < q[j].node.node.Generation
}
func (q splitQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *splitQueue) Push(x any)   { *q = append(*q, x.(queued)) }
func (q *splitQueue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

// add gives a node a candidate if a function of its needs all of it.
func (s *splitter) add(n *splitNode, c candidate) {
	if c.bound = s.benefit(n, &c); c.bound > 0 || s.count(n.group, c.columns) > 0 {
		heap.Push(n, c)
	}
}

// weigh adds in the order of columns, so that equal sets have equal bits.
func (s *splitter) weigh(columns []int32) (sum float64) {
	for _, c := range columns {
		sum += s.weights[c]
	}
	return sum
}

func (s *splitter) benefit(n *splitNode, c *candidate) float64 {
	if s.Entropy != 0 {
		return s.entropyBenefit(n, c)
	}
	return float64(s.count(n.group, c.columns)) * s.weigh(c.columns)
}

// cost is what the functions of a node still import.
func (s *splitter) cost(n *splitNode) (sum float64) {
	n.group.each(func(row int) {
		own := 0.0
		for _, c := range s.needs[row] {
			if n.open[c] {
				own += s.weights[c]
			}
		}
		sum += float64(s.calls[row]) * own
	})
	return sum
}

// enqueue brings the best candidate of a node to its front, and the node into the queue.
func (s *splitter) enqueue(n *splitNode) {
	if n.depth >= s.Depth || s.cost(n) < leastCost {
		return
	}
	if s.Entropy != 0 { // benefits may have risen
		for i := range n.candidates {
			n.candidates[i].bound = s.benefit(n, &n.candidates[i])
		}
		heap.Init(n)
	}
	var passed []candidate // which hold more than one package, where only single ones count
	for len(n.candidates) > 0 {
		top := &n.candidates[0]
		now := s.benefit(n, top)
		if now != top.bound {
			if top.bound = now; now > 0 {
				heap.Fix(n, 0)
			} else {
				heap.Pop(n)
			}
			continue
		}
		if now <= 0 {
			break
		}
		if s.Single && len(top.columns) != 1 {
			passed = append(passed, heap.Pop(n).(candidate))
			continue
		}
		heap.Push(&s.queue, queued{now, n})
		break
	}
	for _, c := range passed {
		heap.Push(n, c)
	}
}

// split carries out the best candidate of the queue's first node.
func (s *splitter) split(n *splitNode, generation int) *splitNode {
	heap.Pop(&s.queue)
	best := n.front(s.Single)
	child := &splitNode{
		node:  newNode(s.w.names(best.columns), []string{s.w.Columns[best.direct]}, generation, best.bound),
		depth: n.depth + 1, open: slices.Clone(n.open),
	}
	child.group, n.group = s.rows.split(n.group, best.columns)
	n.uses = nil
	names := map[string]bool{}
	for _, c := range best.columns {
		child.open[c] = false
		names[distribution(s.w.Columns[c])] = true
	}
	for _, c := range n.candidates {
		if reduced, ok := s.reduce(&c, child.open, names); ok {
			s.add(child, reduced)
		}
	}
	n.node.Children = append(n.node.Children, child.node)
	s.enqueue(child)
	s.enqueue(n)
	return child
}

// front is the best candidate, which enqueue has counted.
func (n *splitNode) front(single bool) candidate {
	if !single {
		return n.candidates[0]
	}
	best := -1
	for i := range n.candidates {
		if len(n.candidates[i].columns) == 1 && (best < 0 || better(&n.candidates[i], &n.candidates[best])) {
			best = i
		}
	}
	return n.candidates[best]
}

// reduce is what is left of a candidate below a split: nothing if its own package is there, or
// if it needs another version of one that is.
func (s *splitter) reduce(c *candidate, open []bool, names map[string]bool) (candidate, bool) {
	out := candidate{direct: c.direct, order: c.order}
	if !open[c.direct] {
		return out, false
	}
	for _, column := range c.columns {
		if !open[column] {
			continue
		}
		if names[distribution(s.w.Columns[column])] {
			return out, false
		}
		out.columns = append(out.columns, column)
	}
	return out, true
}
