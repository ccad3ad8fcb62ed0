package sched

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// flood queues n requests of each of the functions, with one slot taken.
func flood(t *testing.T, s *Scheduler, order chan<- string, n int, names ...string) {
	t.Helper()
	for range n {
		for _, name := range names {
			before := s.Stats().Waiting
			go func() {
				ticket, err := s.Acquire(context.Background(), name, -1)
				if err != nil {
					order <- "refused " + name
					return
				}
				order <- name
				ticket.Release()
			}()
			for s.Stats().Waiting == before {
				time.Sleep(50 * time.Microsecond)
			}
		}
	}
}

// TestOwnersShareFairly: two owners get as much each, however many functions one has,
// and an owner's functions share what is his.
func TestOwnersShareFairly(t *testing.T) {
	now := time.Unix(0, 0)
	s := New(Options{Slots: 1, Affinity: -1, Target: -1, MaxWait: time.Hour, Now: func() time.Time { return now }})
	held, err := s.Acquire(t.Context(), "x/held", -1)
	if err != nil {
		t.Fatal(err)
	}
	order := make(chan string)
	var many []string
	for i := range 20 {
		many = append(many, fmt.Sprintf("many/f%02d", i))
	}
	flood(t, s, order, 3, many...)
	flood(t, s, order, 20, "one/f", "one/g")
	held.Release()
	count := map[string]int{}
	for range 40 {
		name := <-order
		count[name[:4]]++
		count[name]++
	}
	if d := count["many"] - count["one/"]; d < -2 || d > 2 {
		t.Errorf("of 40 turns %d and %d", count["many"], count["one/"])
	}
	if d := count["one/f"] - count["one/g"]; d < -2 || d > 2 {
		t.Errorf("within an owner %d and %d", count["one/f"], count["one/g"])
	}
	for _, name := range many {
		if count[name] > 2 {
			t.Errorf("%s had %d turns of its owner's 20", name, count[name])
		}
	}
	for range 60 {
		<-order
	}
}

// TestOwnerFillsTheQueue: who fills the queue, with many functions of one request each,
// gives way to another owner.
func TestOwnerFillsTheQueue(t *testing.T) {
	now := time.Unix(0, 0)
	s := New(Options{Slots: 1, Queue: 50, Affinity: -1, Target: -1, MaxWait: time.Hour, Now: func() time.Time { return now }})
	held, err := s.Acquire(t.Context(), "many/held", -1)
	if err != nil {
		t.Fatal(err)
	}
	order := make(chan string, 200)
	var many []string
	for i := range 50 {
		many = append(many, fmt.Sprintf("many/f%02d", i))
	}
	flood(t, s, order, 1, many...)
	if _, err := s.Ask("many/new", -1); err == nil {
		t.Error("its own next request has room")
	}
	for range 10 {
		go func() {
			ticket, err := s.Acquire(context.Background(), "one/f", -1)
			if err != nil {
				order <- "refused one"
				return
			}
			order <- "one/f"
			ticket.Release()
		}()
	}
	for range 10 {
		if got := <-order; len(got) < 12 || got[:12] != "refused many" {
			t.Fatalf("%q, want one of many's to give way", got)
		}
	}
	held.Release()
	for range 50 {
		if got := <-order; got == "refused one" {
			t.Error(got)
		}
	}
}

// TestManyOwners: owners are forgotten with their functions.
func TestManyOwners(t *testing.T) {
	s := New(Options{Slots: 1, Queue: 10})
	for i := range 10_000 {
		ticket, err := s.Acquire(t.Context(), fmt.Sprintf("owner%d/f", i), -1)
		if err != nil {
			t.Fatal(err)
		}
		ticket.Release()
	}
	if len(s.owners) != len(s.functions) || len(s.owners) > 100 {
		t.Errorf("%d owners, %d functions", len(s.owners), len(s.functions))
	}
}
