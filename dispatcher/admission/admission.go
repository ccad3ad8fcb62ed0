package admission

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"seuss/dispatcher"
	"seuss/dispatcher/events"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/inflight"
	"seuss/dispatcher/instance"
	"seuss/dispatcher/logs"
	"seuss/dispatcher/quota"
	"seuss/dispatcher/sched"
	"seuss/lineage"
)

// ErrClientGone: nobody waits for the result any more.
var ErrClientGone = errors.New("the client has gone")

// Functions finds deployments by name.
type Functions interface {
	Lookup(name string) (*dispatcher.Deployment, error)
}

// Invocations runs them.
type Invocations interface {
	Run(ctx context.Context, request *dispatcher.Request) (dispatcher.Invocation, error)
}

// Metrics counts invocations; its methods may be called from any goroutine.
type Metrics interface {
	// Invoked: an invocation of a function has a result, after it waited for its turn.
	Invoked(function string, r *dispatcher.Result, waited time.Duration)
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
	OutcomeInvalid   Outcome = "invalid" // nothing that can be invoked was asked for
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
	Quotas      *quota.Book  // of owners; nil: none are held to one
	// Crowded, where it is not nil, reports whether no more instances of an owner can be
	// parked.
	Crowded func(owner string) bool
}

// Control lets invocations in.
type Control struct {
	o        Options
	away     Elsewhere // nil: there is none
	refusals refusals
	entries  inflight.Table[Entry] // that wait or run
	works    inflight.Table[work]  // the same of what Once runs
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

func (nobody) Invoked(string, *dispatcher.Result, time.Duration) {}
func (nobody) NotInvoked(Outcome)                                {}

// Entry is an invocation that was let in: first by its head alone, then with its event.
// It belongs to one goroutine.
type Entry struct {
	c          *Control
	asked      string // the name that it was asked for by
	target     *dispatcher.Deployment
	ticket     *sched.Ticket
	stay       *quota.Stay // nil: its owner has no quota
	request    *dispatcher.Request
	invocation dispatcher.Invocation // nil: there is no result
	times      span
	progress   inflight.Progress
	worker     *events.Worker // nil: it is no event

	away    bool  // it is to run elsewhere
	refusal error // why not here; nil: it may run here
}

func (c *Control) enter(function string, ask func(name string, limit int, patience time.Duration) (*sched.Ticket, error)) (*Entry, error) {
	target, err := c.o.Functions.Lookup(function)
	if err != nil {
		return nil, err
	}
	owner := functions.OwnerOf(target.Name)
	stay, err := c.o.Quotas.Enter(owner)
	if err != nil {
		c.refused()
		return nil, err
	}
	ticket, err := ask(target.Base(), target.Limit, target.Patience())
	if err != nil {
		stay.Leave()
		c.refused()
		return nil, c.crowded(owner, err)
	}
	return &Entry{c: c, asked: function, target: target, ticket: ticket, stay: stay}, nil
}

// Deployment is what the function's name has led to. It is not to be changed.
func (e *Entry) Deployment() *dispatcher.Deployment { return e.target }

func (c *Control) refused() {
	c.o.Metrics.NotInvoked(OutcomeRefused)
	c.refusals.count(c.o.Log)
}

// crowded names what is behind a refusal where the machines are held by instances that wait
// and cannot be parked.
func (c *Control) crowded(owner string, err error) error {
	var refused *sched.RefusedError
	if c.o.Crowded == nil || !errors.As(err, &refused) || !c.o.Crowded(owner) {
		return err
	}
	switch refused.Reason {
	case sched.QueueFull, sched.FunctionQueue, sched.TooLong, sched.Overload:
		return &sched.RefusedError{Reason: sched.Instances, RetryAfter: refused.RetryAfter}
	}
	return err
}

// turnedAway counts what had no turn.
func (c *Control) turnedAway(err error) {
	var refused *sched.RefusedError
	if errors.As(err, &refused) {
		c.refused()
	} else {
		c.o.Metrics.NotInvoked(OutcomeCancelled)
	}
}

// isClients tells an error that is the client's from a failure.
func isClients(err error) bool {
	return errors.Is(err, dispatcher.ErrBadEvent) || errors.Is(err, lineage.ErrInvalid) || errors.Is(err, dispatcher.ErrUnknownFunction)
}

// Invoke carries out the invocation when its turn has come. Machine and slot are held
// until End. It may be called once.
func (e *Entry) Invoke(ctx context.Context, request *dispatcher.Request) (*dispatcher.Result, error) {
	if e.away {
		if result, done, err := e.invokeAway(ctx, request); done {
			return result, err
		}
	}
	c := e.c
	request.Function, request.Deployment, e.request = e.target.Name, e.target, request
	request.Progress, request.Turn = &e.progress, e
	e.times.arrived = time.Now()
	if c.o.Tracer != nil {
		e.times.whole = &wholeSpan{tracer: c.o.Tracer, ctx: ctx, name: "invoke " + request.Function, arrived: e.times.arrived}
		request.Context = e.times.whole.calls
	}
	number := c.entries.Add(e)
	defer c.entries.Remove(number)
	begun, err := e.ticket.Enter(ctx)
	if err == nil && !begun {
		err = e.ticket.Await(ctx, &e.progress)
	}
	if e.progress.Killed() {
		err = dispatcher.ErrKilled
	}
	if err != nil {
		return nil, e.failed(ctx, c.crowded(functions.OwnerOf(e.target.Name), err))
	}
	e.times.began = time.Now()
	e.progress.Begin(e.times.began)
	e.stay.Begin()
	if c.o.Tracer != nil {
		e.times.reset = &resetSpan{tracer: c.o.Tracer}
		request.OnReset = e.times.reset.done
	}
	if e.invocation, err = c.o.Invocations.Run(ctx, request); err != nil {
		return nil, e.failed(ctx, err)
	}
	e.times.ended = time.Now()
	return e.invocation.Result(), nil
}

// Wanted, Pause, Rested and Resume make an entry whose turn has come the dispatcher.Turn of its
// invocation.
func (e *Entry) Wanted() bool { return e.c.o.Scheduler.Wanted() }

func (e *Entry) Pause() {
	e.stay.Pause()
	e.ticket.Pause()
	e.worker.Leave()
}

func (e *Entry) Rested(d time.Duration) { e.ticket.Rested(d) }

func (e *Entry) Resume(ctx context.Context, progress *inflight.Progress) error {
	if err := e.ticket.Resume(ctx, progress); err != nil {
		return err
	}
	e.stay.Begin()
	e.worker.Return()
	return nil
}

// failed counts and traces an invocation that has no result.
func (e *Entry) failed(ctx context.Context, err error) error {
	c, now := e.c, time.Now()
	if e.progress.End() {
		err = fmt.Errorf("invoke %q: %w", e.target.Name, dispatcher.ErrKilled) // whatever came of it
	}
	switch {
	case e.times.began.IsZero(), errors.Is(err, dispatcher.ErrKilled):
		c.turnedAway(err)
	case isClients(err):
		c.o.Metrics.NotInvoked(OutcomeInvalid)
	default:
		c.o.Metrics.NotInvoked(OutcomeFailed)
		if c.o.Logs != nil {
			c.keep(ctx, e.target, e.request.RequestID, nil, err)
		}
	}
	e.times.ended = now
	if e.times.began.IsZero() {
		e.times.began = now
	}
	c.trace(e.request, nil, err, e.times)
	return gone(ctx, err)
}

// End gives machine and slot back, and counts, traces and logs the invocation. It is
// called once the result is on its way: the machine is reset here, unless somebody
// waits for it.
func (e *Entry) End(ctx context.Context) {
	e.release()
	if e.invocation == nil {
		return
	}
	c := e.c
	result := e.invocation.Result()
	c.trace(e.request, result, nil, e.times)
	if c.o.Logs != nil && (result.Error != nil || len(result.Logs) > 0) {
		c.keep(ctx, e.target, e.request.RequestID, result, nil)
	}
	waited := e.times.began.Sub(e.times.arrived)
	c.o.Metrics.Invoked(e.target.Base(), result, waited)
	c.o.Log.LogAttrs(ctx, slog.LevelInfo, "invocation", slog.String("request_id", e.request.RequestID), slog.String("function", e.target.Name),
		slog.String("path", string(result.Path)), slog.String("contract", result.Contract), slog.Bool("pooled", result.Pooled), slog.Duration("waited", waited),
		slog.Duration("total", result.Timings.Total), slog.Bool("failed", result.Error != nil), inChain(e.request))
}

// release gives back what others may wait for.
func (e *Entry) release() {
	if e.ticket == nil {
		return // it ran elsewhere
	}
	defer e.stay.Leave()
	defer e.ticket.Release()
	if e.invocation != nil {
		e.invocation.End(!e.c.o.Scheduler.Waiting()) // who waits may want the machine for something else
	}
}

// Once runs what needs a slot of an owner's but is no invocation of a deployment: code
// that is not deployed, and making snapshots. run is to end with its context.
func (c *Control) Once(ctx context.Context, what Work, run func(context.Context) error) error {
	owner := functions.OwnerOf(what.Function)
	w := &work{Work: what, arrived: time.Now()}
	ctx, w.cancel = context.WithCancelCause(ctx)
	defer w.cancel(nil)
	stay, err := c.o.Quotas.Enter(owner)
	if err != nil {
		c.refused()
		return err
	}
	defer stay.Leave()
	number := c.works.Add(w)
	defer c.works.Remove(number)
	ticket, err := c.o.Scheduler.Acquire(ctx, functions.Key(owner, ""), -1)
	if err != nil {
		c.turnedAway(err)
		return gone(ctx, err)
	}
	defer ticket.Release()
	stay.Begin()
	w.progress.Begin(time.Now())
	w.progress.Enter(what.state())
	err = run(ctx)
	if w.progress.End() {
		return fmt.Errorf("%s: %w", what.Function, dispatcher.ErrKilled)
	}
	return err
}

// Run is the run function of package events. An event is its deployment's: one that has got
// the name since does not see it.
func (c *Control) Run(ctx context.Context, e events.Event) (answer events.Answer, err error) {
	entry, err := c.EnterHere(e.Function)
	if err != nil {
		return answer, permanent(fmt.Errorf("invoke %q: %w", e.Function, err))
	}
	defer entry.End(ctx)
	entry.worker = e.Worker
	if entry.target.ID != e.FunctionID { // one that is older than identities has none, and its events have none
		return answer, permanent(fmt.Errorf("invoke %q: %w: it was removed after the event was accepted", e.Function, dispatcher.ErrUnknownFunction))
	}
	result, err := entry.Invoke(ctx, &dispatcher.Request{Event: e.Payload, RequestID: e.RequestID, ARN: e.ARN, ClientContext: e.ClientContext})
	if err != nil {
		return answer, permanent(err)
	}
	answer.Version = dispatcher.VersionOf(entry.target.Name)
	if result.Error == nil {
		answer.Payload = bytes.Clone(result.Output) // the machine's reset may take it
		return answer, nil
	}
	answer.Failed = true
	if answer.Payload, err = json.Marshal(result.Error); err != nil {
		answer.Payload = nil
	}
	if errors.Is(result.Error.Cause, dispatcher.ErrKilled) {
		return answer, events.Permanent(&failedError{result.Error}) // who has ended it wants no other attempt
	}
	return answer, &failedError{result.Error}
}

// permanent marks errors that no further attempt changes.
func permanent(err error) error {
	if errors.Is(err, dispatcher.ErrUnknownFunction) || errors.Is(err, dispatcher.ErrBadEvent) || errors.Is(err, dispatcher.ErrKilled) {
		return events.Permanent(err)
	}
	return err
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
