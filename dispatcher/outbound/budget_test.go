package outbound

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// holders are instances that take what they get.
func takeAll(s *Share) (n int) {
	for s.Take() == nil {
		n++
	}
	return n
}

// A function that floods with all machines but one leaves the honest one its share, and
// some of what is common; nothing is ever more than there is.
func TestBudgetHostileBesideHonest(t *testing.T) {
	for _, c := range []struct{ slots, total, share int }{{1, 10, 2}, {2, 24, 8}, {8, 1024, 16}, {100, 3200, 16}, {4, 4, 16}, {1000, 1000, 16}, {1000, 85, 2}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			b := NewBudget(c.total, c.slots, c.share, c.total)
			var flood []*Share
			held := 0
			for range c.slots - 1 {
				s := b.Share("hostile")
				flood = append(flood, &s)
				held += takeAll(&s)
			}
			honest := b.Share("honest")
			got := takeAll(&honest)
			sure := max(min(c.share, c.total/(2*c.slots)), 1)
			if c.slots > c.total { // of one, as many as there are
				sure = 0
			}
			if got < sure || b.common-b.taken > 1 && got == sure {
				t.Errorf("the flood has %d of %d, the other one got %d, its share is %d", held, c.total, got, sure)
			}
			if held+got > c.total {
				t.Errorf("%d of %d", held+got, c.total)
			}
			more := b.Share("hostile") // beyond the slots: sure of nothing
			if n := takeAll(&more); n > b.common {
				t.Errorf("an instance too many took %d", n)
			}
			for range got {
				honest.Give()
			}
			for _, s := range append(flood, &more) {
				for s.own+s.common > 0 {
					s.Give()
				}
			}
			if b.taken != 0 || b.instances != 0 || len(b.functions) != 0 || b.Refused() == 0 {
				t.Errorf("after the end: %+v", b)
			}
		})
	}
}

func TestBudgetOfOneInstance(t *testing.T) {
	s := NewBudget(1000, 1, 16, 20).Share("f")
	var full *ExhaustedError
	if n := takeAll(&s); n != 20 {
		t.Errorf("%d, want 20", n)
	}
	if err := s.Take(); !errors.As(err, &full) || !full.Own || full.Limit != 20 {
		t.Error(err)
	}
}

// Who waits gets what its own instance gives back; a context ends the wait.
func TestBudgetWait(t *testing.T) {
	b := NewBudget(2, 2, 1, 1)
	s, other := b.Share("f"), b.Share("g")
	if err := errors.Join(s.Wait(t.Context()), other.Wait(t.Context())); err != nil {
		t.Fatal(err)
	}
	nobody := b.Share("h")
	var full *ExhaustedError
	if err := nobody.Wait(t.Context()); !errors.As(err, &full) {
		t.Errorf("%v: it would wait for ever", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() { gone <- s.Wait(ctx) }()
	waitFor(t, b, func() bool { return len(s.waiters) == 1 })
	first := make(chan error, 1)
	go func() { first <- s.Wait(t.Context()) }()
	waitFor(t, b, func() bool { return len(s.waiters) == 2 })
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	s.Give()
	if err := <-first; err != nil {
		t.Error(err)
	}
	s.Give()
	other.Give()
	if b.instances != 0 || b.taken != 0 {
		t.Errorf("%+v", b)
	}
}

// Who waits while its instance gives back the last that it holds is not left waiting: it
// gets a place, or hears that there is none.
func TestBudgetWaitForTheLast(t *testing.T) {
	b := NewBudget(6, 1, 1, 3)
	sure := b.Share("f")
	if err := sure.Take(); err != nil {
		t.Fatal(err)
	}
	others := b.Share("g")
	for range 2 {
		if err := others.Take(); err != nil {
			t.Fatal(err)
		}
	}
	for _, full := range []bool{false, true} {
		s := b.Share("f") // beyond the slots: what it holds is common
		if err := s.Take(); err != nil {
			t.Fatal(err)
		}
		s.b.mu.Lock()
		free := b.common
		b.common = b.taken // nothing more is free
		s.b.mu.Unlock()
		first, err := s.ask()
		second, err2 := s.ask()
		if first == nil || second == nil {
			t.Fatal(err, err2)
		}
		if full {
			s.b.mu.Lock()
			b.common -= 2
			s.b.mu.Unlock()
		}
		s.Give()
		var exhausted *ExhaustedError
		if full {
			if err, err2 := <-first, <-second; !errors.As(err, &exhausted) || !errors.As(err2, &exhausted) {
				t.Error(err, err2)
			}
		} else {
			if err := <-first; err != nil {
				t.Error(err)
			}
			s.Give()
			if err := <-second; err != nil {
				t.Error(err)
			}
			s.Give()
		}
		if s.own+s.common+len(s.waiters) != 0 {
			t.Errorf("%+v", s)
		}
		b.common = free
	}
}

func waitFor(t *testing.T, b *Budget, is func() bool) {
	t.Helper()
	for range 10_000 {
		b.mu.Lock()
		ok := is()
		b.mu.Unlock()
		if ok {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("nobody waits")
}

// FuzzBudget: whatever is taken, awaited and given back in whatever order, the counts are
// those of who holds what, no more than there is, everybody is sure of his share, and
// nobody waits for an instance that holds none.
func FuzzBudget(f *testing.F) {
	f.Add(uint64(1), uint8(3), uint8(20), uint8(4))
	f.Add(uint64(2), uint8(7), uint8(3), uint8(1))
	f.Add(uint64(3), uint8(1), uint8(6), uint8(1))
	f.Fuzz(func(t *testing.T, seed uint64, slots, total, share uint8) {
		b := NewBudget(int(total), 1+int(slots%8), int(share), 100)
		r := rand.New(rand.NewPCG(seed, 0))
		shares := make([]Share, 3+int(slots%8)) // some are beyond the slots
		for i := range shares {
			shares[i] = b.Share(fmt.Sprint("f", i%3))
		}
		for range 300 {
			s := &shares[r.IntN(len(shares))]
			switch r.IntN(6) {
			case 0, 1, 2:
				sure := s.own > 0 && s.own < b.share || s.own == 0 && b.instances < b.slots
				if s.Take() != nil && sure {
					t.Fatalf("%+v was refused of its share: %+v", s, b)
				}
			case 3:
				_, _ = s.ask() // whoever it is stays until its turn comes
			default:
				if s.own+s.common > 0 {
					s.Give()
				}
			}
			common, own := 0, 0
			for i := range shares {
				common, own = common+shares[i].common, own+shares[i].own
			}
			if len(s.waiters) > 0 && s.own+s.common == 0 {
				t.Fatalf("%d wait for nothing: %+v", len(s.waiters), b)
			}
			if common != b.taken || common > b.common || own+common > max(int(total), 1) {
				t.Fatalf("%+v holds %d and %d", b, own, common)
			}
		}
		if slices.ContainsFunc(shares, func(s Share) bool { return s.own > b.share }) {
			t.Fatal("more than a share is sure")
		}
	})
}
