package state

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// waiting returns when so many wait for locks and changes.
func waiting(t *testing.T, s *Store, n int) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); s.Stats("ada").Waiting != n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d wait, want %d", s.Stats("ada").Waiting, n)
		}
	}
}

func TestLocksExclude(t *testing.T) {
	s := New(Options{})
	var inside, shared atomic.Int32
	var last atomic.Uint64
	var wg sync.WaitGroup
	for n := range 100 {
		f := open(t, s, fmt.Sprint("f", n), "a:rw")
		wg.Go(func() {
			for range 20 {
				read := n%3 == 0
				g, err := f.Lock(t.Context(), "a/k", read, time.Minute)
				if err != nil {
					t.Error(err)
					return
				}
				if read {
					shared.Add(1)
					if inside.Load() != 0 {
						t.Error("a shared lock beside an exclusive one")
					}
					shared.Add(-1)
				} else {
					if inside.Add(1) != 1 || shared.Load() != 0 {
						t.Error("an exclusive lock beside another")
					}
					if before := last.Swap(g.Token); before >= g.Token {
						t.Errorf("token %d after %d", g.Token, before)
					}
					inside.Add(-1)
				}
				if err := f.Unlock("a/k", g.Token); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if st := s.Stats("ada"); st.Held != 0 || st.Waiting != 0 || len(must(s.tenant("ada"))(t).locks) != 0 {
		t.Errorf("%+v", st)
	}
}

func TestLockEndsWithItsSession(t *testing.T) {
	s := New(Options{})
	dies, waits := open(t, s, "dies", "a:rw"), open(t, s, "waits", "a:rw")
	must(dies.Lock(t.Context(), "a/k", false, MaxLease))(t)
	turn := must(waits.Ask("a/k", false, 0, 0))(t)
	select {
	case <-turn.Done():
		t.Fatal("two hold it")
	default:
	}
	dies.Close()
	<-turn.Done()
	g := must(turn.Grant())(t)
	third := open(t, s, "third", "a:rw")
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err := third.Lock(ctx, "a/k", false, 0)
	wants(t, err, context.DeadlineExceeded, "held by waits")
	other := must(third.Ask("a/k", false, 0, 0))(t)
	third.Close() // while it waits
	_, err = other.Grant()
	wants(t, err, ErrEnded)
	_, err = third.Lock(t.Context(), "a/k", false, 0)
	wants(t, err, ErrEnded)
	if err := waits.Unlock("a/k", g.Token); err != nil {
		t.Fatal(err)
	}
	wants(t, waits.Unlock("a/k", g.Token), ErrNotHeld)
}

func TestLeaseAndFence(t *testing.T) {
	s := New(Options{})
	f, g := open(t, s, "f", "a:rw"), open(t, s, "g", "a:rw")
	late := must(f.Lock(t.Context(), "a/k", false, MinLease))(t)
	if _, err := f.Set("a/k", []byte("f"), If{Fence: late.Token}); err != nil && !errors.Is(err, ErrFenced) { // slow machines
		t.Fatal(err)
	}
	now := must(g.Lock(t.Context(), "a/k", false, time.Minute))(t) // when f's lease has ended
	_, err := f.Set("a/k", []byte("late"), If{Fence: late.Token})
	wants(t, err, ErrFenced)
	wants(t, f.Unlock("a/k", late.Token), ErrNotHeld)
	_, err = f.Renew("a/k", late.Token, 0)
	wants(t, err, ErrNotHeld)
	if _, err := g.Set("a/k", []byte("g"), If{Fence: now.Token}); err != nil {
		t.Fatal(err)
	}
	if again := must(g.Renew("a/k", now.Token, 2*time.Minute))(t); !again.Until.After(now.Until) {
		t.Error("a lease that was renewed ends no later")
	}
	for _, lease := range []time.Duration{-1, 1, MaxLease + 1} {
		_, err := f.Lock(t.Context(), "a/x", false, lease)
		wants(t, err, ErrRange)
	}
}

// TestDeadlockIsNamed: who would close a circle of 2, 3 or 10 is refused, with the circle, and
// the others go on when he gives up.
func TestDeadlockIsNamed(t *testing.T) {
	for _, n := range []int{1, 2, 3, 10} {
		s := New(Options{})
		var all []*Session
		for i := range n {
			f := open(t, s, fmt.Sprint("f", i), "a:rw")
			all = append(all, f)
			must(f.Lock(t.Context(), fmt.Sprint("a/", i), i%2 == 1, MaxLease))(t)
		}
		for i := range n - 1 {
			if turn := must(all[i].Ask(fmt.Sprint("a/", i+1), false, 0, 0))(t); turn == nil {
				t.Fatal(i)
			}
		}
		_, err := all[n-1].Ask("a/0", false, 0, 0)
		wants(t, err, ErrDeadlock, fmt.Sprintf("f%d (request r-f%d) waits for \"a/0\", which f0 (request r-f0) holds", n-1, n-1), "in one order")
		waiting(t, s, n-1)
		all[n-1].Close()
		if n > 1 {
			waiting(t, s, n-2) // the one before has got what it waited for
		}
		if s.Stats("ada").Deadlocks != 1 {
			t.Error(s.Stats("ada"))
		}
		s.Close()
	}
}

func TestTenThousandWait(t *testing.T) {
	s := New(Options{})
	f := open(t, s, "f", "a:rw")
	g := must(f.Lock(t.Context(), "a/k", false, MaxLease))(t)
	var wg sync.WaitGroup
	for n := range 10_000 {
		w := open(t, s, fmt.Sprint("w", n), "a:rw")
		turn := must(w.Ask("a/k", n%2 == 0, MaxLease, 0))(t)
		wg.Go(func() {
			if _, err := turn.Wait(t.Context()); err != nil {
				t.Error(err)
			}
			w.Close()
		})
	}
	waiting(t, s, 10_000)
	if err := f.Unlock("a/k", g.Token); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
}

// TestThreads: a thread that waits for another one of its instance's is in no circle, unless that
// waits for it.
func TestThreads(t *testing.T) {
	s := New(Options{})
	defer s.Close()
	f, g := open(t, s, "f", "a:rw"), open(t, s, "g", "a:rw")
	ask := func(s *Session, key string, thread uint64) *Turn {
		t.Helper()
		turn, err := s.Ask(key, false, 0, thread)
		if err != nil {
			t.Fatalf("thread %d, %s: %v", thread, key, err)
		}
		return turn
	}
	held := ask(f, "a/1", 1)
	ask(f, "a/1", 2) // thread 1 goes on, and gives it back
	ask(g, "a/2", 1)
	ask(f, "a/2", 3)
	ask(g, "a/1", 1) // of f another thread waits for g than the one that holds it
	for _, key := range []string{"a/1", "a/2"} {
		if _, err := f.Ask(key, false, 0, 1); !errors.Is(err, ErrDeadlock) {
			t.Errorf("%s, by who holds a/1: %v", key, err)
		}
	}
	grant, err := held.Grant()
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Unlock("a/1", grant.Token); err != nil {
		t.Fatal(err)
	}
}
