package plan

import (
	"cmp"
	"context"
	"encoding/binary"
	"slices"
)

// Bounds of the search for sets that functions have in common.
const (
	maxPairs      = 2 << 20 // intersections that are tried in a round
	maxPairWork   = 2 << 30 // words that are looked at for them, which bounds them for large workloads
	maxCandidates = 1 << 15 // sets that are kept: those that would save most alone
	rounds        = 3       // intersections of intersections
	maxSplit      = 1 << 11 // nodes of the published splitter that are tried
)

// commonSets are the candidates of a cover: what functions need, what they have in common, and
// every package with what it depends on.
func (c *cover) commonSets(ctx context.Context, deps Dependencies) ([]*packageSet, error) {
	sets := importableFrom(c.rows, deps)
	found := map[string]*packageSet{}
	add := func(columns []int32, always bool) {
		columns = sets.part(columns)
		if len(columns) == 0 {
			return
		}
		key := keyOf(columns)
		if s, ok := found[key]; ok {
			s.always = s.always || always
			return
		}
		s := &packageSet{columns: columns, always: always}
		for _, column := range columns {
			s.ms += c.costs[column].MS
			s.mib += c.costs[column].MiB
		}
		s.mask = maskOf(columns)
		s.having = c.needing(columns)
		s.having.each(func(row int) { s.bound += float64(c.calls[row]) * s.ms })
		if found[key] = s; len(found) > 2*maxCandidates {
			kept := c.kept(found)
			clear(found)
			for _, s := range kept {
				found[keyOf(s.columns)] = s
			}
		}
	}
	for _, needs := range c.needs {
		add(needs, false)
	}
	for _, d := range deps.fitting(c.rows) {
		add(d.columns, false)
	}
	if err := c.splitSets(ctx, deps, add); err != nil {
		return nil, err
	}
	from := c.kept(found)
	for range rounds {
		before, stride := len(found), 1
		most := min(maxPairs, maxPairWork/(8*max(c.words, 1))) // no function has no words
		if pairs := len(from) * len(c.needs); pairs > most {
			stride = pairs/most + 1
		}
		n := 0
		for _, s := range from {
			if err := pause(ctx); err != nil {
				return nil, err
			}
			for ; n < len(c.needs); n += stride {
				if common := intersect(s.columns, c.needs[n]); len(common) > 0 && len(common) < len(s.columns) {
					add(common, false)
				}
			}
			n -= len(c.needs)
		}
		from = c.kept(found)
		if len(found) == before {
			break
		}
	}
	for i, s := range from {
		s.order = i
	}
	return from, nil
}

// splitSets adds what the nodes of the published splitter have, root to node: in a large workload it
// reaches sets that no few functions have in common.
func (c *cover) splitSets(ctx context.Context, deps Dependencies, add func(columns []int32, always bool)) error {
	ms := make([]float64, len(c.costs))
	for i, cost := range c.costs {
		ms[i] = cost.MS
	}
	tree, err := Published(ctx, c.w, deps, ms, SplitOptions{Nodes: min(c.Nodes, maxSplit)})
	if err != nil {
		return err
	}
	var walk func(n *Node, above []int32)
	walk = func(n *Node, above []int32) {
		own, _ := c.w.indices(n.Packages)
		own = append(own, above...)
		slices.Sort(own)
		add(own, true)
		for _, child := range n.Children {
			walk(child, own)
		}
	}
	walk(tree.Root, nil)
	return nil
}

// kept are the sets of the splitter, then those that would save most alone, in this order.
func (c *cover) kept(found map[string]*packageSet) []*packageSet {
	out := make([]*packageSet, 0, len(found))
	for _, s := range found {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *packageSet) int {
		if a.always != b.always {
			if a.always {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(b.bound, a.bound), slices.Compare(a.columns, b.columns))
	})
	return out[:min(len(out), maxCandidates)]
}

// maskOf is a packageSet's mask.
func maskOf(columns []int32) (mask uint64) {
	for _, c := range columns {
		mask |= 1 << (c % 64)
	}
	return mask
}

func keyOf(columns []int32) string {
	key := make([]byte, 0, 3*len(columns))
	for _, c := range columns {
		key = binary.AppendUvarint(key, uint64(c))
	}
	return string(key)
}

func intersect(a, b []int32) (out []int32) {
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i] < b[j]:
			i++
		case a[i] > b[j]:
			j++
		default:
			out = append(out, a[i])
			i, j = i+1, j+1
		}
	}
	return out
}

// importable knows what packages depend on.
type importable struct {
	needs [][][]int32 // dependency sets by column; none = the package needs nothing else
	in    []bool      // scratch, by column
}

func importableFrom(r *rows, deps Dependencies) *importable {
	m := &importable{needs: make([][][]int32, len(r.w.Columns)), in: make([]bool, len(r.w.Columns))}
	for _, d := range deps.fitting(r) {
		m.needs[d.direct] = append(m.needs[d.direct], d.columns)
	}
	return m
}

// part is the greatest part of a set that lacks nothing that one of its packages depends on.
func (m *importable) part(columns []int32) []int32 {
	out := slices.Clone(columns)
	for _, c := range out {
		m.in[c] = true
	}
	for again := true; again; {
		again = false
		out = slices.DeleteFunc(out, func(c int32) bool {
			ok := len(m.needs[c]) == 0 || slices.ContainsFunc(m.needs[c], func(set []int32) bool {
				return !slices.ContainsFunc(set, func(n int32) bool { return !m.in[n] })
			})
			if !ok {
				m.in[c], again = false, true
			}
			return !ok
		})
	}
	for _, c := range out {
		m.in[c] = false
	}
	return out
}

// direct are those of a set that no other of it depends on.
func (m *importable) direct(columns []int32, without []int32) (out []int32) {
	needed := map[int32]bool{}
	for _, c := range columns {
		for _, set := range m.needs[c] {
			if subset(set, columns) {
				for _, n := range set {
					if n != c && !mutual(m, n, c) {
						needed[n] = true
					}
				}
				break
			}
		}
	}
	for _, c := range columns {
		if _, above := slices.BinarySearch(without, c); !above && !needed[c] {
			out = append(out, c)
		}
	}
	return out
}

// mutual says whether a depends on b; where b depends on a as well, both are direct.
func mutual(m *importable, a, b int32) bool {
	return slices.ContainsFunc(m.needs[a], func(set []int32) bool { return slices.Contains(set, b) })
}

// tree says which set is stored against which, and what each saves for a workload.
func (c *choice) tree(w *Workload, deps Dependencies) *Tree {
	m := importableFrom(c.rows, deps)
	root := newNode([]string{}, []string{}, 0, 0)
	nodes := map[*packageSet]*Node{nil: root}
	sets := slices.Clone(c.chosen)
	slices.SortStableFunc(sets, func(a, b *packageSet) int { return cmp.Compare(len(a.columns), len(b.columns)) })
	generation, parent := map[*packageSet]int{}, map[*packageSet]*packageSet{}
	for i, s := range c.chosen {
		generation[s], parent[s] = i+1, c.parents[i]
	}
	for _, s := range sets {
		p := parent[s]
		var above []int32
		if p != nil {
			above = p.columns
		}
		own := slices.DeleteFunc(slices.Clone(s.columns), func(x int32) bool { _, in := slices.BinarySearch(above, x); return in })
		n := newNode(c.w.names(own), c.w.names(m.direct(s.columns, above)), generation[s], 0)
		n.MiB = s.mib - p.size()
		nodes[s] = n
		nodes[p].Children = append(nodes[p].Children, n)
	}
	for _, f := range w.Functions {
		var at *packageSet
		mask := maskOf(f.Packages)
		for _, s := range c.chosen {
			if s.mask&^mask == 0 && (at == nil || s.ms > at.ms) && subset(s.columns, f.Packages) {
				at = s
			}
		}
		nodes[at].Count += f.Calls
		if at != nil {
			above := 0.0
			if p := parent[at]; p != nil {
				above = p.ms
			}
			nodes[at].SavedMS += float64(f.Calls) * (at.ms - above)
		}
	}
	for _, n := range nodes {
		slices.SortFunc(n.Children, func(a, b *Node) int { return cmp.Compare(a.Generation, b.Generation) })
	}
	return &Tree{Root: root}
}
