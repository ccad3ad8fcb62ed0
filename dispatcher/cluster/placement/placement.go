// Package placement chooses the member that an invocation goes to. Whoever chooses asks nobody:
// it knows what members said of themselves a second ago, and what it has sent since. It looks at
// a few members only, two of them by the function's name, so that a function comes to the same
// ones again, where its snapshot is; so the choice takes the same time however many there are.
//
// Units: invocations. Ownership: a Table does not change; Sent's counts are shared.
//
// Locks: none.
package placement

import (
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"seuss/dispatcher/cluster/members"
)

const (
	// homes is how many members a function's name leads to, and others how many are looked at
	// beside them, at random.
	homes  = 2
	others = 2
	// away is what it costs a member that it may not have the function's snapshot: as much as
	// having so much of its slots taken.
	away = 0.25
)

// Sent counts what is under way at other members.
type Sent struct{ of sync.Map } // *atomic.Int64 by member

func (s *Sent) count(member string) *atomic.Int64 {
	if n, ok := s.of.Load(member); ok {
		return n.(*atomic.Int64)
	}
	n, _ := s.of.LoadOrStore(member, new(atomic.Int64))
	return n.(*atomic.Int64)
}

// Add notes that an invocation is sent to a member. done is called when it is over.
func (s *Sent) Add(member string) (done func()) {
	n := s.count(member)
	n.Add(1)
	return func() { n.Add(-1) }
}

// Table is the members that something may be sent to.
type Table struct {
	rows []row // by point
}

type row struct {
	name  string
	point uint64
	busy  int // as it said
	slots int
	sent  *atomic.Int64
}

var seed = maphash.MakeSeed()

// point is where something stands on the ring: the same on all members is not needed, since
// each sends for itself; but each comes back to the members that it has sent a function to.
func point(name string) uint64 { return maphash.String(seed, name) }

// New makes the table of those of the members that are to get something, but for who asks.
func New(list []members.Member, sent *Sent) *Table {
	t := new(Table)
	for i := range list {
		if m := &list[i]; m.Usable() && !m.Self && m.Peers != "" && m.Load.Slots > 0 {
			t.rows = append(t.rows, row{m.Member, point(m.Member), m.Load.Running + m.Load.Waiting, m.Load.Slots, sent.count(m.Member)})
		}
	}
	slices.SortFunc(t.rows, func(a, b row) int {
		if a.point < b.point {
			return -1
		}
		return 1
	})
	return t
}

// Len is how many members there are.
func (t *Table) Len() int { return len(t.rows) }

// cost is how much of a member's slots is taken; what this one has sent since it spoke counts.
func (r *row) cost(home bool) float64 {
	c := float64(max(int64(r.busy), r.sent.Load())) / float64(r.slots)
	if !home {
		c += away
	}
	return c
}

// Choose returns the member that would cost an invocation of a function the least of those that
// are looked at, and whether it has a slot free; "" if there is none but those in not.
func (t *Table) Choose(function string, not ...string) (member string, free bool) {
	n := len(t.rows)
	if n == 0 {
		return "", false
	}
	p := point(function)
	first := sort.Search(n, func(i int) bool { return t.rows[i].point >= p })
	best, least := -1, 0.0
	look := func(i int, home bool) {
		r := &t.rows[i%n]
		if slices.Contains(not, r.name) {
			return
		}
		if c := r.cost(home); best < 0 || c < least {
			best, least = i%n, c
		}
	}
	for i := range min(homes, n) {
		look(first+i, true)
	}
	for range others {
		look(rand.IntN(n), false)
	}
	for i := 0; best < 0 && i < n; i++ { // few are left
		look(i, false)
	}
	if best < 0 {
		return "", false
	}
	r := &t.rows[best]
	return r.name, max(int64(r.busy), r.sent.Load()) < int64(r.slots)
}
