package sched

import (
	"errors"
	"testing"
	"time"
)

// burst asks for n turns of a function at once, and returns those that are let in.
func burst(s *Scheduler, name string, n int, patience time.Duration) (in []*Ticket, why error) {
	for range n {
		k, err := s.AskFor(name, -1, patience)
		if err == nil {
			if err = k.enter(); err == nil {
				in = append(in, k)
				continue
			}
			k.Release()
		}
		why = err
	}
	return in, why
}

// forget takes one that waits out of its queue.
func (s *Scheduler) forget(k *Ticket) {
	s.mu.Lock()
	s.unqueue(k)
	s.mu.Unlock()
	k.Release()
}

// TestPatience: of what waits for something a burst is let in that takes as long to begin as
// its caller has patience, and no more; of what computes one that begins soon is left when it
// has turned out to be more than can be done. What is not known is let in until it is.
func TestPatience(t *testing.T) {
	const service, patience = 10 * time.Millisecond, time.Minute
	const soon, late = int(DefaultTarget / service), int(patience / service)
	for _, n := range []int{1, 100, 10_000} {
		for name, pauses := range map[string]bool{"it waits": true, "it computes": false} {
			s, c := newTest(Options{Slots: 1, Queue: 1 << 20, FunctionQueue: 1 << 20, Target: DefaultTarget})
			over := func(k *Ticket) {
				k.began = c.now
				c.add(service)
				if pauses {
					k.Pause()
				} else {
					k.Release()
				}
			}
			first, err := burst(s, "f", 1, patience)
			if err != nil {
				t.Fatal(err)
			}
			if in, err := burst(s, "f", n, patience); len(in) != n {
				t.Errorf("%d, nothing is known: %d are let in, %v", n, len(in), err)
			} else {
				for _, k := range in {
					s.forget(k)
				}
			}
			over(first[0])
			in, err := burst(s, "f", n, patience)
			for _, k := range in[:min(len(in), 50)] { // some have their turn
				over(k)
			}
			before := s.Stats().Waiting
			c.add(2 * DefaultInterval) // all of it has stood for that long
			in, err = burst(s, "f", 2*late, patience)
			st := s.Stats()
			t.Logf("%d, %s: %d waited, %d more are let in, %d wait: %v", n, name, before, len(in), st.Waiting, err)
			if pauses && (before < min(n, late)-100 || st.Waiting < late-2 || st.Waiting > max(before, late)+2) {
				t.Errorf("%d wait", st.Waiting)
			}
			if !pauses && before > soon+2 {
				t.Errorf("%d wait", before)
			}
			var refused *RefusedError
			if !errors.As(err, &refused) || refused.Reason != TooLong && refused.Reason != Overload {
				t.Errorf("%v", err)
			}
		}
	}
}

// TestRested: what a request has had its slot for and did not need, is no service time, and
// tells that its function waits.
func TestRested(t *testing.T) {
	s, c := newTest(Options{Slots: 1})
	k, err := s.Acquire(t.Context(), "f", -1)
	if err != nil {
		t.Fatal(err)
	}
	c.add(10*time.Second + time.Millisecond)
	k.Rested(10 * time.Second)
	k.Release()
	if f := s.functions["f"]; f.mean != float64(time.Millisecond) || !f.waits() {
		t.Errorf("it takes %v, waits %v", time.Duration(f.mean), f.waits())
	}
	for range 8 {
		if k, err = s.Acquire(t.Context(), "f", -1); err != nil {
			t.Fatal(err)
		}
		c.add(time.Millisecond)
		k.Release()
	}
	if s.functions["f"].waits() {
		t.Error("it does not wait any more")
	}
}
