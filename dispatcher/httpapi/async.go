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

// eventQueue holds the events that were accepted. They are in memory: a crash
// loses them, a shutdown works them off as far as its time allows.
type eventQueue struct {
	s       *Server
	ctx     context.Context
	cancel  context.CancelFunc
	workers sync.WaitGroup
	work    chan *asyncEvent

	mu     sync.Mutex
	count  int // queued, running or waiting for a retry
	bytes  int
	closed bool
	idle   chan struct{} // closed when count falls to 0 after close

	delay func(attempt int) time.Duration // replaced by tests
}

type asyncEvent struct {
	request  dispatcher.Request
	accepted time.Time
	failures int
}

func newEventQueue(s *Server) *eventQueue {
	q := &eventQueue{s: s, work: make(chan *asyncEvent, maxEvents), idle: make(chan struct{}),
		delay: func(attempt int) time.Duration { return retryDelays[attempt-1] }}
	q.ctx, q.cancel = context.WithCancel(context.Background())
	for range eventWorkers {
		q.workers.Go(q.worker)
	}
	return q
}

func (q *eventQueue) add(request dispatcher.Request) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return &sched.RefusedError{Reason: sched.Draining, RetryAfter: time.Second}
	case q.count >= maxEvents, q.bytes+len(request.Event) > maxEventBytes:
		return &sched.RefusedError{Reason: sched.QueueFull, RetryAfter: 5 * time.Second}
	}
	q.count++
	q.bytes += len(request.Event)
	q.work <- &asyncEvent{request: request, accepted: time.Now()} // as large as count may get
	return nil
}

func (q *eventQueue) done(e *asyncEvent) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.count--
	q.bytes -= len(e.request.Event)
	if q.count == 0 && q.closed {
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
			q.done(e)
		case <-q.ctx.Done():
			return
		}
	}
}

// later queues an event again after a pause.
func (q *eventQueue) later(e *asyncEvent, pause time.Duration) {
	time.AfterFunc(pause, func() {
		select {
		case q.work <- e:
		case <-q.ctx.Done():
		}
	})
}

// attempt runs an event once and returns when to try again, 0 for never.
func (q *eventQueue) attempt(e *asyncEvent) time.Duration {
	request := e.request
	result, err := q.s.run(q.ctx, &request)
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
	e.failures++
	q.mu.Lock()
	closed := q.closed
	q.mu.Unlock()
	if e.failures >= eventAttempts || closed {
		log.Warn("an event is dropped", "attempts", e.failures, "error", err)
		return 0
	}
	return q.delay(e.failures)
}

// length returns how many events are queued, running or waiting for a retry.
func (q *eventQueue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.count
}

func (q *eventQueue) close(ctx context.Context) error {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return nil
	}
	q.closed = true
	if q.count == 0 {
		close(q.idle)
	}
	q.mu.Unlock()
	var err error
	select {
	case <-q.idle:
	case <-ctx.Done():
		err = fmt.Errorf("%d asynchronous events are lost: %w", q.length(), context.Cause(ctx))
	}
	q.cancel()
	q.workers.Wait()
	return err
}
