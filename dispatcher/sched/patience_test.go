package sched

import (
	"context"
	"errors"
	"testing"
	"time"
)

// burst asks for n turns of a function at once, and returns those that are let in.
func burst(s *Scheduler, name string, n int, patience time.Duration) (in []*Ticket, why error) {
	for range n {
		k, err := s.AskFor(name, -1, patience)
		if err == nil {
			if _, err = k.Enter(context.Background()); err == nil {
				in = append(in, k)
				continue
			}
			k.Release()
		}
		why = err
	}
	return in, why
}

// TestPatience: of what waits for something a burst is let in whatever it seems to take, until
// the oldest has waited for half as long as its caller has patience; of what computes only what
// begins soon is left when it has turned out to be more than can be done. What is not known is
// let in until it is.
func TestPatience(t *testing.T) {
	const service, patience = 10 * time.Millisecond, time.Minute
	for _, n := range []int{1, 100, 10_000} {
		for name, pauses := range map[string]bool{"it waits": true, "it computes": false} {
			s, c := newTest(Options{Slots: 1, Queue: 1 << 20, FunctionQueue: 1 << 20, Target: DefaultTarget})
			in, err := burst(s, "f", n+30, patience)
			if len(in) != n+30 {
				t.Errorf("%d, nothing is known: %d are let in, %v", n, len(in), err)
			}
			for _, k := range in[:29] { // some have their turn
				k.began = c.now
				c.add(service)
				if pauses {
					k.Pause()
				} else {
					k.Release()
				}
			}
			c.add(2 * DefaultInterval)
			if !pauses {
				k := in[29]
				k.began = c.now.Add(-service)
				k.Release()
				if st := s.Stats(); st.Waiting > int(DefaultTarget/service)+2 {
					t.Errorf("%d, %s: %d wait", n, name, st.Waiting)
				}
				continue
			}
			if in, err = burst(s, "f", n, patience); len(in) != n || s.Stats().Waiting != 2*n {
				t.Errorf("%d, %s: %d more are let in, %d wait, %v", n, name, len(in), s.Stats().Waiting, err)
			}
			c.add(patience / 2)
			var refused *RefusedError
			if in, err = burst(s, "f", 1, patience); !errors.As(err, &refused) || refused.Reason != Overload {
				t.Errorf("%d, %s: half of the time is over: %d are let in, %v", n, name, len(in), err)
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
