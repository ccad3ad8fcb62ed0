// Package freelist keeps the machines of a pool that nobody has, in the order in which
// they were put back, and counts of them. Whatever is asked costs the same however many
// there are.
//
// A List has no lock: it is its owner's, under the owner's.
package freelist

import (
	"iter"
	"maps"
	"slices"
	"time"

	"seuss/dispatcher/instance"
)

// Machine is a free machine. X is what its owner keeps with it.
type Machine[X any] struct {
	VM       *instance.VM
	Ready    bool               // it stands ready on Snapshot; else an instance of that has run
	Snapshot *instance.Snapshot // nil: it has shown none
	Freed    time.Time          // when it was put back
	Private  uint64             // bytes of its private pages then
	With     X
}

// Rank says how well a free machine fits a request.
type Rank int

// The ranks; 0 is none.
const (
	Other Rank = iota + 1 // it stands ready on another snapshot
	Ran                   // it has run something else and waits for its reset
	Same                  // it has run the same and waits for its reset
	Ready                 // it stands ready on the snapshot
)

// List is the free machines of one pool. The zero value is empty.
type List[X any] struct {
	byVM    map[*instance.VM]*node[X]
	all     chain[X]
	kinds   [2]chain[X] // of those that have run, and of those that are ready
	groups  map[Group]*chain[X]
	private uint64

	// The last of each that was taken out, for the next that is put in: a machine comes
	// and goes twice with each request.
	spareNode  *node[X]
	spareGroup *chain[X]
}

// Group is what machines have in common for a request: they stand ready on a snapshot, or
// an instance of it has run.
type Group struct {
	Ready    bool
	Snapshot *instance.Snapshot
}

// node is a machine's place in each of the chains that it is in.
type node[X any] struct {
	Machine[X]
	links [chains]struct{ before, after *node[X] }
}

const (
	inAll = iota
	inKind
	inGroup
	chains
)

// chain is a list in the order of putting back.
type chain[X any] struct {
	first, last *node[X]
	n           int
}

func (c *chain[X]) push(at int, n *node[X]) {
	l := &n.links[at]
	l.before, l.after = c.last, nil
	if c.last == nil {
		c.first = n
	} else {
		c.last.links[at].after = n
	}
	c.last = n
	c.n++
}

func (c *chain[X]) remove(at int, n *node[X]) {
	l := &n.links[at]
	if l.before == nil {
		c.first = l.after
	} else {
		l.before.links[at].after = l.after
	}
	if l.after == nil {
		c.last = l.before
	} else {
		l.after.links[at].before = l.before
	}
	c.n--
}

func kind(ready bool) int {
	if ready {
		return 1
	}
	return 0
}

// Put adds a machine, which must not be in the list.
func (l *List[X]) Put(m Machine[X]) {
	if l.byVM == nil {
		l.byVM, l.groups = map[*instance.VM]*node[X]{}, map[Group]*chain[X]{}
	}
	n := l.spareNode
	if l.spareNode = nil; n == nil {
		n = &node[X]{}
	}
	n.Machine = m
	l.byVM[m.VM] = n
	l.all.push(inAll, n)
	l.kinds[kind(m.Ready)].push(inKind, n)
	key := Group{m.Ready, m.Snapshot}
	g := l.groups[key]
	if g == nil {
		if g = l.spareGroup; g == nil {
			g = &chain[X]{}
		}
		l.spareGroup = nil
		l.groups[key] = g
	}
	g.push(inGroup, n)
	l.private += m.Private
}

func (l *List[X]) remove(n *node[X]) Machine[X] {
	delete(l.byVM, n.VM)
	l.all.remove(inAll, n)
	l.kinds[kind(n.Ready)].remove(inKind, n)
	key := Group{n.Ready, n.Snapshot}
	g := l.groups[key]
	if g.remove(inGroup, n); g.n == 0 {
		delete(l.groups, key)
		l.spareGroup = g
	}
	l.private -= n.Private
	m := n.Machine
	*n = node[X]{}
	l.spareNode = n
	return m
}

// Pick takes the machine that fits a request for s best; rank 0: there is none. Of
// equals the last that was put back is warm in the caches; but of those that stand ready
// for others the first is missed the least.
func (l *List[X]) Pick(s *instance.Snapshot) (m Machine[X], rank Rank) {
	var n *node[X]
	if g := l.groups[Group{true, s}]; g != nil {
		n, rank = g.last, Ready
	} else if g := l.groups[Group{false, s}]; g != nil {
		n, rank = g.last, Same
	} else if n = l.kinds[kind(false)].last; n != nil {
		rank = Ran
	} else if n = l.kinds[kind(true)].first; n != nil {
		rank = Other
	} else {
		return m, 0
	}
	return l.remove(n), rank
}

// Take takes a certain machine that has run and waits for its reset.
func (l *List[X]) Take(vm *instance.VM) (m Machine[X], ok bool) {
	n := l.byVM[vm]
	if n == nil || n.Ready {
		return m, false
	}
	return l.remove(n), true
}

// TakeOldest takes the machine that has been free the longest, if that is since until
// or before.
func (l *List[X]) TakeOldest(until time.Time) (m Machine[X], ok bool) {
	if l.all.first == nil || l.all.first.Freed.After(until) {
		return m, false
	}
	return l.remove(l.all.first), true
}

// Oldest tells since when the machine is free that TakeOldest would take.
func (l *List[X]) Oldest() (freed time.Time, ok bool) {
	if l.all.first == nil {
		return freed, false
	}
	return l.all.first.Freed, true
}

// Len is how many machines there are, Ready how many of them stand ready, ReadyOn how
// many on one snapshot.
func (l *List[X]) Len() int   { return l.all.n }
func (l *List[X]) Ready() int { return l.kinds[kind(true)].n }
func (l *List[X]) ReadyOn(s *instance.Snapshot) int {
	if g := l.groups[Group{true, s}]; g != nil {
		return g.n
	}
	return 0
}

// OldestReady is the snapshot of the machine that has stood ready the longest, nil if
// none does.
func (l *List[X]) OldestReady() *instance.Snapshot {
	if n := l.kinds[kind(true)].first; n != nil {
		return n.Snapshot
	}
	return nil
}

// Private is the sum of the machines' private bytes, as of when they were put back.
func (l *List[X]) Private() uint64 { return l.private }

// Groups yields what machines show, and how many do.
func (l *List[X]) Groups() iter.Seq2[Group, int] {
	return func(yield func(Group, int) bool) {
		for key, g := range l.groups {
			if !yield(key, g.n) {
				return
			}
		}
	}
}

// TakeAll empties the list.
func (l *List[X]) TakeAll() []*instance.VM {
	all := slices.Collect(maps.Keys(l.byVM))
	*l = List[X]{}
	return all
}
