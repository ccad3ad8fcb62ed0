package state

import (
	"fmt"
	"iter"
	"strings"
)

// names are who holds it. mu is held.
func (l *lock) names() string {
	var names []string
	for _, h := range l.holders {
		if len(names) == maxNames {
			names = append(names, "others")
			break
		}
		names = append(names, h.s.who.String())
	}
	return strings.Join(names, ", ")
}

// maxNames is how many of who holds a lock, or is in a circle, an error names.
const maxNames = 8

// maxSearch bounds the search for a circle, which everybody of the owner waits for. Of one that
// is not found the leases end.
const maxSearch = 10_000

// circle refuses a turn that waits for its own thread: who holds the lock, or is before it in
// the queue, waits for one that the thread holds, or waits for who does. mu is held.
func (t *Turn) circle() error {
	if len(t.s.held) == 0 && len(t.s.turns) == 0 {
		return nil // nobody waits for it
	}
	seen, steps := map[party]bool{}, 0
	var path []string
	var search func(t *Turn) bool
	search = func(of *Turn) bool {
		for blocker := range of.behind() {
			if steps++; steps > maxSearch {
				return false
			}
			found := blocker == t.party
			if !found && blocker.s != nil && !seen[blocker] {
				seen[blocker] = true
				for turn := range blocker.s.turns {
					if turn.thread != blocker.thread {
						continue
					}
					if found = search(turn); found || steps > maxSearch {
						break
					}
				}
			}
			if found {
				path = append(path, fmt.Sprintf("%s waits for %q, which %s holds", of.s.who.String(), of.l.key, blocker.s.who.String()))
				return true
			}
		}
		return false
	}
	if !search(t) {
		return nil
	}
	if len(path) > maxNames {
		path = append(path[:maxNames-1], path[len(path)-1])
	}
	var text strings.Builder
	for i := range path {
		if i > 0 {
			text.WriteString("; ")
		}
		text.WriteString(path[len(path)-1-i])
	}
	return fmt.Errorf("%w: %s: take locks in one order everywhere", ErrDeadlock, text.String())
}

// behind are those that a turn waits for, and nobody for each that it has to be looked past.
// mu is held.
func (t *Turn) behind() iter.Seq[party] {
	return func(yield func(party) bool) {
		for _, h := range t.l.holders {
			if t.shared && t.l.shared {
				break
			}
			if !yield(h.party) {
				return
			}
		}
		for e := t.l.queue.Front(); e != nil && e != t.place; e = e.Next() {
			var blocker party
			if o := e.Value.(*Turn); !t.shared || !o.shared {
				blocker = o.party
			}
			if !yield(blocker) {
				return
			}
		}
	}
}
