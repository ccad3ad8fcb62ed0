package events

import (
	"slices"
	"time"

	"seuss/dispatcher/functions"
	"seuss/dispatcher/sched"
)

// Each owner may have as much of a queue as is free beside, in events, in bytes and in
// workers: so there is always some left for another, and whoever floods waits for himself.

// OwnerFull: an event was refused because its owner has had his share of the queue.
const OwnerFull sched.Reason = "the owner's share of asynchronous events is used up"

// account is what an owner has of a Queue; it is forgotten with his last event.
type account struct {
	count   int // events: queued, running or waiting for a retry
	bytes   int
	ready   []*queued // that wait for a worker, oldest first
	working int       // workers that run one of his
}

// account returns the account of a function's owner. mu is held.
func (q *Queue) account(function string) *account {
	owner := functions.OwnerOf(function)
	a := q.accounts[owner]
	if a == nil {
		a = &account{}
		q.accounts[owner] = a
	}
	return a
}

// enter counts an event in, or refuses it. mu is held.
func (q *Queue) enter(e *queued) error {
	n, a := len(e.Payload), q.accounts[functions.OwnerOf(e.Function)]
	if a == nil {
		a = &account{}
	}
	events, bytes := MaxEvents-q.count, MaxPayloadBytes-q.bytes
	switch {
	case q.closed:
		return &sched.RefusedError{Reason: sched.Draining, RetryAfter: time.Second}
	case events < 1 || bytes < n:
		return &sched.RefusedError{Reason: sched.QueueFull, RetryAfter: 5 * time.Second}
	case a.count >= events || a.bytes+n > bytes:
		return &sched.RefusedError{Reason: OwnerFull, RetryAfter: 5 * time.Second}
	}
	q.tally(e, 1)
	q.running++
	return nil
}

// tally counts an event in (1) or out (-1). mu is held.
func (q *Queue) tally(e *queued, n int) {
	a := q.account(e.Function)
	a.count += n
	a.bytes += n * len(e.Payload)
	q.count += n
	q.bytes += n * len(e.Payload)
	if n > 0 {
		q.events[e] = struct{}{}
		return
	}
	delete(q.events, e)
	if a.count == 0 {
		delete(q.accounts, functions.OwnerOf(e.Function))
	}
}

// push has an event run by a worker. mu is held.
func (q *Queue) push(e *queued) {
	a := q.account(e.Function)
	if a.ready = append(a.ready, e); len(a.ready) == 1 {
		q.turns = append(q.turns, a)
	}
	q.wake.Signal()
}

// next waits for an event that its worker may run, the owners' in turn; nil: none will come.
func (q *Queue) next() *queued {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.ctx.Err() == nil {
		if q.hands > workers+q.away { // one that was away is back
			q.hands--
			q.wake.Signal() // what this one was woken for is another's now
			break
		}
		i := slices.IndexFunc(q.turns, func(a *account) bool { return a.working < min(ownerWorkers, workers-q.working) })
		if i < 0 {
			q.wake.Wait()
			continue
		}
		a := q.turns[i]
		q.turns = slices.Delete(q.turns, i, i+1)
		e := a.ready[0]
		a.ready[0] = nil
		if a.ready = a.ready[1:]; len(a.ready) > 0 {
			q.turns = append(q.turns, a)
		}
		a.working++
		q.working++
		e.state, e.next = Running, time.Time{}
		q.wake.Signal() // there may be one for another worker
		return e
	}
	return nil
}

// free gives back the worker that an event had.
func (q *Queue) free(e *queued) {
	q.mu.Lock()
	defer q.mu.Unlock()
	w := e.Worker
	e.Worker = nil
	if w.away {
		q.away--
	} else {
		q.account(e.Function).working--
		q.working--
	}
	q.wake.Signal()
}

// Worker is who runs an event. While the event waits for something outside, and takes
// nothing of what is scarce, another one works in its place: however many wait so, others
// are run.
type Worker struct {
	q    *Queue
	e    *queued
	away bool
}

// Leave says that the event waits; nil is of one that no Queue runs.
func (w *Worker) Leave() {
	if w == nil {
		return
	}
	q := w.q
	q.mu.Lock()
	defer q.mu.Unlock()
	w.away = true
	q.account(w.e.Function).working--
	q.working--
	q.away++
	if q.hands < workers+q.away {
		q.hands++
		q.workers.Go(q.worker)
	}
	q.wake.Signal()
}

// Return says that it goes on.
func (w *Worker) Return() {
	if w == nil {
		return
	}
	q := w.q
	q.mu.Lock()
	defer q.mu.Unlock()
	w.away = false
	q.account(w.e.Function).working++
	q.working++
	q.away--
	q.wake.Signal() // one that has nothing to do is not needed any more
}
