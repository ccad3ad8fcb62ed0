package lineage

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"runtime"

	"seuss/dirtytrack"
	"seuss/lineage/nodefile"
	"seuss/lineage/pages"
)

// PageDiff is a guest page whose content differs between two nodes.
type PageDiff struct {
	Page uint64
	// First and Last are the offsets of the first and the last byte that differ.
	First, Last int
	Bytes       int // that differ
	A, B        []byte
}

// Compare yields the pages that differ between the memory of two nodes of guests
// of one size, ascending. A and B, PageSize bytes each, are valid during the
// yield and read-only. An error is yielded last.
func (s Inspection) Compare(a, b string) iter.Seq2[PageDiff, error] {
	return func(yield func(PageDiff, error) bool) {
		x, err := s.Memory(a)
		if err != nil {
			yield(PageDiff{}, fmt.Errorf("compare: %w", err))
			return
		}
		y, err := s.Memory(b)
		if err != nil {
			yield(PageDiff{}, fmt.Errorf("compare: %w", err))
			return
		}
		x.Differ(y)(yield)
	}
}

// Memory is that of a guest: a node's, and what it has changed since.
type Memory struct {
	Node *Node
	View *View
	Own  map[uint64][]byte // pages that are others than View's, PageSize bytes each; nil: none
}

// Memory is a node's.
func (s Inspection) Memory(id string) (Memory, error) {
	of, err := s.store.Snapshot(id)
	return Memory{Node: of.Node, View: of.View}, err
}

// Pages is its size.
func (m Memory) Pages() uint64 { return m.View.Pages() }

// Bytes is the content of a page; nil: zeros.
func (m Memory) Bytes(page uint64) []byte {
	if own, ok := m.Own[page]; ok {
		return own
	}
	return m.View.Bytes(page)
}

// Differ is Compare of the memory with another.
func (m Memory) Differ(other Memory) iter.Seq2[PageDiff, error] {
	return func(yield func(PageDiff, error) bool) {
		defer runtime.KeepAlive(m)
		defer runtime.KeepAlive(other)
		if m.Pages() != other.Pages() {
			yield(PageDiff{}, fmt.Errorf("compare: %s has %d guest pages, %s %d: %w", m.Node.ID, m.Pages(), other.Node.ID, other.Pages(), nodefile.ErrInvalid))
			return
		}
		for first, count := range differing(m, other) {
			if err := errors.Join(m.View.Check(first, count), other.View.Check(first, count)); err != nil {
				yield(PageDiff{}, fmt.Errorf("compare: %w", err))
				return
			}
			for page := first; page < first+count; page++ {
				d := PageDiff{Page: page, A: nodefile.OrZero(m.Bytes(page)), B: nodefile.OrZero(other.Bytes(page))}
				if d.count() && !yield(d, nil) {
					return
				}
			}
		}
	}
}

// differing yields runs of pages that may differ, ascending.
func differing(a, b Memory) iter.Seq2[uint64, uint64] {
	if len(a.Own)+len(b.Own) == 0 {
		return pages.Diff(a.View, b.View)
	}
	set := dirtytrack.NewPageSet(a.Pages())
	for first, count := range pages.Diff(a.View, b.View) {
		set.AddRange(first, count)
	}
	for _, own := range []map[uint64][]byte{a.Own, b.Own} {
		for page := range own {
			if page < a.Pages() {
				set.Add(page)
			}
		}
	}
	return set.Runs()
}

// count fills the figures in and reports whether anything differs.
func (d *PageDiff) count() bool {
	if bytes.Equal(d.A, d.B) {
		return false
	}
	d.First = -1
	for i := range nodefile.PageSize {
		if d.A[i] != d.B[i] {
			d.Bytes++
			d.Last = i
			if d.First < 0 {
				d.First = i
			}
		}
	}
	return true
}

// Rebase says whether a node could hang on another parent.
type Rebase struct {
	Node   string `json:"node"`
	Parent string `json:"parent"` // the present one
	Onto   string `json:"onto"`
	// Possible is whether the node would be the same below Onto: nothing that it
	// was built on differs there. A node is memory with addresses in it, so its
	// delta means nothing on a parent that differs anywhere, even in pages that
	// the delta does not touch.
	Possible bool `json:"possible"`
	// Why lists what stands against it.
	Why []string `json:"why"`
	// DiffPages is how many guest pages differ between the parents, Overlap how
	// many of them the node changes too.
	DiffPages uint64 `json:"diff_pages"`
	Overlap   uint64 `json:"overlap"`
}

// RebaseCheck compares the parent of a node with the node onto.
func (s Inspection) RebaseCheck(id, onto string) (Rebase, error) {
	r, err := s.rebaseCheck(id, onto)
	if err != nil {
		return Rebase{}, fmt.Errorf("rebase check of node %s onto %s: %w", id, onto, err)
	}
	return r, nil
}

func (s Inspection) rebaseCheck(id, onto string) (Rebase, error) {
	c := s.store.catalogue()
	n, to := c.lookup(id), c.lookup(onto)
	if n == nil || to == nil {
		return Rebase{}, ErrNotFound
	}
	if n.Parent == "" {
		return Rebase{}, fmt.Errorf("an image node has no parent: %w", nodefile.ErrInvalid)
	}
	r := Rebase{Node: id, Parent: n.Parent, Onto: onto, Why: []string{}}
	path, err := c.Lineage(to)
	if err != nil {
		return Rebase{}, err
	}
	for _, above := range path {
		if above == n {
			return Rebase{}, fmt.Errorf("it hangs below the node itself: %w", nodefile.ErrInvalid)
		}
	}
	from, err := s.store.Snapshot(n.Parent)
	if err != nil {
		return Rebase{}, err
	}
	target, err := s.store.Snapshot(onto)
	if err != nil {
		return Rebase{}, err
	}
	against := func(format string, args ...any) { r.Why = append(r.Why, fmt.Sprintf(format, args...)) }
	if n.ImageDigest != to.ImageDigest {
		against("image %.12s, onto has %.12s", n.ImageDigest, to.ImageDigest)
	}
	if n.ABIVersion != to.ABIVersion && to.Kind != nodefile.KindImage {
		against("guest ABI %d, onto has %d", n.ABIVersion, to.ABIVersion)
	}
	if !n.CPUFeatures.Equal(&to.CPUFeatures) && to.Kind != nodefile.KindImage {
		against("other CPU features than onto")
	}
	if !bytes.Equal(from.State, target.State) {
		against("the parents' machine states differ")
	}
	if from.View.Pages() != target.View.Pages() {
		against("%d guest pages, onto has %d", from.View.Pages(), target.View.Pages())
		return r, nil
	}
	own, err := s.store.Snapshot(id)
	if err != nil {
		return Rebase{}, err
	}
	for d, err := range s.Compare(n.Parent, onto) {
		if err != nil {
			return Rebase{}, err
		}
		r.DiffPages++
		if !bytes.Equal(nodefile.OrZero(own.View.Bytes(d.Page)), d.A) {
			r.Overlap++
		}
	}
	if r.DiffPages > 0 {
		against("the parents differ in %d pages, %d of which the node changes", r.DiffPages, r.Overlap)
	}
	r.Possible = len(r.Why) == 0
	return r, nil
}
