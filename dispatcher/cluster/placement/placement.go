// Package placement chooses the member that an invocation goes to. Whoever chooses asks nobody:
// it knows what members said of themselves a second ago, their load and which snapshots they hold,
// and what it has sent since. It looks at a few members only: two by the function's name, so that a
// function comes to the same ones again, two that hold its snapshot, and two at random; so the
// choice takes hardly longer however many there are.
//
// Units: invocations. Ownership: a Table does not change; Sent's counts are shared.
//
// Locks: none.
package placement

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"seuss/dispatcher/cluster/held"
	"seuss/dispatcher/cluster/members"
)

const (
	// homes is how many members a function's name leads to, and others how many are looked at
	// beside them, at random.
	homes  = 2
	others = 2
	// holders are looked at too, the first of those that follow on the homes, of which so many
	// are asked whether they hold the snapshot.
	holders = 2
	asked   = 256
	atOnce  = 32
	// away is what it costs a member that it does not hold the function's snapshot: as much as
	// having so much of its slots taken. Where nobody is found that does, those to which the name
	// leads count as if they did: what is made there is where it is looked for.
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
	holds held.Filter
}

// point is where something stands on the ring, for all members the same: who sends a function
// finds what others have sent there.
func point(name string) uint64 {
	sum := sha256.Sum256([]byte(name))
	return binary.LittleEndian.Uint64(sum[:])
}

// New makes the table of those of the members that are to get something, but for who asks.
func New(list []members.Member, sent *Sent) *Table {
	t := new(Table)
	for i := range list {
		if m := &list[i]; m.Usable() && !m.Self && m.Peers != "" && m.Load.Slots > 0 {
			t.rows = append(t.rows, row{m.Member, point(m.Member), m.Load.Busy(), m.Load.Slots, sent.count(m.Member), m.Holds})
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
func (r *row) cost(at bool) float64 {
	c := float64(max(int64(r.busy), r.sent.Load())) / float64(r.slots)
	if !at {
		c += away
	}
	return c
}

// Choose returns the member that would cost an invocation of a function the least of those that
// are looked at, and whether it has a slot free; "" if there is none but those in not. code is the
// digest of the function's.
func (t *Table) Choose(function, code string, not ...string) (member string, free bool) {
	n := len(t.rows)
	if n == 0 {
		return "", false
	}
	key := held.KeyOf(function, code)
	p := point(function)
	first := sort.Search(n, func(i int) bool { return t.rows[i].point >= p })
	best, least := -1, 0.0
	look := func(i int, at bool) {
		r := &t.rows[i]
		if slices.Contains(not, r.name) {
			return
		}
		if c := r.cost(at); best < 0 || c < least {
			best, least = i, c
		}
	}
	found := 0
	var near [atOnce]int
	for from := 0; from < min(asked, n) && found < holders; from += atOnce {
		some := 0
		for i := from; i < min(from+atOnce, n); i++ {
			at := first + i
			if at >= n {
				at -= n
			}
			near[some%atOnce] = at
			some += t.rows[at].holds.May(&key)
		}
		for _, at := range near[:some] {
			if found < holders && t.rows[at].holds.Has(key) {
				look(at, true)
				found++
			}
		}
	}
	for i := range min(homes, n) {
		look((first+i)%n, found == 0)
	}
	for range others {
		i := rand.IntN(n)
		look(i, found > 0 && t.rows[i].holds.Has(key))
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
