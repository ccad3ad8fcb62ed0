package planner

import (
	"cmp"
	"slices"
)

// moves are functions to look at, by owner. Owners take turns: whoever has many waits for
// those of his own.
type moves struct {
	of    map[string]map[string]bool // names, by owner
	turns []string                   // owners that have some, whose turn is next first
	count int
}

// add notes a function, once. Where there are too many, one of the owner's that has most
// makes room for who has fewer: it is noted again when it is next used.
func (m *moves) add(owner, name string) bool {
	his := m.of[owner]
	if his[name] {
		return false
	}
	if m.count >= maxQueue {
		most := slices.MaxFunc(m.turns, func(a, b string) int { return cmp.Compare(len(m.of[a]), len(m.of[b])) })
		if len(m.of[most]) <= len(his)+1 {
			return false
		}
		m.take(most)
	}
	if his == nil {
		if m.of == nil {
			m.of = map[string]map[string]bool{}
		}
		his = map[string]bool{}
		m.of[owner], m.turns = his, append(m.turns, owner)
	}
	his[name] = true
	m.count++
	return true
}

// take returns one of an owner's.
func (m *moves) take(owner string) (name string) {
	for name = range m.of[owner] {
		break
	}
	delete(m.of[owner], name)
	m.count--
	if len(m.of[owner]) == 0 {
		delete(m.of, owner)
		m.turns = slices.DeleteFunc(m.turns, func(o string) bool { return o == owner })
	}
	return name
}

// next returns one of whose turn it is.
func (m *moves) next() (name string, ok bool) {
	if m.count == 0 {
		return "", false
	}
	owner := m.turns[0]
	name = m.take(owner)
	if len(m.turns) > 0 && m.turns[0] == owner {
		m.turns = append(m.turns[1:], owner)
	}
	return name, true
}

// inTurn returns the plans, those first whose owner was served longest ago: one owner's many
// plans, or nodes, keep nobody else's waiting. What is for everybody is an owner's too.
func inTurn(plans map[liveKey]*live) []*live {
	served := map[string]uint64{}
	list := make([]*live, 0, len(plans))
	for _, l := range plans {
		served[l.Owner] = max(served[l.Owner], l.turn)
		list = append(list, l)
	}
	slices.SortFunc(list, func(a, b *live) int {
		return cmp.Or(cmp.Compare(served[a.Owner], served[b.Owner]), cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.turn, b.turn), cmp.Compare(a.id(), b.id()))
	})
	return list
}

// someOf returns functions to fit to, at most so many: owners take turns, and of each those
// go first that are called most.
func someOf(list []Deployed, most int) []Deployed {
	if len(list) <= most {
		return list
	}
	by := map[string][]Deployed{}
	var owners []string
	for _, f := range list {
		if by[f.Owner] == nil {
			owners = append(owners, f.Owner)
		}
		by[f.Owner] = append(by[f.Owner], f)
	}
	for _, his := range by {
		slices.SortStableFunc(his, func(a, b Deployed) int { return cmp.Compare(b.Calls, a.Calls) })
	}
	out := make([]Deployed, 0, most)
	for round := 0; ; round++ {
		for _, owner := range owners {
			if his := by[owner]; round < len(his) {
				if out = append(out, his[round]); len(out) == most {
					return out
				}
			}
		}
	}
}
