package httpapi

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/sched"
)

// Asynchronous events ("Asynchronous invocation" in the developer guide): a
// function that fails is tried twice more, one minute and then two minutes
// later; an event that is refused a slot is tried until it is too old.
const (
	maxEvents     = 10_000
	maxEventBytes = 256 << 20 // of all events that wait
	eventWorkers  = 16
	eventAttempts = 3
	maxEventAge   = 6 * time.Hour
)

// retryDelays are the pauses after a function's first and second failure.
var retryDelays = [eventAttempts - 1]time.Duration{time.Minute, 2 * time.Minute}

// eventQueue holds the events that were accepted. With a journal they are on
// disk before they are accepted and until they are done: whatever ends the
// service, the next one runs them (again, if it ended while they ran). Without
// one they are in memory.
type eventQueue struct {
	s       *Server
	journal *Journal // nil: none
	ctx     context.Context
	cancel  context.CancelFunc
	workers sync.WaitGroup
	work    chan *asyncEvent

	mu      sync.Mutex
	count   int // queued, running or waiting for a retry
	bytes   int
	running int // of these those that are queued or run
	closed  bool
	idle    chan struct{} // closed when running falls to 0 after close

	delay func(attempt int) time.Duration // replaced by tests
}

type asyncEvent struct {
	request  dispatcher.Request
	accepted time.Time
	failures int
	key      uint64 // in the journal, from 1
}

func newEventQueue(s *Server, journal *Journal) *eventQueue {
	q := &eventQueue{s: s, journal: journal, idle: make(chan struct{}),
		delay: func(attempt int) time.Duration { return retryDelays[attempt-1] }}
	q.ctx, q.cancel = context.WithCancel(context.Background())
	var left []*asyncEvent
	if journal != nil {
		var damaged int
		var err error
		if left, damaged, err = journal.load(); err != nil || damaged > 0 {
			s.log.Error("asynchronous events of an earlier run cannot be read", "damaged", damaged, "error", err)
		}
	}
	q.work = make(chan *asyncEvent, max(maxEvents, len(left)))
	for _, e := range left {
		q.count++
		q.running++
		q.bytes += len(e.request.Event)
		q.work <- e
	}
	if len(left) > 0 {
		s.log.Info("asynchronous events of an earlier run are run", "events", len(left))
	}
	for range eventWorkers {
		q.workers.Go(q.worker)
	}
	return q
}

// add accepts an event; it is on disk then, if there is a journal.
func (q *eventQueue) add(request dispatcher.Request) error {
	e := &asyncEvent{request: request, accepted: time.Now()}
	q.mu.Lock()
	switch {
	case q.closed:
		q.mu.Unlock()
		return &sched.RefusedError{Reason: sched.Draining, RetryAfter: time.Second}
	case q.count >= maxEvents, q.bytes+len(request.Event) > maxEventBytes:
		q.mu.Unlock()
		return &sched.RefusedError{Reason: sched.QueueFull, RetryAfter: 5 * time.Second}
	}
	q.count++
	q.running++
	q.bytes += len(request.Event)
	q.mu.Unlock()
	if q.journal != nil {
		if err := q.journal.put(e); err != nil {
			q.forget(e)
			return err
		}
	}
	q.work <- e // as large as count may get
	return nil
}

// done ends an event.
func (q *eventQueue) done(e *asyncEvent) {
	if q.journal != nil {
		if err := q.journal.remove(e); err != nil {
			q.s.log.Error("an event that is done could not be removed from the journal: it will run again", "request_id", e.request.RequestID, "error", err)
		}
	}
	q.forget(e)
}

func (q *eventQueue) forget(e *asyncEvent) {
	q.mu.Lock()
	q.count--
	q.bytes -= len(e.request.Event)
	q.mu.Unlock()
	q.rest()
}

// rest: an event is neither queued nor runs any more.
func (q *eventQueue) rest() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.running--
	if q.running == 0 && q.closed {
		close(q.idle)
	}
}

func (q *eventQueue) worker() {
	for {
		select {
		case e := <-q.work:
			if again := q.attempt(e); again > 0 {
				q.later(e, again)
				continue
			}
			if q.ctx.Err() != nil && q.journal != nil {
				q.rest() // it was cancelled: the next service runs it
				continue
			}
			q.done(e)
		case <-q.ctx.Done():
			return
		}
	}
}

// later queues an event again after a pause.
func (q *eventQueue) later(e *asyncEvent, pause time.Duration) {
	q.rest()
	time.AfterFunc(pause, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if !q.closed { // or it stays in the journal
			q.running++
			q.work <- e // as large as count may get
		}
	})
}

// attempt runs an event once and returns when to try again, 0 for never.
func (q *eventQueue) attempt(e *asyncEvent) time.Duration {
	request := e.request
	result, err := q.s.run(q.ctx, &request, nil)
	log := q.s.log.With("request_id", e.request.RequestID, "function", e.request.Function)
	var refused *sched.RefusedError
	switch {
	case err == nil && result.Error == nil:
		return 0
	case errors.As(err, &refused) && time.Since(e.accepted) < maxEventAge && refused.Reason != sched.Draining:
		return refused.RetryAfter + rand.N(refused.RetryAfter)
	case err != nil && (errors.Is(err, dispatcher.ErrUnknownFunction) || errors.Is(err, dispatcher.ErrBadEvent)):
		log.Warn("an event is dropped", "error", err)
		return 0
	case err == nil:
		err = fmt.Errorf("the function failed: %w", result.Error)
	}
	if q.ctx.Err() != nil {
		return 0 // the service ended, not the function
	}
	e.failures++
	if e.failures >= eventAttempts {
		log.Warn("an event is dropped", "attempts", e.failures, "error", err)
		return 0
	}
	if q.journal != nil {
		if err := q.journal.put(e); err != nil {
			log.Error("an event's failure is not in the journal: it may be tried more often", "error", err)
		}
	}
	return q.delay(e.failures)
}

// length returns how many events are queued, running or waiting for a retry.
func (q *eventQueue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.count
}

// close waits until what is queued and runs is done, or ctx ends. What is left
// then, and what waits for another attempt, is the next service's if there is a
// journal, and lost if not.
func (q *eventQueue) close(ctx context.Context) error {
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
	q.workers.Wait()
	left := q.length()
	if q.journal != nil {
		if left > 0 {
			q.s.log.Info("asynchronous events are kept for the next start", "events", left)
		}
		return q.journal.close()
	}
	switch {
	case left > 0 && cause != nil:
		return fmt.Errorf("%d asynchronous events are lost: %w", left, cause)
	case left > 0:
		return fmt.Errorf("%d asynchronous events that failed are not tried again: the service ends", left)
	}
	return nil
}
