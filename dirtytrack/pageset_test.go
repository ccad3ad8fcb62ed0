package dirtytrack

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// checkSet compares a set with the plain map that models it.
func checkSet(t *testing.T, s *PageSet, model map[uint64]bool) {
	t.Helper()
	want := slices.Sorted(maps.Keys(model))
	if got := slices.Collect(s.All()); !slices.Equal(got, want) {
		t.Fatalf("All = %v, want %v", got, want)
	}
	if s.Len() != uint64(len(want)) {
		t.Fatalf("Len = %d, want %d", s.Len(), len(want))
	}
	var fromRuns []uint64
	prevEnd, started := uint64(0), false
	for first, count := range s.Runs() {
		if count == 0 || started && first <= prevEnd {
			t.Fatalf("run %d+%d after end %d is empty, unsorted or not maximal", first, count, prevEnd)
		}
		for p := first; p < first+count; p++ {
			fromRuns = append(fromRuns, p)
		}
		prevEnd, started = first+count, true
	}
	if !slices.Equal(fromRuns, want) {
		t.Fatalf("Runs cover %v, want %v", fromRuns, want)
	}
}

func TestPageSetModel(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 1))
		pages := 1 + r.Uint64N(400)
		s, model := NewPageSet(pages), map[uint64]bool{}
		for range 60 {
			switch r.IntN(6) {
			case 0, 1:
				p := r.Uint64N(pages)
				s.Add(p)
				model[p] = true
			case 2:
				first := r.Uint64N(pages)
				count := r.Uint64N(pages - first + 1)
				if r.IntN(2) == 0 {
					count = min(count, 70)
				}
				s.AddRange(first, count)
				for p := first; p < first+count; p++ {
					model[p] = true
				}
			case 3:
				p := r.Uint64N(pages + 10)
				s.Remove(p)
				delete(model, p)
				if p < pages && r.IntN(2) == 0 {
					count := 1 + r.Uint64N(pages-p)
					s.RemoveRange(p, count)
					for ; count > 0; count-- {
						delete(model, p)
						p++
					}
				}
			case 4:
				other := NewPageSet(pages + r.Uint64N(100))
				for range r.IntN(20) {
					p := r.Uint64N(pages)
					other.Add(p)
					model[p] = true
				}
				s.Union(other)
			case 5:
				if r.IntN(10) == 0 {
					s.Clear()
					clear(model)
				}
			}
			if p := r.Uint64N(pages + 64); s.Has(p) != model[p] {
				t.Fatalf("seed %d: Has(%d) = %v", seed, p, s.Has(p))
			}
			checkSet(t, s, model)
		}
		c := s.Clone()
		checkSet(t, c, model)
		s.Clear()
		checkSet(t, c, model)
	}
}

func TestPageSetFull(t *testing.T) {
	for _, pages := range []uint64{0, 1, 63, 64, 65, 128} {
		s := NewPageSet(pages)
		s.AddRange(0, pages)
		model := map[uint64]bool{}
		for p := range pages {
			model[p] = true
		}
		checkSet(t, s, model)
	}
}

func TestPageSetPanicsOutside(t *testing.T) {
	big := NewPageSet(200)
	big.Add(130)
	for name, f := range map[string]func(s *PageSet){
		"Add":               func(s *PageSet) { s.Add(100) },
		"AddRange":          func(s *PageSet) { s.AddRange(90, 11) },
		"AddRange overflow": func(s *PageSet) { s.AddRange(90, ^uint64(0)) },
		"RemoveRange":       func(s *PageSet) { s.RemoveRange(90, 11) },
		"Union":             func(s *PageSet) { s.Union(big) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Fatal("no panic")
				}
			}()
			f(NewPageSet(100))
		})
	}
}

func TestPageSetStopsEarly(t *testing.T) {
	s := NewPageSet(100)
	s.AddRange(10, 50)
	n := 0
	for range s.All() {
		if n++; n == 3 {
			break
		}
	}
	for range s.Runs() {
		n++
		break
	}
	if n != 4 {
		t.Fatalf("%d iterations, want 4", n)
	}
}

func TestPageSetAllocatesNothing(t *testing.T) {
	s := NewPageSet(1 << 16)
	var sum uint64
	if n := testing.AllocsPerRun(20, func() {
		s.Clear()
		for p := uint64(0); p < 1<<16; p += 97 {
			s.Add(p)
		}
		s.AddRange(1000, 3000)
		for p := range s.All() {
			sum += p
		}
		for first, count := range s.Runs() {
			sum += first + count
		}
	}); n != 0 {
		t.Fatalf("%v allocations a run, want 0", n)
	}
	if sum == 0 {
		t.Fatal("nothing was iterated")
	}
}
