package dispatcher_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/admission"
	"seuss/dispatcher/instance/instancetest"
	"seuss/dispatcher/sched"
)

// service is a dispatcher on the fake platform with who lets invocations in.
type service struct {
	*dispatcher.Dispatcher
	t       *testing.T
	control *admission.Control
	sched   *sched.Scheduler
}

func newService(t *testing.T, machines int, o dispatcher.Options, q sched.Options) *service {
	t.Helper()
	s := &service{t: t}
	r := &instancetest.Runtime{Handlers: map[string]instancetest.Handler{
		"sleep": func(c *instancetest.Call) (string, error) {
			var d time.Duration
			if _, err := fmt.Sscan(string(c.Event), &d); err != nil {
				return "", err
			}
			for n := range 3 {
				c.Sleep(d * time.Millisecond / 3)
				c.CPU.SetWord(n, uint64(n+1)) // it may be called anew
			}
			c.CPU.Print(1, "slept\n")
			return fmt.Sprintf("[%s,%d,%d,%d]", c.Event, c.Before, c.CPU.Word(0), c.CPU.Word(2)), nil
		},
		"echo": func(c *instancetest.Call) (string, error) { return string(c.Event), nil },
	}}
	o.StateDir, o.Platform, o.PoolSize, o.Slots = instancetest.FakeStateDir(t, dispatcher.DefaultImage()), r.Platform(t), machines, machines
	var err error
	if s.Dispatcher, err = dispatcher.Open(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Dispatcher.Close(); err != nil {
			t.Error(err)
		}
	})
	q.Slots, q.Queued = machines, s.Lot().Want
	s.sched = sched.New(q)
	s.control = admission.New(admission.Options{Functions: s, Invocations: s, Scheduler: s.sched, Crowded: s.Lot().Full})
	for _, name := range []string{"sleep", "echo"} {
		if _, err := s.Deploy(t.Context(), dispatcher.FunctionSpec{Name: name, Handler: name + ".handler", Files: map[string][]byte{"f": []byte(name)}}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// invoke is one invocation, from its admission to its end.
func (s *service) invoke(ctx context.Context, r dispatcher.Request) (*dispatcher.Result, error) {
	e, err := s.control.Enter(r.Function)
	if err != nil {
		return nil, err
	}
	defer e.End(ctx)
	return e.Invoke(ctx, &r)
}

func (s *service) want(r dispatcher.Request, output string) {
	got, err := s.invoke(s.t.Context(), r)
	if err != nil {
		s.t.Error(err)
	} else if got.Error != nil || string(got.Output) != output || r.Function == "sleep" && (len(got.Logs) != 1 || got.Logs[0].Text != "slept\n") {
		s.t.Errorf("%s: %s, %v, %v; want %s", r.Function, got.Output, got.Error, got.Logs, output)
	}
}

func (s *service) until(what string, so func() bool) {
	s.t.Helper()
	for end := time.Now().Add(time.Minute); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("not in a minute: %s; %+v, %+v", what, s.Stats().Parked, s.sched.Stats())
		}
	}
}

func ask(function, event string) dispatcher.Request {
	return dispatcher.Request{Function: function, Event: []byte(event)}
}

// patient is a queue that refuses nothing of a test's.
var patient = sched.Options{Queue: 1 << 20, FunctionQueue: 1 << 20, MaxWait: 1000 * time.Hour, Target: -1}

// TestParkedInvocations: however many sleep at a time on however few machines, each goes on
// as what it was, with its output, and nothing is left of any.
func TestParkedInvocations(t *testing.T) {
	for _, n := range []int{1, 100, 10_000} {
		if n > 100 && testing.Short() {
			n = 1000
		}
		s := newService(t, 4, dispatcher.Options{}, patient)
		// On a slow machine the first are awake again before the last sleep: then they sleep
		// for longer.
		for ms, most := 300+n, n == 1; ; ms *= 4 {
			var wg sync.WaitGroup
			for range n {
				wg.Go(func() { s.want(ask("sleep", fmt.Sprint(ms)), fmt.Sprintf("[%d,0,1,3]", ms)) })
			}
			over := make(chan struct{})
			go func() {
				wg.Wait()
				close(over)
			}()
			for done := false; !done; {
				if st := s.Stats().Parked; !most && st.Instances > n/4 {
					most = true
					t.Logf("%d instances: %d parked, %d bytes each", n, st.Instances, st.Bytes/uint64(st.Instances))
					s.want(ask("echo", "5"), "5")
				}
				select {
				case <-over:
					done = true
				case <-time.After(time.Millisecond):
				}
			}
			if most {
				break
			}
			if t.Failed() || ms > 120_000 {
				t.Fatalf("%d that sleep for %d ms: never a quarter of them was parked", n, ms)
			}
		}
		st := s.Stats()
		if st.Parked.Instances != 0 || st.Parked.Bytes != 0 || st.Parked.Resting != 0 {
			t.Errorf("%d: %+v", n, st.Parked)
		}
		if n == 1 && st.Parked.Parks != 0 {
			t.Error("it left its machine, which nobody wanted")
		}
		if q := s.sched.Stats(); q.Running+q.Waiting+q.Paused != 0 {
			t.Errorf("%+v", q)
		}
	}
}

// TestParkedEnds: what is parked ends when its time is over, when it is killed, and when its
// client goes; what it has printed is told, and its room is free.
func TestParkedEnds(t *testing.T) {
	s := newService(t, 1, dispatcher.Options{}, patient)
	type outcome struct {
		r   *dispatcher.Result
		err error
	}
	// seen says that it has rested before it was over.
	begin := func(ctx context.Context, r dispatcher.Request) (done chan outcome, seen bool) {
		done = make(chan outcome, 1)
		go func() {
			got, err := s.invoke(ctx, r)
			done <- outcome{got, err}
		}()
		s.until("it rests", func() bool {
			seen = s.Stats().Parked.Resting == 1
			return seen || len(done) > 0
		})
		s.want(ask("echo", "1"), "1") // wants its machine
		return done, seen
	}
	slow := ask("sleep", "3600000")
	for slow.Timeout = time.Second; ; slow.Timeout *= 4 { // on a slow machine it is over before it is seen
		began := time.Now()
		done, seen := begin(t.Context(), slow)
		if got := <-done; got.err != nil || got.r.Error == nil || got.r.Error.Type != "Sandbox.Timedout" {
			t.Errorf("%+v", got)
		}
		if took := time.Since(began); took < slow.Timeout {
			t.Errorf("its time was over after %v", took)
		}
		if seen {
			break
		}
	}
	slow.Timeout, slow.RequestID = time.Hour, "to-be-killed"
	done, _ := begin(t.Context(), slow)
	s.until("it is parked", func() bool { return s.Stats().Parked.Instances == 1 })
	list, _, _, err := s.control.List(admission.Query{Most: 10, Wanted: func(string) bool { return true }})
	if err != nil || len(list) != 1 || list[0].State != "parked" || list[0].Machine != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	if err := s.control.Kill("to-be-killed", func(string) bool { return true }); err != nil {
		t.Error(err)
	}
	if got := <-done; got.err != nil || got.r.Error == nil || !errors.Is(got.r.Error.Cause, dispatcher.ErrKilled) {
		t.Errorf("%+v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done, _ = begin(ctx, slow)
	s.until("it is parked", func() bool { return s.Stats().Parked.Instances == 1 })
	cancel()
	if got := <-done; !errors.Is(got.err, context.Canceled) {
		t.Errorf("%+v", got)
	}
	s.until("its room is free", func() bool { return s.Stats().Parked.Instances == 0 })
	s.want(ask("sleep", "30"), "[30,0,1,3]")
}

// TestParkedBound: at the bound who waits stays on his machine, and what is refused for that
// is refused by name; when there is room again all goes on.
func TestParkedBound(t *testing.T) {
	s := newService(t, 2, dispatcher.Options{Instances: 3}, sched.Options{Queue: 1, FunctionQueue: 10, MaxWait: time.Hour, Target: -1})
	for ms := 1000; ; ms *= 4 { // on a slow machine the first are awake again before it is full
		var wg sync.WaitGroup
		var awake atomic.Bool
		for n := range 5 {
			wg.Go(func() {
				s.want(ask("sleep", fmt.Sprint(ms)), fmt.Sprintf("[%d,0,1,3]", ms))
				awake.Store(true)
			})
			s.until("it waits", func() bool {
				st := s.Stats().Parked
				return awake.Load() || st.Instances+st.Resting == n+1 && s.sched.Stats().Waiting == 0
			})
		}
		wg.Go(func() { s.want(ask("echo", "2"), "2") }) // waits for a machine
		s.until("it waits", func() bool { return awake.Load() || s.sched.Stats().Waiting == 1 })
		_, err := s.invoke(t.Context(), ask("echo", "3"))
		full := !awake.Load()
		var refused *sched.RefusedError
		if full && (!errors.As(err, &refused) || refused.Reason != sched.Instances || !strings.Contains(err.Error(), "--instances")) {
			t.Errorf("%v", err)
		}
		if full {
			s.until("it is counted who stays on his machine", func() bool { return s.Stats().Parked.Refused > 0 })
		}
		wg.Wait()
		s.want(ask("echo", "4"), "4")
		if full {
			return
		}
	}
}

// TestParkedStorm: invocations that come, wait, are parked, brought back, killed, cancelled
// and out of time at any moment, more than may be parked; each has an end of its own, and
// nothing is left of any.
func TestParkedStorm(t *testing.T) {
	s := newService(t, 3, dispatcher.Options{Instances: 40}, sched.Options{Queue: 200, FunctionQueue: 200, MaxWait: time.Hour, Target: -1})
	n := 2000
	if testing.Short() {
		n = 500
	}
	var ok, refused, killed, late, gone atomic.Int64
	var wg sync.WaitGroup
	places := make(chan struct{}, 150)
	for id := range n {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			r := ask("sleep", fmt.Sprint(rand.IntN(120)))
			r.RequestID = fmt.Sprint("r", id)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			moment := time.Duration(rand.IntN(60)) * time.Millisecond
			switch id % 5 {
			case 0:
				time.AfterFunc(moment, func() { _ = s.control.Kill(r.RequestID, func(string) bool { return true }) })
			case 1:
				time.AfterFunc(moment, cancel)
			case 2:
				r.Timeout = max(moment, time.Millisecond)
			}
			got, err := s.invoke(ctx, r)
			var full *sched.RefusedError
			switch {
			case errors.As(err, &full):
				refused.Add(1)
			case errors.Is(err, dispatcher.ErrKilled):
				killed.Add(1)
			case errors.Is(err, context.Canceled):
				gone.Add(1)
			case err != nil:
				t.Errorf("%s: %v", r.RequestID, err)
			case got.Error == nil:
				ok.Add(1)
				if !strings.HasSuffix(string(got.Output), ",0,1,3]") {
					t.Errorf("%s", got.Output)
				}
			case errors.Is(got.Error.Cause, dispatcher.ErrKilled):
				killed.Add(1)
			case errors.Is(got.Error.Cause, dispatcher.ErrTimeout):
				late.Add(1)
			default:
				t.Errorf("%s: %v", r.RequestID, got.Error)
			}
		})
	}
	wg.Wait()
	st := s.Stats().Parked
	t.Logf("%d answered, %d refused, %d killed, %d out of time, %d cancelled; %d parks", ok.Load(), refused.Load(), killed.Load(), late.Load(), gone.Load(), st.Parks)
	if st.Instances != 0 || st.Bytes != 0 || st.Resting != 0 || st.Whole != 0 {
		t.Errorf("%+v", st)
	}
	if q := s.sched.Stats(); q.Running+q.Waiting+q.Paused != 0 {
		t.Errorf("%+v", q)
	}
	if ok.Load() == 0 || killed.Load() == 0 || late.Load() == 0 || gone.Load() == 0 || st.Parks == 0 {
		t.Error("that was no storm")
	}
	s.want(ask("sleep", "3"), "[3,0,1,3]")
}
