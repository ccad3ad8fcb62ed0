package admission

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"seuss/dispatcher"
	"seuss/dispatcher/events"
	"seuss/dispatcher/instance"
	"seuss/dispatcher/logs"
	"seuss/dispatcher/sched"
)

// ErrClientGone: nobody waits for the result any more.
var ErrClientGone = errors.New("the client has gone")

// Functions finds deployments by name.
type Functions interface {
	Lookup(name string) (*dispatcher.Deployment, error)
}

// Invocations runs them.
type Invocations interface {
	Invoke(ctx context.Context, request dispatcher.Request) (*dispatcher.Result, error)
}

// Metrics counts invocations; its methods may be called from any goroutine.
type Metrics interface {
	// Invoked: an invocation has a result, after it waited for its turn.
	Invoked(r *dispatcher.Result, waited time.Duration)
	// NotInvoked: it has none: it was refused, cancelled, or failed.
	NotInvoked(outcome Outcome)
}

// Logs keeps what functions print and do wrong. It waits for nothing.
type Logs interface{ Add(logs.Key, logs.Entry) }

// Outcome says how an invocation ended that has no result.
type Outcome string

// The outcomes.
const (
	OutcomeRefused   Outcome = "refused"
	OutcomeCancelled Outcome = "cancelled"
	OutcomeFailed    Outcome = "error"
)

// Options configure a Control; Functions, Invocations and Scheduler are needed.
type Options struct {
	Functions   Functions
	Invocations Invocations
	Scheduler   *sched.Scheduler
	Metrics     Metrics      // nil: nothing is counted
	Log         *slog.Logger // nil: nowhere
	Tracer      trace.Tracer // nil: no spans are made
	Logs        Logs         // nil: what functions print is not kept
}

// Control lets invocations in.
type Control struct {
	o        Options
	refusals refusals
}

// New makes a Control.
func New(o Options) *Control {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = nobody{}
	}
	return &Control{o: o}
}

type nobody struct{}

func (nobody) Invoked(*dispatcher.Result, time.Duration) {}
func (nobody) NotInvoked(Outcome)                        {}

// Check refuses an invocation that would be refused anyway, before anything of it
// but its head has been read.
func (c *Control) Check(t *dispatcher.Deployment) error {
	err := c.o.Scheduler.Check(t.Base(), t.Limit)
	if err != nil {
		c.refused()
	}
	return err
}

func (c *Control) refused() {
	c.o.Metrics.NotInvoked(OutcomeRefused)
	c.refusals.count(c.o.Log)
}

// Invoke carries out an invocation of t when its turn has come. respond, which may
// be nil, is given the result before the machine is reset.
func (c *Control) Invoke(ctx context.Context, t *dispatcher.Deployment, request *dispatcher.Request, respond func(*dispatcher.Result)) (*dispatcher.Result, error) {
	request.Function, request.Deployment = t.Name, t
	arrived := time.Now()
	ticket, err := c.o.Scheduler.Acquire(ctx, t.Base(), t.Limit)
	began := time.Now()
	if err != nil {
		var refused *sched.RefusedError
		if errors.As(err, &refused) {
			c.refused()
		} else {
			c.o.Metrics.NotInvoked(OutcomeCancelled)
		}
		c.trace(ctx, request, nil, err, span{arrived: arrived, began: began, ended: began})
		return nil, gone(ctx, err)
	}
	defer ticket.Release()
	s := span{arrived: arrived, began: began}
	if c.o.Tracer != nil {
		s.reset = &resetSpan{tracer: c.o.Tracer}
		request.OnReset = s.reset.done
	}
	if respond != nil {
		request.Deliver = func(result *dispatcher.Result) bool {
			s.ended = time.Now()
			respond(result)
			return !c.o.Scheduler.Waiting() // who waits may want the machine for something else
		}
	}
	result, err := c.o.Invocations.Invoke(ctx, *request)
	if s.ended.IsZero() {
		s.ended = time.Now()
	}
	c.trace(ctx, request, result, err, s)
	if c.o.Logs != nil && (err != nil || result.Error != nil || len(result.Logs) > 0) {
		c.keep(ctx, t, request.RequestID, result, err)
	}
	if err != nil {
		c.o.Metrics.NotInvoked(OutcomeFailed)
		return nil, gone(ctx, err)
	}
	waited := began.Sub(arrived)
	c.o.Metrics.Invoked(result, waited)
	c.o.Log.LogAttrs(ctx, slog.LevelInfo, "invocation", slog.String("request_id", request.RequestID), slog.String("function", t.Name),
		slog.String("path", string(result.Path)), slog.Bool("pooled", result.Pooled), slog.Duration("waited", waited),
		slog.Duration("total", result.Timings.Total), slog.Bool("failed", result.Error != nil))
	return result, nil
}

// Once runs what needs a slot but is no invocation of a deployment.
func (c *Control) Once(ctx context.Context, run func() error) error {
	ticket, err := c.o.Scheduler.Acquire(ctx, "", -1)
	if err != nil {
		return gone(ctx, err)
	}
	defer ticket.Release()
	return run()
}

// Run is the run function of package events.
func (c *Control) Run(ctx context.Context, e events.Event) error {
	request := dispatcher.Request{Function: e.Function, Event: e.Payload, RequestID: e.RequestID, ARN: e.ARN, ClientContext: e.ClientContext}
	t, err := c.o.Functions.Lookup(e.Function)
	if err != nil {
		err = fmt.Errorf("invoke %q: %w", e.Function, err)
		if errors.Is(err, dispatcher.ErrUnknownFunction) {
			return events.Permanent(err)
		}
		return err
	}
	result, err := c.Invoke(ctx, t, &request, nil)
	switch {
	case errors.Is(err, dispatcher.ErrUnknownFunction), errors.Is(err, dispatcher.ErrBadEvent):
		return events.Permanent(err)
	case err != nil:
		return err
	case result.Error != nil:
		return &failedError{result.Error}
	}
	return nil
}

// maxErrorText bounds what a function's error takes in logs and spans, in bytes.
const maxErrorText = 4 << 10

// failedError is a function's error as logs have it.
type failedError struct{ *dispatcher.FunctionError }

func (e *failedError) Error() string {
	return "the function failed: " + instance.Cut(e.FunctionError.Error(), maxErrorText)
}

func (e *failedError) Unwrap() error { return e.FunctionError }

// gone tells a client that has gone from a failure.
func gone(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), context.Canceled) {
		return fmt.Errorf("%w: %w", ErrClientGone, err)
	}
	return err
}

// logEvery is how often refusals are logged: a line for each would cost more
// than the refusal.
const logEvery = 10 * time.Second

// refusals counts refusals for the log.
type refusals struct {
	mu    sync.Mutex
	since time.Time // of the last line
	n     int       // refused since then
}

func (r *refusals) count(log *slog.Logger) {
	now := time.Now()
	r.mu.Lock()
	r.n++
	n := r.n
	due := now.Sub(r.since) >= logEvery
	if due {
		r.since, r.n = now, 0
	}
	r.mu.Unlock()
	if due {
		log.Warn("invocations are refused: there is more to do than can be done", "refused", n)
	}
}
