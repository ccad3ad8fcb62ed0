package lineage

import (
	"cmp"
	"container/heap"
	"fmt"
	"math"
	"slices"
	"time"

	"seuss/lineage/nodefile"
)

// collector decides what goes.
type collector struct{ *Store }

// GCOptions say what a collection may remove.
type GCOptions struct {
	// Budget is how many bytes of node files may stay, as DiskBytes counts them; 0 means
	// any number.
	Budget uint64
	// Unused removes nodes that were not used for so long; 0 means never.
	Unused time.Duration
	// Running reports whether instances stand at a node of this process; nil means
	// none do. Other processes keep what they have mapped.
	Running func(id string) bool
	// Wanted reports whether somebody wants to have a node, whether it is used or not: of
	// nodes of the same Value, such as 0, the others go first. nil means that nobody does.
	Wanted func(id string) bool
	// Only says which nodes may go; Budget and the report's bytes are of these alone. nil:
	// of all.
	Only func(*Node) bool
	// Damaged removes node files that cannot be read, or whose parent is missing.
	Damaged bool
	DryRun  bool
	Now     time.Time // zero means now
}

// GCReport says what a collection did, or would do.
type GCReport struct {
	Removed []Evicted `json:"removed"`
	// Kept counts what was not removed because it is protected, by the reason:
	// pinned, tagged, running.
	Kept        map[string]int `json:"kept"`
	BytesBefore uint64         `json:"bytes_before"` // of node files, as DiskBytes counts them
	BytesAfter  uint64         `json:"bytes_after"`
	BytesFreed  uint64         `json:"bytes_freed"`
	// WithinBudget is false if what is protected takes more than the budget.
	WithinBudget bool `json:"within_budget"`
}

// Evicted is a node that a collection removed.
type Evicted struct {
	Node   *Node   `json:"-"`
	ID     string  `json:"id,omitempty"`
	Path   string  `json:"path,omitempty"` // of a damaged file
	Bytes  uint64  `json:"bytes"`          // that its removal frees, after those before it
	Reason string  `json:"reason"`         // expired, unused, budget or damaged
	Value  float64 `json:"value"`          // see Value
}

// Value is what a node is worth: milliseconds that it saved an hour, for each byte
// of its file. It is measured from the node's creation; a node counts as at least
// an hour old, so that a single early use does not outweigh steady ones.
func (n *Node) Value(now time.Time) float64 { return n.value(now, n.StoredBytes()) }

// value is Value where removing the node frees so many bytes.
func (n *Node) value(now time.Time, bytes uint64) float64 {
	hours := math.Max(now.Sub(n.Created).Hours(), 1)
	saved := float64(n.SavedTime.Microseconds()) / 1000 * float64(n.Hits()) / hours
	return saved / float64(max(bytes, 1))
}

// GC removes nodes that have expired or were not used, and then those of least
// Value until the rest fits the budget. Only leaves can go, so what others hang on
// goes after them. A node in whose file siblings have pages frees nothing, so the
// budget takes it only after them. Image nodes, and what is pinned, tagged or running, stay, and
// with it all above it.
func (s *Store) GC(o GCOptions) (GCReport, error) {
	if err := s.writable(); err != nil {
		return GCReport{}, fmt.Errorf("collect: %w", err)
	}
	r, err := collector{s}.gc(o)
	if err != nil {
		return r, fmt.Errorf("collect: %w", err)
	}
	return r, nil
}

func (s collector) gc(o GCOptions) (GCReport, error) {
	now := o.Now
	if now.IsZero() {
		now = time.Now()
	}
	if o.Running == nil {
		o.Running = func(string) bool { return false }
	}
	if o.Wanted == nil {
		o.Wanted = func(string) bool { return false }
	}
	plan := s.planGC(o, now)
	report := plan.report
	if !o.DryRun {
		if err := s.removePlanned(plan.report.Removed, now); err != nil {
			return report, err
		}
	}
	if o.Damaged {
		if err := (remover{s.Store}).removeDamaged(o.DryRun, &report); err != nil {
			return report, err
		}
	}
	return report, nil
}

// removePlanned deletes what is still as the plan has found it.
func (s collector) removePlanned(planned []Evicted, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.catalogue()
	kept := kept(c.Marks(), now)
	gone := map[string]bool{}
	var doomed []*Node
	for _, e := range planned {
		stays := func(n *Node) bool { return !gone[n.ID] }
		if c.lookup(e.ID) != e.Node || kept[e.ID] != "" || slices.ContainsFunc(c.Children(e.ID), stays) {
			continue // changed meanwhile
		}
		gone[e.ID] = true
		doomed = append(doomed, e.Node)
	}
	if len(doomed) == 0 {
		return nil
	}
	return remover{s.Store}.removeNodes(doomed)
}

type gcPlan struct {
	report   GCReport
	wanted   func(id string) bool
	children map[string]int
	byID     map[string]*Node
	kept     map[string]string
	holding  map[uint64][]*Node // by the inode of a file: the nodes that hold it
	holders  map[uint64]int     // their number
	leaves   leafHeap
}

// planGC decides without changing anything.
func (s collector) planGC(o GCOptions, now time.Time) *gcPlan {
	c := s.catalogue()
	nodes, marks := c.List(), c.Marks()
	p := &gcPlan{wanted: o.Wanted, children: map[string]int{}, byID: map[string]*Node{}, kept: kept(marks, now), holding: map[uint64][]*Node{}, holders: holders(nodes)}
	p.report = GCReport{Removed: []Evicted{}, Kept: map[string]int{}}
	expires := map[string]time.Time{}
	for _, m := range marks {
		if m.Kind == MarkExpiry {
			expires[m.Node] = m.Expires
		}
	}
	for _, n := range nodes {
		p.byID[n.ID] = n
		p.children[n.Parent]++
		n.stored().each(func(inode, _ uint64) {
			if p.holders[inode] > 1 {
				p.holding[inode] = append(p.holding[inode], n)
			}
		})
		switch why := p.kept[n.ID]; {
		case why != "":
			p.report.Kept[map[bool]string{true: "pinned", false: "tagged"}[why == "pinned"]]++
		case o.Running(n.ID):
			p.kept[n.ID] = "running"
			p.report.Kept["running"]++
		case n.Kind == nodefile.KindImage:
			p.kept[n.ID] = "image"
		case o.Only != nil && !o.Only(n):
			p.kept[n.ID] = "others"
		}
	}
	counted := nodes
	if o.Only != nil {
		counted = slices.DeleteFunc(slices.Clone(nodes), func(n *Node) bool { return !o.Only(n) })
	}
	p.report.BytesBefore = diskBytes(counted)
	p.report.BytesAfter = p.report.BytesBefore
	// An expiry holds for all that hangs on the node.
	doomed := func(n *Node) string {
		if o.Unused > 0 && now.Sub(n.LastUsed()) >= o.Unused {
			return "unused"
		}
		for at := n; at != nil; at = p.byID[at.Parent] {
			if e, ok := expires[at.ID]; ok && !now.Before(e) {
				return "expired"
			}
		}
		return ""
	}
	// First what has to go anyway, from the leaves up, then by value.
	for pass := range 2 {
		p.leaves = nil
		for _, n := range nodes {
			if p.byID[n.ID] != nil {
				p.offer(n, now)
			}
		}
		heap.Init(&p.leaves)
		for p.leaves.Len() > 0 {
			if pass == 1 && (o.Budget == 0 || p.report.BytesAfter <= o.Budget) {
				break
			}
			leaf := heap.Pop(&p.leaves).(gcLeaf)
			if p.byID[leaf.node.ID] == nil || leaf.bytes != p.frees(leaf.node) || pass == 1 && leaf.bytes == 0 {
				continue // gone, there once more with what it frees now, or freeing nothing yet
			}
			reason := "budget"
			if pass == 0 {
				if reason = doomed(leaf.node); reason == "" {
					continue
				}
			}
			p.evict(leaf, reason, now)
		}
	}
	p.report.BytesFreed = p.report.BytesBefore - p.report.BytesAfter
	p.report.WithinBudget = o.Budget == 0 || p.report.BytesAfter <= o.Budget
	return p
}

// offer adds a node to the leaves if it may go.
func (p *gcPlan) offer(n *Node, now time.Time) {
	if p.children[n.ID] == 0 && p.kept[n.ID] == "" {
		p.leaves = append(p.leaves, p.leaf(n, now))
	}
}

func (p *gcPlan) leaf(n *Node, now time.Time) gcLeaf {
	bytes := p.frees(n)
	return gcLeaf{n, bytes, n.value(now, bytes), p.wanted(n.ID)}
}

// frees is what removing a node now would free.
func (p *gcPlan) frees(n *Node) uint64 { return n.stored().freed(p.holders) }

// again offers a leaf once more.
func (p *gcPlan) again(n *Node, now time.Time) {
	if p.byID[n.ID] != nil && p.children[n.ID] == 0 && p.kept[n.ID] == "" {
		heap.Push(&p.leaves, p.leaf(n, now))
	}
}

func (p *gcPlan) evict(leaf gcLeaf, reason string, now time.Time) {
	n := leaf.node
	p.report.Removed = append(p.report.Removed, Evicted{Node: n, ID: n.ID, Bytes: leaf.bytes, Reason: reason, Value: leaf.value})
	p.report.BytesAfter -= leaf.bytes
	delete(p.byID, n.ID)
	p.children[n.Parent]--
	if parent := p.byID[n.Parent]; parent != nil {
		p.again(parent, now)
	}
	n.stored().each(func(inode, _ uint64) {
		if p.holders[inode]--; p.holders[inode] == 1 { // whoever holds it alone frees more now
			for _, other := range p.holding[inode] {
				p.again(other, now)
			}
		}
	})
}

// leafHeap has the leaf of least value first; of equal ones those that nobody wants, and
// of these that which was not used for longest.
type leafHeap []gcLeaf

type gcLeaf struct {
	node   *Node
	bytes  uint64 // that removing it freed when it became one
	value  float64
	wanted bool
}

func (h leafHeap) Len() int      { return len(h) }
func (h leafHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *leafHeap) Push(x any)   { *h = append(*h, x.(gcLeaf)) }
func (h leafHeap) Less(i, j int) bool {
	a, b := h[i], h[j]
	if a.value == b.value && a.wanted != b.wanted {
		return b.wanted
	}
	return cmp.Or(cmp.Compare(a.value, b.value), a.node.LastUsed().Compare(b.node.LastUsed()), cmp.Compare(a.node.ID, b.node.ID)) < 0
}
func (h *leafHeap) Pop() any {
	last := len(*h) - 1
	leaf := (*h)[last]
	*h = (*h)[:last]
	return leaf
}
