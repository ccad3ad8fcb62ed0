package admission

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/events"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/sched"
	"seuss/lineage"
)

// fake is the service below: one function, whose invocations the test answers.
type fake struct {
	invoke func(context.Context, dispatcher.Request) (*dispatcher.Result, error)
	limit  int
	ended  []bool // whether the machine was to be reset there
}

func (f *fake) Lookup(name string) (*dispatcher.Deployment, error) {
	if name != "echo" && name != "echo:live" {
		return nil, fmt.Errorf("%w: %q", dispatcher.ErrUnknownFunction, name)
	}
	return &dispatcher.Deployment{Function: functions.Function{Name: "echo:7", ID: "new"}, Limit: f.limit}, nil
}

func (f *fake) Run(ctx context.Context, r *dispatcher.Request) (dispatcher.Invocation, error) {
	result, err := f.invoke(ctx, *r)
	if err != nil {
		return nil, err
	}
	return &invocation{f, result}, nil
}

type invocation struct {
	f      *fake
	result *dispatcher.Result
}

func (i *invocation) Result() *dispatcher.Result { return i.result }
func (i *invocation) End(here bool)              { i.f.ended = append(i.f.ended, here) }

// counts are metrics that a test reads.
type counts struct {
	mu       sync.Mutex
	outcomes map[Outcome]int
	invoked  int
}

func (c *counts) Invoked(string, *dispatcher.Result, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.invoked++
}

func (c *counts) NotInvoked(o Outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.outcomes == nil {
		c.outcomes = map[Outcome]int{}
	}
	c.outcomes[o]++
}

func control(f *fake, slots int) (*Control, *counts, *sched.Scheduler) {
	c, s := &counts{}, sched.New(sched.Options{Slots: slots, Queue: 1, FunctionQueue: 1})
	return New(Options{Functions: f, Invocations: f, Scheduler: s, Metrics: c}), c, s
}

// A name is resolved once: what runs is what it stood for then, and machine and slot are
// held until the end and no longer.
func TestInvoke(t *testing.T) {
	f := &fake{limit: -1}
	c, counted, s := control(f, 1)
	f.invoke = func(_ context.Context, r dispatcher.Request) (*dispatcher.Result, error) {
		if r.Function != "echo:7" || r.Deployment == nil || r.Deployment.Name != r.Function {
			t.Errorf("%q, %+v runs", r.Function, r.Deployment)
		}
		return &dispatcher.Result{Output: r.Event}, nil
	}
	entry, err := c.Enter("echo:live")
	if err != nil {
		t.Fatal(err)
	}
	if s.Stats().Running != 0 {
		t.Error("an invocation whose event has not come has a slot")
	}
	result, err := entry.Invoke(t.Context(), &dispatcher.Request{Event: []byte(`1`)})
	if err != nil || string(result.Output) != `1` || s.Stats().Running != 1 || len(f.ended) != 0 || counted.invoked != 0 {
		t.Errorf("%v, %v: slot or machine is free while the result is on its way: %+v", result, err, s.Stats())
	}
	entry.End(t.Context())
	if counted.invoked != 1 || s.Stats().Running != 0 || len(f.ended) != 1 || !f.ended[0] {
		t.Errorf("%+v, reset by this goroutine %v though nobody waits", counted, f.ended)
	}
	if _, err := c.Enter("nobody"); !errors.Is(err, dispatcher.ErrUnknownFunction) {
		t.Error(err)
	}
	abandoned, err := c.Enter("echo")
	if err != nil {
		t.Fatal(err)
	}
	abandoned.End(t.Context())
	if counted.invoked != 1 || len(f.ended) != 1 {
		t.Error("an entry that was not used is an invocation")
	}
}

// What has no result is counted by why, and a client that has gone is told from a
// failure.
func TestNoResult(t *testing.T) {
	f := &fake{limit: -1}
	c, counted, s := control(f, 1)
	invoke := func(ctx context.Context) error {
		entry, err := c.Enter("echo")
		if err != nil {
			return err
		}
		defer entry.End(ctx)
		_, err = entry.Invoke(ctx, &dispatcher.Request{})
		return err
	}
	broken := errors.New("broken")
	f.invoke = func(context.Context, dispatcher.Request) (*dispatcher.Result, error) { return nil, broken }
	if err := invoke(t.Context()); !errors.Is(err, broken) || errors.Is(err, ErrClientGone) {
		t.Error(err)
	}
	ctx, hangUp := context.WithCancel(t.Context())
	f.invoke = func(ctx context.Context, _ dispatcher.Request) (*dispatcher.Result, error) {
		hangUp()
		return nil, context.Cause(ctx)
	}
	if err := invoke(ctx); !errors.Is(err, ErrClientGone) {
		t.Error(err)
	}
	if err := invoke(ctx); !errors.Is(err, ErrClientGone) {
		t.Error(err)
	}
	late, err := c.Enter("echo")
	if err != nil {
		t.Fatal(err)
	}
	defer late.End(t.Context())
	held, err := s.Acquire(t.Context(), "other", -1)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Release()
	f.limit = 0
	var refused *sched.RefusedError
	if _, err := c.Enter("echo"); !errors.As(err, &refused) || refused.Reason != sched.FunctionLimit {
		t.Error(err)
	}
	if _, err := late.Invoke(t.Context(), &dispatcher.Request{}); !errors.As(err, &refused) {
		t.Error(err)
	}
	f.limit = -1
	held.Release()
	for _, bad := range []error{dispatcher.ErrBadEvent, lineage.ErrInvalid, dispatcher.ErrUnknownFunction} {
		f.invoke = func(context.Context, dispatcher.Request) (*dispatcher.Result, error) { return nil, bad }
		if err := invoke(t.Context()); !errors.Is(err, bad) {
			t.Error(err)
		}
	}
	if counted.outcomes[OutcomeInvalid] != 3 || counted.outcomes[OutcomeFailed] != 2 || counted.outcomes[OutcomeCancelled] != 1 || counted.outcomes[OutcomeRefused] != 2 || counted.invoked != 0 {
		t.Errorf("%+v", counted)
	}
}

// What runs once is counted as others are where it has no turn.
func TestOnce(t *testing.T) {
	c, counted, s := control(&fake{limit: -1}, 1)
	broken := errors.New("broken")
	if err := c.Once(t.Context(), Work{Function: "alice/"}, func(context.Context) error { return broken }); err != broken {
		t.Error(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	if err := c.Once(t.Context(), Work{Function: "alice/"}, func(context.Context) error {
		var waits sync.WaitGroup
		defer waits.Wait()
		waits.Go(func() { // the queue's one place
			if err := c.Once(ctx, Work{Function: "alice/"}, func(context.Context) error { return nil }); !errors.Is(err, ErrClientGone) {
				t.Error(err)
			}
		})
		defer leave()
		for !s.Waiting() {
			time.Sleep(time.Millisecond)
		}
		var refused *sched.RefusedError
		err := c.Once(t.Context(), Work{Function: "alice/"}, func(context.Context) error { return nil })
		if !errors.As(err, &refused) {
			t.Error(err)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if counted.outcomes[OutcomeRefused] != 1 || counted.outcomes[OutcomeCancelled] != 1 || len(counted.outcomes) != 2 {
		t.Errorf("%+v", counted.outcomes)
	}
}

// reader is metrics that look whether the slot is free.
type reader struct {
	counts
	s    *sched.Scheduler
	free bool
}

func (r *reader) Invoked(string, *dispatcher.Result, time.Duration) {
	r.free = r.s.Stats().Running == 0
}

// Nobody waits for a slot while somebody writes down what came of an invocation.
func TestSlotIsFreeFirst(t *testing.T) {
	f := &fake{limit: -1, invoke: func(context.Context, dispatcher.Request) (*dispatcher.Result, error) {
		return &dispatcher.Result{}, nil
	}}
	s := sched.New(sched.Options{Slots: 1})
	r := &reader{s: s}
	if _, err := New(Options{Functions: f, Invocations: f, Scheduler: s, Metrics: r}).Run(t.Context(), events.Event{Function: "echo", FunctionID: "new"}); err != nil || !r.free {
		t.Errorf("%v, the slot is free: %v", err, r.free)
	}
}

// Events are tried again where that can help.
func TestRunEvents(t *testing.T) {
	f := &fake{limit: -1}
	for _, c := range []struct {
		name, function string
		result         *dispatcher.Result
		err            error
		want           error
		permanent      bool
	}{
		{"done", "echo", &dispatcher.Result{}, nil, nil, false},
		{"no such function", "nobody", nil, nil, dispatcher.ErrUnknownFunction, true},
		{"removed meanwhile", "echo", nil, dispatcher.ErrUnknownFunction, dispatcher.ErrUnknownFunction, true},
		{"a bad event", "echo", nil, dispatcher.ErrBadEvent, dispatcher.ErrBadEvent, true},
		{"the host failed", "echo", nil, dispatcher.ErrClosed, dispatcher.ErrClosed, false},
		{"the function failed", "echo", &dispatcher.Result{Error: failed}, nil, failed, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.invoke = func(_ context.Context, r dispatcher.Request) (*dispatcher.Result, error) {
				if string(r.Event) != `{"a":1}` || r.RequestID != "id" || r.ARN != "arn" || string(r.ClientContext) != `{}` {
					t.Errorf("%+v", r)
				}
				return c.result, c.err
			}
			in, _, _ := control(f, 1)
			_, err := in.Run(t.Context(), events.Event{Function: c.function, FunctionID: "new", Payload: []byte(`{"a":1}`), RequestID: "id", ARN: "arn", ClientContext: []byte(`{}`)})
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if got := attempts(t, err); c.permanent != (got == 1) && err != nil {
				t.Errorf("%v is tried %d times", err, got)
			}
		})
	}
}

// The error of a function is as long as the function wants; in the log it is not.
func TestLoggedErrorsAreBounded(t *testing.T) {
	f := &fake{limit: -1, invoke: func(context.Context, dispatcher.Request) (*dispatcher.Result, error) {
		return &dispatcher.Result{Error: &dispatcher.FunctionError{Type: "E", Message: strings.Repeat("x", 1<<20)}}, nil
	}}
	in, _, _ := control(f, 1)
	_, err := in.Run(t.Context(), events.Event{Function: "echo", FunctionID: "new"})
	if text := err.Error(); len(text) > 2*maxErrorText || !strings.Contains(text, "bytes were cut") {
		t.Errorf("%d bytes: %.100s", len(text), text)
	}
}

// An event is not run by code that got its function's name after it was accepted.
func TestEventsAreOfTheirDeployment(t *testing.T) {
	ran := 0
	f := &fake{limit: -1, invoke: func(context.Context, dispatcher.Request) (*dispatcher.Result, error) {
		ran++
		return &dispatcher.Result{}, nil
	}}
	in, _, s := control(f, 1)
	run := func(function, id string) error {
		_, err := in.Run(t.Context(), events.Event{Function: function, FunctionID: id, Payload: []byte("1")})
		return err
	}
	for _, c := range []struct{ function, id string }{{"echo", "old"}, {"echo:live", "old"}, {"echo", ""}} {
		err := run(c.function, c.id)
		if !errors.Is(err, dispatcher.ErrUnknownFunction) || !strings.Contains(err.Error(), "was removed after the event was accepted") || attempts(t, err) != 1 {
			t.Errorf("%v: %v", c, err)
		}
	}
	if ran != 0 || s.Stats().Running != 0 {
		t.Errorf("%d ran, %d slots are held", ran, s.Stats().Running)
	}
	if err := errors.Join(run("echo", "new"), run("echo:live", "new")); err != nil || ran != 2 {
		t.Errorf("%d ran: %v", ran, err)
	}
}

var failed = &dispatcher.FunctionError{Type: "ValueError", Message: "no"}

// attempts is how often a queue runs an event that always ends in err.
func attempts(t *testing.T, err error) (n int) {
	t.Helper()
	q := events.New(events.Options{Delay: func(int) time.Duration { return 1 }, Run: func(context.Context, events.Event) (events.Answer, error) { n++; return events.Answer{}, err }})
	if err := q.Add(events.Event{Function: "f", Payload: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	for q.Len() > 0 {
		time.Sleep(time.Millisecond)
	}
	if err := q.Close(t.Context()); err != nil {
		t.Error(err)
	}
	return n
}
