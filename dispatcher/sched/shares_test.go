package sched

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"
)

// source is somebody who sends a request of its next function every so often.
type source struct {
	every, service time.Duration
	functions      []string
	burst          int // how many at a time; 0: one
	limit          int // of a function's concurrency; 0: none
	sent           int
}

// outcome is what came of a source's requests.
type outcome struct {
	served, refused int
	had             time.Duration // of the slots
	longest         time.Duration // wait
}

// play lets sources send for so long; the clock is the test's own.
func play(s *Scheduler, c *clock, last time.Duration, sources ...*source) []outcome {
	type request struct {
		from int
		k    *Ticket
		ends time.Time
	}
	got := make([]outcome, len(sources))
	var running, waiting []request
	begin := func(r request) {
		r.k.began = c.now
		r.ends = c.now.Add(sources[r.from].service)
		running = append(running, r)
		got[r.from].served++
		got[r.from].had += sources[r.from].service
		got[r.from].longest = max(got[r.from].longest, c.now.Sub(r.k.since))
	}
	next := make([]time.Time, len(sources))
	for i := range next {
		next[i] = c.now.Add(time.Duration(i) * time.Microsecond)
	}
	for end := c.now.Add(last); c.now.Before(end); {
		from := 0
		for i := range sources {
			if next[i].Before(next[from]) {
				from = i
			}
		}
		c.now = next[from]
		first := -1
		for i, r := range running {
			if !r.ends.After(c.now) && (first < 0 || r.ends.Before(running[first].ends)) {
				first = i
			}
		}
		if first >= 0 {
			c.now = running[first].ends
			k := running[first].k
			running = slices.Delete(running, first, first+1)
			k.Release()
		} else {
			from, src := from, sources[from]
			name := src.functions[src.sent%len(src.functions)]
			if src.sent++; src.sent%max(src.burst, 1) == 0 {
				next[from] = c.now.Add(src.every)
			}
			limit := src.limit
			if limit == 0 {
				limit = -1
			}
			k, err := s.Ask(name, limit)
			if err == nil {
				if _, err = k.Enter(context.Background()); err != nil {
					k.Release()
				}
			}
			switch {
			case err != nil:
				got[from].refused++
			case k.turn == nil:
				begin(request{from: from, k: k})
			default:
				waiting = append(waiting, request{from: from, k: k})
			}
		}
		waiting = slices.DeleteFunc(waiting, func(r request) bool {
			select {
			case err := <-r.k.turn:
				if err == nil {
					begin(r)
				} else {
					got[r.from].refused++
					r.k.Release()
				}
				return true
			default:
				return false
			}
		})
	}
	return got
}

// TestOwnersShareFairlyWhileWarm: that a warm function goes on costs no owner his share.
func TestOwnersShareFairlyWhileWarm(t *testing.T) {
	for _, owners := range []int{2, 3, 5} {
		s, c := newTest(Options{Slots: 1, Target: -1, FunctionQueue: 20, MaxWait: time.Hour})
		var sources []*source
		for i := range owners {
			sources = append(sources, &source{every: time.Millisecond, service: time.Millisecond, functions: []string{fmt.Sprintf("owner%d/f", i)}})
		}
		const last = 10 * time.Second
		for i, got := range play(s, c, last, sources...) {
			if share, fair := got.had.Seconds()/last.Seconds(), 1/float64(owners); share < 0.95*fair || share > 1.05*fair {
				t.Errorf("of %d owners number %d has had %.3f of the time, want %.3f", owners, i, share, fair)
			}
		}
	}
}

// TestSeldomOwnerIsServed: an owner who sends a request now and then, and less than his
// share, is not refused because another one floods the queues.
func TestSeldomOwnerIsServed(t *testing.T) {
	for name, seldom := range map[string]*source{
		"quick":          {every: time.Second, service: 5 * time.Millisecond, functions: []string{"seldom/f"}},
		"slow":           {every: 3 * time.Second, service: 2 * time.Second, functions: []string{"seldom/f"}},
		"slow, limited":  {every: 3 * time.Second, service: 2 * time.Second, functions: []string{"seldom/f"}, limit: 1},
		"bursts":         {every: time.Second, burst: 5, service: 5 * time.Millisecond, functions: []string{"seldom/f"}},
		"many functions": {every: time.Second / 2, service: 5 * time.Millisecond, functions: []string{"seldom/f", "seldom/g", "seldom/h"}},
	} {
		for _, functions := range []int{1, 200} {
			t.Run(fmt.Sprintf("%s beside %d", name, functions), func(t *testing.T) {
				s, c := newTest(Options{Slots: 4})
				flood := &source{every: time.Millisecond, service: 10 * time.Millisecond}
				for i := range functions {
					flood.functions = append(flood.functions, fmt.Sprintf("flood/f%d", i))
				}
				got := play(s, c, 40*time.Second, flood, seldom)
				t.Logf("%+v", got)
				if got[1].refused > 0 || got[1].longest > 2*DefaultTarget {
					t.Errorf("%+v beside %+v", got[1], got[0])
				}
				if got[0].refused == 0 {
					t.Error("the flood is none")
				}
			})
		}
	}
}
