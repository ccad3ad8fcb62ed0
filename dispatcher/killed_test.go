package dispatcher

import (
	"errors"
	"testing"
	"time"

	"seuss/dispatcher/inflight"
	"seuss/dispatcher/instance/instancetest"
)

// TestKilled: an invocation that is killed, while its guest runs or while it waits for a
// machine, ends with an error of that name; its machine is reset and serves the next one.
func TestKilled(t *testing.T) {
	spin := func(c *instancetest.Call) (string, error) {
		for {
			c.CPU.Spin()
		}
	}
	s := newFakeService(t, &instancetest.Runtime{Handlers: map[string]instancetest.Handler{"echo": echo, "spin": spin}}, Options{PoolSize: 1})
	s.deploy("echo", "echo", false)
	node := s.deploy("spin", "spin", false)
	s.want(ask("echo", "1"), "[1,0]")
	_, before := s.platform.Machines()

	type outcome struct {
		r   *Result
		err error
	}
	start := func(name string, p *inflight.Progress) chan outcome {
		done := make(chan outcome, 1)
		go func() {
			r, err := s.Invoke(t.Context(), Request{Function: name, Event: []byte("2"), Progress: p, Timeout: time.Hour})
			done <- outcome{r, err}
		}()
		return done
	}
	runs, waits := &inflight.Progress{}, &inflight.Progress{}
	running := start("spin", runs)
	for runs.Look().State != inflight.Running {
		time.Sleep(time.Millisecond)
	}
	if seen := runs.Look(); seen.Node == nil || seen.Node.ID != node.ID || seen.Machine == 0 || time.Until(seen.Deadline) < 30*time.Minute {
		t.Errorf("%+v", seen)
	}
	waiting := start("echo", waits)
	for pooled(s) == 0 {
		time.Sleep(time.Millisecond)
	}
	if !waits.Kill() {
		t.Error("it waits for a machine, and is over")
	}
	if o := <-waiting; !errors.Is(o.err, ErrKilled) {
		t.Errorf("%+v, %v", o.r, o.err)
	}
	if !runs.Kill() {
		t.Error("it runs, and is over")
	}
	if o := <-running; o.err != nil || o.r.Error == nil || o.r.Error.Type != "Sandbox.Killed" || !errors.Is(o.r.Error, ErrKilled) || len(o.r.Output) > 0 {
		t.Errorf("%+v, %v", o.r, o.err)
	}
	over := &inflight.Progress{}
	s.want(Request{Function: "echo", Event: []byte("3"), Progress: over}, "[3,0]")
	if _, after := s.platform.Machines(); after != before {
		t.Errorf("%d machines were made, %d before", after, before)
	}
	if over.Kill() {
		t.Error("what has its result was killed")
	}
}

// pooled is how many have had to wait for a machine.
func pooled(s *fakeService) (waited uint64) {
	for _, p := range s.pools.all() {
		p.mu.Lock()
		waited += uint64(len(p.waiters))
		p.mu.Unlock()
	}
	return waited
}
