// Package events keeps asynchronous events, those that nobody waits for, from
// their acceptance until they are done: it runs them, tries again what fails, and
// with a Journal they outlive the service. What running one means is the caller's.
//
// As with Lambda ("Asynchronous invocation" in the developer guide) an event that
// fails is tried twice more, one minute and then two minutes later; one that is
// refused a slot is tried until it is too old; what a function says otherwise holds for
// its events. Another event may follow one that has ended. Owners share a Queue fairly
// (fair.go).
//
// Units: bytes; time.Duration.
//
// Ownership: a Queue owns its goroutines and its Journal until Close.
//
// Locks: Queue.mu, a leaf; neither the run function nor the journal is called with
// it held.
package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"seuss/dispatcher/sched"
)

// Limits of a Queue.
const (
	MaxPayload      = 1 << 20   // bytes of an event: 1 MB, "Lambda quotas"
	MaxEvents       = 10_000    // that are not done
	MaxPayloadBytes = 256 << 20 // of all these
	Attempts        = 3         // at an event that fails
	MaxAge          = 6 * time.Hour
	workers         = 64
	ownerWorkers    = 16 // that run events of one owner
)

// retryDelays are the pauses after a first and a second failure.
var retryDelays = [Attempts - 1]time.Duration{time.Minute, 2 * time.Minute}

// Event is an invocation that nobody waits for.
type Event struct {
	Function      string          // as its caller named it: an alias is resolved at each attempt
	FunctionID    string          // the identity of its deployment when the event was accepted
	Payload       json.RawMessage // valid JSON
	RequestID     string
	ARN           string
	ClientContext json.RawMessage
	// Worker runs it: set by the Queue for the run function.
	Worker *Worker `json:"-"`
	// Hops is how many events have led to this one, each by following the one before.
	Hops int
}

// MaxHops bounds Event.Hops: functions that send each other events for ever are stopped
// (Lambda's recursive loop detection stops after about as many).
const MaxHops = 16

// Answer is what an event's function answered.
type Answer struct {
	Payload json.RawMessage // its result, or a document of its error
	Version string          // that ran
	Failed  bool            // the function itself
}

// Rules are what is asked for an event.
type Rules struct {
	Attempts int           // at least 1
	MaxAge   time.Duration // after its acceptance no attempt is begun any more
}

// DefaultRules are those of a function that has none.
var DefaultRules = Rules{Attempts, MaxAge}

// ErrTooOld: an event was given up for its age.
var ErrTooOld = errors.New("the event is too old for another attempt")

// Outcome is how an event has ended.
type Outcome struct {
	Event    Event
	Attempts int    // that were counted
	Answer   Answer // of the last; nothing if there was none
	Err      error  // why it was given up; nil: it was done
}

// Run runs an event once. An error that wraps a *sched.RefusedError puts it off,
// without counting as an attempt, until it is too old; one of Permanent ends it;
// any other is a failure. The answer is the function's, where it has given one.
type Run func(ctx context.Context, e Event) (Answer, error)

type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// Permanent marks an error after which an event is not tried again.
func Permanent(err error) error { return permanentError{err} }

// Options configure a Queue; Run is needed.
type Options struct {
	Run     Run
	Journal *Journal     // nil: events are in memory only
	Log     *slog.Logger // nil: nowhere
	// Delay is the pause after an event's nth failure, from 1; nil: Lambda's.
	Delay func(failures int) time.Duration
	// Failed, where it is not nil, is told of each failure by a worker, which it must
	// not hold up.
	Failed func(Failure)
	// Rules says what is asked for an event; nil: DefaultRules of all.
	Rules func(Event) Rules
	// Over, where it is not nil, is told of each event that has ended, before it is
	// forgotten, by a worker. It may have another one follow it.
	Over func(*Queue, Outcome)
}

// Failure is an attempt at an event that has failed.
type Failure struct {
	Event    Event
	Attempts int           // so far
	Of       int           // that there may be
	Again    time.Duration // until the next; 0: the event was given up
	Err      error
}

// Queue holds the events that were accepted. With a journal they are on disk
// before they are accepted and until they are done: whatever ends the service, the
// next one runs them (again, if it ended while they ran).
type Queue struct {
	o       Options
	ctx     context.Context
	cancel  context.CancelFunc
	workers sync.WaitGroup

	mu       sync.Mutex
	wake     sync.Cond            // there may be an event for a worker
	events   map[*queued]struct{} // that are not done
	accounts map[string]*account  // of their owners
	turns    []*account           // with events that wait for a worker, in the order of their turns
	given    []GivenUp            // oldest first
	count    int                  // queued, running or waiting for a retry
	bytes    int
	running  int // of these those that are queued or run
	working  int // workers that run one that is not away
	away     int // events that run and need no worker now
	hands    int // goroutines of workers: as many as workers, and one for each that is away
	closed   bool
	idle     chan struct{} // closed when running falls to 0 after Close
}

// queued is an event on its way.
type queued struct {
	Event
	accepted time.Time
	key      uint64 // in the journal, from 1
	// What follows is written with Queue.mu held, and by who runs the event alone.
	failures int
	lastErr  string // of the last failure
	state    State
	next     time.Time // of a Retry: when
}

// New makes a queue and begins with what its journal holds.
func New(o Options) *Queue {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Rules == nil {
		o.Rules = func(Event) Rules { return DefaultRules }
	}
	if o.Delay == nil {
		o.Delay = func(failures int) time.Duration { return retryDelays[failures-1] }
	}
	q := &Queue{o: o, idle: make(chan struct{}), events: map[*queued]struct{}{}, accounts: map[string]*account{}}
	q.wake.L = &q.mu
	q.ctx, q.cancel = context.WithCancel(context.Background())
	var left []*queued
	if o.Journal != nil {
		var damaged int
		var err error
		if left, damaged, err = o.Journal.load(); err != nil || damaged > 0 {
			o.Log.Error("asynchronous events of an earlier run cannot be read", "damaged", damaged, "error", err)
		}
		if q.given, err = o.Journal.givenUp(); err != nil {
			o.Log.Error("which events were given up in an earlier run cannot be read", "error", err)
		}
	}
	for _, e := range left { // however many an owner has
		q.tally(e, 1)
		q.running++
		q.push(e)
	}
	if len(left) > 0 {
		o.Log.Info("asynchronous events of an earlier run are run", "events", len(left))
	}
	q.hands = workers
	for range workers {
		q.workers.Go(q.worker)
	}
	return q
}

// Add accepts an event; it is on disk then, if there is a journal. The error is a
// *sched.RefusedError where there are too many.
func (q *Queue) Add(event Event) error {
	e := &queued{Event: event, accepted: time.Now()}
	q.mu.Lock()
	err := q.enter(e)
	q.mu.Unlock()
	if err != nil {
		return err
	}
	if q.o.Journal != nil {
		if err := q.o.Journal.put(e); err != nil {
			q.forget(e)
			return err
		}
	}
	q.mu.Lock()
	q.push(e)
	q.mu.Unlock()
	return nil
}

// Follow accepts an event that comes of one that has just ended, whose place it takes: it
// is not refused. Where the queue is closed the next service runs it, if there is a
// journal.
func (q *Queue) Follow(event Event) error {
	e := &queued{Event: event, accepted: time.Now()}
	q.mu.Lock()
	q.tally(e, 1)
	q.running++
	q.mu.Unlock()
	if q.o.Journal != nil {
		if err := q.o.Journal.put(e); err != nil {
			q.forget(e)
			return err
		}
	}
	q.mu.Lock()
	closed := q.closed
	if !closed {
		q.push(e)
	}
	q.mu.Unlock()
	if closed {
		q.rest()
	}
	return nil
}

// done ends an event.
func (q *Queue) done(e *queued, ended *Outcome) {
	if ended != nil && q.o.Over != nil {
		ended.Event, ended.Attempts = e.Event, e.failures
		if ended.Err == nil {
			ended.Attempts++
		}
		q.o.Over(q, *ended)
	}
	given, drop := q.giveUp(e)
	if q.o.Journal != nil {
		if err := q.o.Journal.remove(e, given, drop); err != nil {
			q.o.Log.Error("an event that is done could not be removed from the journal: it will run again", "request_id", e.RequestID, "error", err)
		}
	}
	q.forget(e)
}

func (q *Queue) forget(e *queued) {
	q.mu.Lock()
	q.tally(e, -1)
	q.mu.Unlock()
	q.rest()
}

// rest: an event is neither queued nor runs any more.
func (q *Queue) rest() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.running--
	if q.running == 0 && q.closed {
		close(q.idle)
	}
}

func (q *Queue) worker() {
	for e := q.next(); e != nil; e = q.next() {
		e.Worker = &Worker{q: q, e: e}
		again, ended := q.attempt(e)
		q.free(e)
		switch {
		case again > 0:
			q.later(e, again)
		case q.ctx.Err() != nil && q.o.Journal != nil:
			q.rest() // it was cancelled: the next service runs it
		default:
			q.done(e, ended)
		}
	}
}

// later queues an event again after a pause.
func (q *Queue) later(e *queued, pause time.Duration) {
	q.mark(e, Retry, time.Now().Add(pause))
	q.rest()
	time.AfterFunc(pause, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if !q.closed { // or it stays in the journal
			q.running++
			e.state = Queued
			q.push(e)
		}
	})
}

// attempt runs an event once and returns when to try again, 0 for never; then how it has
// ended, nil where the service has.
func (q *Queue) attempt(e *queued) (time.Duration, *Outcome) {
	rules := q.o.Rules(e.Event)
	log := q.o.Log.With("request_id", e.RequestID, "function", e.Function)
	giveUp := func(err error, tried int, answer Answer) (time.Duration, *Outcome) {
		q.failed(e, err, tried, 0, rules)
		log.Warn("an event is given up", "attempts", e.failures, "error", err)
		return 0, &Outcome{Answer: answer, Err: err}
	}
	old := func() bool { return time.Since(e.accepted) >= rules.MaxAge }
	if e.failures > 0 && old() { // what was never tried is, however long no service ran
		return giveUp(fmt.Errorf("%w, at most %v: %s", ErrTooOld, rules.MaxAge, e.lastErr), 0, Answer{})
	}
	answer, err := q.o.Run(q.ctx, e.Event)
	var refused *sched.RefusedError
	var permanent permanentError
	switch {
	case err == nil:
		return 0, &Outcome{Answer: answer}
	case errors.As(err, &refused) && refused.Reason != sched.Draining:
		if old() {
			return giveUp(fmt.Errorf("%w, at most %v: %w", ErrTooOld, rules.MaxAge, err), 0, answer)
		}
		return refused.RetryAfter + rand.N(refused.RetryAfter), nil
	case errors.As(err, &permanent):
		return giveUp(err, 1, answer)
	}
	if q.ctx.Err() != nil {
		return 0, nil // the service ended, not the function
	}
	if e.failures+1 >= rules.Attempts {
		return giveUp(err, 1, answer)
	}
	again := q.o.Delay(e.failures + 1)
	if time.Since(e.accepted)+again >= rules.MaxAge {
		return giveUp(fmt.Errorf("%w, at most %v: %w", ErrTooOld, rules.MaxAge, err), 1, answer)
	}
	q.failed(e, err, 1, again, rules)
	if q.o.Journal != nil {
		if err := q.o.Journal.put(e); err != nil {
			log.Error("an event's failure is not in the journal: it may be tried more often", "error", err)
		}
	}
	return again, nil
}

// Len returns how many events are queued, running or waiting for a retry.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.count
}

// Close waits until what is queued and runs is done, or ctx ends. What is left
// then, and what waits for another attempt, is the next service's if there is a
// journal, and lost if not.
func (q *Queue) Close(ctx context.Context) error {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return nil
	}
	q.closed = true
	if q.running == 0 {
		close(q.idle)
	}
	q.mu.Unlock()
	var cause error
	select {
	case <-q.idle:
	case <-ctx.Done():
		cause = context.Cause(ctx)
	}
	q.cancel()
	q.mu.Lock()
	q.wake.Broadcast()
	q.mu.Unlock()
	q.workers.Wait()
	left := q.Len()
	if q.o.Journal != nil {
		if left > 0 {
			q.o.Log.Info("asynchronous events are kept for the next start", "events", left)
		}
		return q.o.Journal.Close()
	}
	switch {
	case left > 0 && cause != nil:
		return fmt.Errorf("%d asynchronous events are lost: %w", left, cause)
	case left > 0:
		return fmt.Errorf("%d asynchronous events that failed are not tried again: the service ends", left)
	}
	return nil
}
