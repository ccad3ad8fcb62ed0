// Package sched decides which waiting invocation may run next. Functions share
// the slots fairly by the time that they use, each within its own limit of
// concurrency; queues are bounded, and what cannot be served in time is refused
// while it is still cheap to refuse it. A queue that does not empty is no buffer
// but a delay for everybody: once it has stood for Options.Interval, requests
// that would wait longer than Options.Target are refused (after CoDel: Nichols,
// Jacobson, "Controlling Queue Delay", 2012; here at the tail, where a refusal
// costs least, and not at the head).
//
// The order is, on each of two levels, that of start-time fair queueing (Goyal,
// Vin, Cheng, SIGCOMM 1996): a request's start tag is the larger of the virtual
// time and its function's last finish tag, its cost the function's mean service
// time; the smallest start tag goes first. A function that floods its queue waits
// for itself, not others for it. Above the functions stand their owners, what is
// before a slash in their names: the owner who has had the least goes first,
// however many functions others have, and within an owner the virtual time is his
// own. From strict order it departs by Options.Affinity at most: switching
// machines between functions with every request costs more than the requests.
//
// Units: tags are virtual nanoseconds, times time.Duration.
//
// Ownership: a Ticket belongs to who acquired it until Release.
//
// Concurrency: everything may be called from any goroutine. The one lock is
// Scheduler.mu; nothing foreign is called with it held.
package sched

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Defaults of Options.
const (
	DefaultQueue         = 1000
	DefaultFunctionQueue = 200
	DefaultAffinity      = 20 * time.Millisecond
	DefaultMaxWait       = 10 * time.Second
	DefaultTarget        = 250 * time.Millisecond
	DefaultInterval      = 250 * time.Millisecond
)

// Options configure a Scheduler.
type Options struct {
	Slots         int           // invocations at a time, at least 1
	Queue         int           // requests that may wait in all
	FunctionQueue int           // requests that may wait for one function
	MaxWait       time.Duration // a request that would have to wait longer is refused
	// Target is the longest wait that a request is let in for while there is more
	// work than slots, which is when all slots were taken and somebody waited
	// during all of the last Interval. As many as there are slots may wait in any
	// case. Negative: only MaxWait counts.
	Target   time.Duration
	Interval time.Duration
	// Affinity is by how much service time a function may get ahead of the others
	// because machines that have just run it are warm; negative: not at all.
	Affinity time.Duration
	// Queued, if it is not nil, is called when a request has to wait for a slot: who has
	// one and does not need it may pause.
	Queued func()
	Now    func() time.Time
}

// Reason says why a request was refused.
type Reason string

// The reasons.
const (
	QueueFull     Reason = "the queue is full"
	FunctionQueue Reason = "the function's queue is full"
	FunctionLimit Reason = "the function's concurrency is 0"
	TooLong       Reason = "the wait would be too long"
	Overload      Reason = "there is more work than can be done"
	Draining      Reason = "the service is shutting down"
	// Instances is that of whoever parks what waits, in place of another one.
	Instances Reason = "as many instances wait as may, and hold the machines (seussctl serve --instances, --parked-memory)"
	// Those of package quota.
	OwnerInstances Reason = "the owner's quota of instances is used up"
	OwnerTime      Reason = "the owner's quota of machines' time is used up"
)

// Reasons lists them.
var Reasons = []Reason{QueueFull, FunctionQueue, FunctionLimit, TooLong, Overload, Draining, Instances, OwnerInstances, OwnerTime}

// RefusedError: the request was not served and may be tried again.
type RefusedError struct {
	Reason     Reason
	RetryAfter time.Duration // at least a second
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s; try again in %v", e.Reason, e.RetryAfter.Round(time.Second))
}

// function is what is known about one function. It is forgotten when there is no
// ticket of it and enough others are known.
type function struct {
	name     string
	owner    *owner
	limit    int // -1: none
	tickets  int // that are not released
	running  int
	paused   int           // of those: what waits for its turn to go on, too
	coming   int           // of queue: such, which are the first
	queue    []*Ticket     // oldest first
	finish   float64       // finish tag of its last request
	mean     float64       // service time, ns; 0: not known
	waiters  float64       // the share of its requests that wait for something, see waits
	patience time.Duration // see AskFor
	at       int           // place in the heap, -1 if it is not there
	busy     bool          // it is counted in Scheduler.busy
}

// Ticket is a request for a slot, and the right to run one invocation once Wait has
// returned.
type Ticket struct {
	// Waited is how long it had to wait for its turn.
	Waited time.Duration

	s       *Scheduler
	f       *function
	start   float64       // tag
	since   time.Time     // when it had to wait
	began   time.Time     // when its turn came
	turn    chan error    // buffered: nil or why not; nil: it never had to wait
	most    time.Duration // that it may wait
	rested  time.Duration // since its turn came, see Rested
	running bool
	paused  bool
	waits   bool // it has paused, or could have
	expired bool
	within  bool // see AskWithin
}

// Scheduler hands out the slots.
type Scheduler struct {
	o Options

	mu        sync.Mutex
	functions map[string]*function
	many      int // functions from which on some are forgotten
	owners    map[string]*owner
	waiters   map[*owner]struct{} // owners with requests that wait
	ready     owners              // those with functions that are ready
	busy      int                 // functions that wait or run
	running   int
	waiting   int
	paused    int       // see function
	coming    int       // of waiting
	virtual   float64   // tag of the owner whose request began last
	mean      float64   // service time over all functions, ns
	epoch     uint64    // counts the times when there was no more work than slots
	standing  time.Time // since when all slots are taken and somebody waits; zero: they are not
	trimmed   bool      // since then the queues were trimmed, once
	draining  bool
	idle      chan struct{} // closed when nothing runs or waits; while draining
	refused   map[Reason]uint64
	abandoned uint64
}

// New makes a scheduler.
func New(o Options) *Scheduler {
	o.Slots = max(o.Slots, 1)
	if o.Queue <= 0 {
		o.Queue = DefaultQueue
	}
	if o.FunctionQueue <= 0 {
		o.FunctionQueue = DefaultFunctionQueue
	}
	if o.MaxWait <= 0 {
		o.MaxWait = DefaultMaxWait
	}
	if o.Affinity == 0 {
		o.Affinity = DefaultAffinity
	}
	o.Affinity = max(o.Affinity, 0)
	if o.Target == 0 {
		o.Target = DefaultTarget
	}
	if o.Interval <= 0 {
		o.Interval = DefaultInterval
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Scheduler{o: o, functions: map[string]*function{}, owners: map[string]*owner{}, waiters: map[*owner]struct{}{}, refused: map[Reason]uint64{}}
}

// Ask asks for a slot for a function; limit is how many invocations of it may run at a
// time, negative for no limit. A request that Wait would refuse if it were called now
// is refused, with a *RefusedError: it is for callers to whom a request costs something
// before they can wait for their turn. A ticket promises nothing, and must be released.
func (s *Scheduler) Ask(name string, limit int) (*Ticket, error) { return s.AskFor(name, limit, 0) }

// Draining reports whether the scheduler takes no more requests.
func (s *Scheduler) Draining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

// Waiting reports whether anybody waits for a slot.
func (s *Scheduler) Waiting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting > 0
}

// Busy reports whether whoever comes now has to wait.
func (s *Scheduler) Busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting > 0 || s.running >= s.o.Slots
}

// Acquire is Ask and Wait.
func (s *Scheduler) Acquire(ctx context.Context, name string, limit int) (*Ticket, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	t, err := s.Ask(name, limit)
	if err != nil {
		return nil, err
	}
	if err := t.Wait(ctx); err != nil {
		t.Release()
		return nil, err
	}
	return t, nil
}

// Ender is something else than a context that may end a wait.
type Ender interface {
	Done() <-chan struct{} // asked for once, by who has to wait
}

// ErrEnded: an Ender has ended the wait.
var ErrEnded = errors.New("the wait was ended")

// Wait is Enter, and Await where that is necessary. It may be called once.
func (t *Ticket) Wait(ctx context.Context) error {
	if begun, err := t.Enter(ctx); begun || err != nil {
		return err
	}
	return t.Await(ctx, nil)
}

// Await waits for the turn of a ticket that Enter has queued. The error is a *RefusedError, or
// ctx's; or ErrEnded, when the Ender ends, if it is not nil.
func (t *Ticket) Await(ctx context.Context, e Ender) (err error) {
	s := t.s
	s.queued()
	timer := time.NewTimer(t.most)
	defer timer.Stop()
	var ended <-chan struct{}
	if e != nil {
		ended = e.Done()
	}
	select {
	case err = <-t.turn:
	case <-ended:
		err = t.forsake(func(Reason, time.Duration) error {
			s.abandoned++
			return ErrEnded
		})
	case <-timer.C:
		err = t.forsake(s.refuse)
	case <-ctx.Done():
		err = t.forsake(func(Reason, time.Duration) error {
			s.abandoned++
			return context.Cause(ctx)
		})
	}
	if err == nil {
		t.began = s.o.Now()
		t.Waited = t.began.Sub(t.since)
	}
	return err
}

// begin gives a slot away. mu is held.
func (s *Scheduler) begin(t *Ticket) {
	if t.paused {
		t.goesOn()
	}
	t.running = true
	t.f.running++
	s.running++
	o := t.f.owner
	o.virtual = max(o.virtual, t.start)
	if o.at < 0 {
		o.tag = max(o.tag, s.virtual)
	}
	// Who waited keeps his place, though a warm owner has been let ahead of him.
	s.virtual = max(s.virtual, o.tag)
	o.tag += s.cost(t.f)
	s.note(t.f)
}

// forsake takes a waiter out of its queue; its turn may have come meanwhile.
func (t *Ticket) forsake(why func(Reason, time.Duration) error) error {
	s := t.s
	s.mu.Lock()
	if !s.unqueue(t) {
		s.mu.Unlock()
		return <-t.turn
	}
	err := why(TooLong, s.predict(t.f))
	s.settle()
	s.mu.Unlock()
	return err
}

// unqueue takes a waiter out of its queue, false if it is not there any more.
// mu is held.
func (s *Scheduler) unqueue(w *Ticket) bool {
	for i := len(w.f.queue) - 1; i >= 0; i-- { // the newest are the ones that are refused
		if w.f.queue[i] == w {
			if i == len(w.f.queue)-1 {
				w.f.finish = w.start // it will not have been served
			}
			w.f.queue = slices.Delete(w.f.queue, i, i+1)
			if w.paused {
				w.f.coming--
				s.coming--
			}
			s.waiting--
			w.f.owner.waiting--
			s.place(w.f)
			return true
		}
	}
	return false
}

// Release gives the slot back, or gives up asking for one. The time since its turn came
// is the function's service time.
func (t *Ticket) Release() {
	s := t.s
	now := s.o.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.expired {
		return
	}
	t.expired = true
	t.f.tickets--
	if !t.running && !t.paused {
		return
	}
	if t.running {
		t.sample(now)
		t.f.running--
		s.running--
	} else {
		t.goesOn() // to its end
	}
	s.place(t.f)
	s.dispatch(t.f)
	s.settle()
}

// sample learns how long a function has needed a slot, until its end or a pause: each time
// that it asks for one is expected to take as long. mu is held.
func (s *Scheduler) sample(f *function, took time.Duration) {
	t := float64(max(took, 1))
	if f.named() {
		s.mean = average(s.mean, t)
	}
	if f.mean == 0 {
		f.mean = t
		if s.mean > 0 {
			f.mean = min(s.mean, t) // one slow start says little of a function
		}
	}
	f.mean = average(f.mean, t)
}

// named: it is a function's. Work that is none's, such as a deployment, has the name of its
// owner alone, and says nothing of how long functions take.
func (f *function) named() bool { return f.name != "" && !strings.HasSuffix(f.name, "/") }

// average moves an exponential mean; the first sample counts fully.
func average(mean, sample float64) float64 {
	const weight = 1.0 / 8
	if mean == 0 {
		return max(sample, 1)
	}
	return max(mean+weight*(sample-mean), 1)
}

// dispatch starts what may start. A function whose request has just ended goes
// on if it is not too far ahead, nor its owner: its machine is warm. mu is held.
func (s *Scheduler) dispatch(warm *function) {
	for s.running < s.o.Slots && len(s.ready) > 0 {
		o := s.ready[0]
		if own := warm.owner; warm.at >= 0 && own.tag <= o.tag+float64(s.o.Affinity) {
			o = own
		}
		f := o.ready[0]
		if warm.at >= 0 && warm.owner == o && warm.queue[0].start <= f.queue[0].start+float64(s.o.Affinity) {
			f = warm
		}
		w := f.queue[0]
		f.queue = f.queue[1:]
		if w.paused {
			f.coming--
			s.coming--
		}
		s.waiting--
		o.waiting--
		before := o.virtual
		s.begin(w)
		o.pace.began(s.o.Now(), s.epoch, o.virtual-before)
		s.place(f)
		w.turn <- nil
		s.trim(f)
	}
}

// note keeps count of the functions that wait or run. mu is held.
func (s *Scheduler) note(f *function) {
	if busy := f.running+f.paused > 0 || len(f.queue) > 0; busy != f.busy {
		f.busy = busy
		if busy {
			s.busy++
		} else {
			s.busy--
		}
	}
}

// place puts a function into its owner's heap, or moves or removes it, and so the owner.
// mu is held.
func (s *Scheduler) place(f *function) {
	o := f.owner
	if len(f.queue) == 0 {
		f.queue = nil
		delete(o.queued, f)
	} else {
		o.queued[f] = struct{}{}
		s.waiters[o] = struct{}{}
	}
	s.note(f)
	if o.waiting == 0 {
		delete(s.waiters, o)
		o.pace.last = time.Time{} // until somebody waits again says nothing of the pace
	}
	was := len(o.ready)
	o.ready.place(f, f.coming > 0 || len(f.queue) > 0 && !f.full())
	if was == 0 {
		o.tag = max(o.tag, s.virtual) // what it did not ask for before is not owed to it
	}
	s.ready.place(o, len(o.ready) > 0)
}

// settle notes that there is no more work than slots, if so, and tells a drain
// that nothing is left. mu is held.
func (s *Scheduler) settle() {
	if s.running < s.o.Slots || s.waiting == 0 {
		s.standing, s.trimmed = time.Time{}, false
		s.epoch++
	}
	if s.idle != nil && s.running == 0 && s.waiting == 0 && s.paused == 0 {
		close(s.idle)
		s.idle = nil
	}
}
