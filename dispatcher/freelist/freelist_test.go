package freelist

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"seuss/dispatcher/instance"
	"seuss/lineage"
)

func snapshots(n int) (list []*instance.Snapshot) {
	for i := range n {
		list = append(list, &instance.Snapshot{Node: &lineage.Node{Info: lineage.Info{ID: fmt.Sprint(i)}}})
	}
	return list
}

// model is a List that looks at every machine.
type model []Machine[int]

func (l *model) pick(s *instance.Snapshot) (m Machine[int], rank Rank) {
	best := -1
	for i, m := range *l {
		r := Ran
		switch {
		case m.Ready && m.Snapshot == s:
			r = Ready
		case m.Ready:
			r = Other
		case m.Snapshot == s:
			r = Same
		}
		if r > rank || r == rank && r > Other {
			best, rank = i, r
		}
	}
	if best < 0 {
		return m, 0
	}
	m = (*l)[best]
	*l = slices.Delete(*l, best, best+1)
	return m, rank
}

// TestAgainstModel: whatever is done, the list answers as one that looks at every
// machine.
func TestAgainstModel(t *testing.T) {
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 1))
		all := append(snapshots(5), nil)
		var l List[int]
		var m model
		now := time.Unix(1e9, 0)
		for step := range 5000 {
			switch r.IntN(5) {
			case 0, 1:
				now = now.Add(time.Second)
				x := Machine[int]{VM: &instance.VM{}, Snapshot: all[r.IntN(len(all))], Freed: now, Private: r.Uint64N(100), With: step}
				x.Ready = x.Snapshot != nil && r.IntN(2) == 0
				l.Put(x)
				m = append(m, x)
			case 2:
				s := all[r.IntN(len(all)-1)]
				want, wantRank := m.pick(s)
				if got, rank := l.Pick(s); got != want && got.VM != want.VM || rank != wantRank {
					t.Fatalf("step %d: picked %+v, rank %d; want %+v, rank %d", step, got, rank, want, wantRank)
				}
			case 3:
				if len(m) == 0 {
					continue
				}
				i := r.IntN(len(m))
				want := m[i]
				if _, ok := l.Take(want.VM); ok == want.Ready {
					t.Fatalf("step %d: %+v was taken: %v", step, want, ok)
				} else if ok {
					m = slices.Delete(m, i, i+1)
				}
			case 4:
				until := now.Add(-time.Duration(r.IntN(20)) * time.Second)
				if got, ok := l.TakeOldest(until); ok != (len(m) > 0 && !m[0].Freed.After(until)) || ok && got.VM != m[0].VM {
					t.Fatalf("step %d: %+v, %v", step, got, ok)
				} else if ok {
					m = m[1:]
				}
			}
			check(t, &l, m, all)
		}
		if got := l.TakeAll(); len(got) != len(m) || l.Len() != 0 || l.Private() != 0 {
			t.Errorf("%d taken of %d, %d left", len(got), len(m), l.Len())
		}
	}
}

func check(t *testing.T, l *List[int], m model, all []*instance.Snapshot) {
	t.Helper()
	private, ready := uint64(0), 0
	groups := map[Group]int{}
	var oldest *instance.Snapshot
	for _, x := range m {
		private += x.Private
		groups[Group{x.Ready, x.Snapshot}]++
		if x.Ready {
			if ready++; ready == 1 {
				oldest = x.Snapshot
			}
		}
	}
	if l.Len() != len(m) || l.Ready() != ready || l.Private() != private || l.OldestReady() != oldest {
		t.Fatalf("%d machines, %d ready, %d bytes; want %d, %d, %d", l.Len(), l.Ready(), l.Private(), len(m), ready, private)
	}
	n := 0
	for g, count := range l.Groups() {
		if groups[g] != count {
			t.Fatalf("%d of %+v, want %d", count, g, groups[g])
		}
		n++
	}
	if n != len(groups) {
		t.Fatalf("%d groups, want %d", n, len(groups))
	}
	for _, s := range all {
		if got := l.ReadyOn(s); got != groups[Group{true, s}] {
			t.Fatalf("%d ready, want %d", got, groups[Group{true, s}])
		}
	}
}

func BenchmarkPick(b *testing.B) {
	for _, n := range []int{1, 100, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			all := snapshots(100)
			var l List[int]
			for i := range n {
				l.Put(Machine[int]{VM: &instance.VM{}, Ready: true, Snapshot: all[i%len(all)]})
			}
			for i := 0; b.Loop(); i++ {
				m, _ := l.Pick(all[i%len(all)])
				l.Put(m)
			}
		})
	}
}
