package sched

import (
	"context"
	"time"
)

// What decides whether a request starts, waits or is refused.

// learn makes a function known. mu is held.
func (s *Scheduler) learn(name string) *function {
	if len(s.functions) > max(s.many, 4*(min(s.o.Queue, DefaultQueue)+s.o.Slots)) {
		for key, old := range s.functions {
			if old.tickets == 0 {
				delete(s.functions, key)
				if old.owner.functions--; old.owner.functions == 0 {
					delete(s.owners, old.owner.name)
				}
			}
		}
		s.many = 2 * len(s.functions)
	}
	f := &function{name: name, owner: s.owner(name), at: -1}
	f.owner.functions++
	s.functions[name] = f
	return f
}

// full: no other request of f may begin. One that has paused counts: its limit is one of
// those that are there.
func (f *function) full() bool { return f.limit >= 0 && f.running+f.paused >= f.limit }

// startable: a request of f need not wait. mu is held.
func (s *Scheduler) startable(f *function, within bool) bool {
	return (!s.draining || within) && s.running < s.o.Slots && !f.full() && len(f.queue) == 0
}

// Enter starts a request at once, queues it, or refuses it: the error is a *RefusedError, or
// ctx's, which is not looked at again. It may be called once.
func (t *Ticket) Enter(ctx context.Context) (begun bool, err error) {
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	s, f := t.s, t.f
	s.mu.Lock()
	defer s.mu.Unlock()
	t.since = s.o.Now()
	startable := s.startable(f, t.within)
	if !startable {
		victim, err := s.refusal(f, t.within)
		if err != nil {
			return false, err
		}
		if victim != nil {
			s.refuseLast(victim, QueueFull, s.predict(victim))
		}
	}
	t.start = max(f.owner.virtual, f.finish)
	f.finish = t.start + s.cost(f)
	if startable {
		t.began = t.since
		s.begin(t)
		if o := f.owner; o.at >= 0 { // it has had more now
			s.ready.place(o, true)
		}
		return true, nil
	}
	t.turn, t.most = make(chan error, 1), s.o.MaxWait
	if f.patient(t.most) {
		t.most = f.patience
	}
	f.queue = append(f.queue, t)
	s.waiting++
	f.owner.waiting++
	s.place(f)
	if s.standing.IsZero() && s.running >= s.o.Slots {
		s.standing = t.since
	}
	return false, nil
}

// refusal is the reason not to queue a request of f, if there is one. Where the
// queue is full it may be let in at the cost of another function's newest. mu is
// held.
func (s *Scheduler) refusal(f *function, within bool) (victim *function, err error) {
	switch {
	case s.draining && !within:
		return nil, s.refuse(Draining, time.Second)
	case f.limit == 0:
		return nil, s.refuse(FunctionLimit, time.Second)
	}
	if s.overloaded() && !s.trimmed {
		s.trimmed = true
		for o := range s.waiters {
			for other := range o.queued {
				s.trim(other)
			}
		}
	}
	wait := s.predict(f)
	switch {
	case len(f.queue)-f.coming >= s.o.FunctionQueue:
		return nil, s.refuse(FunctionQueue, wait)
	case f.patient(s.o.Target):
		if over := s.oldest(f) - f.patience/2; over > 0 && s.overloaded() {
			return nil, s.refuse(Overload, over)
		}
	case wait > s.o.MaxWait:
		return nil, s.refuse(TooLong, wait-s.o.MaxWait)
	case wait > s.o.Target && s.overloaded():
		return nil, s.refuse(Overload, wait-s.o.Target)
	}
	if s.waiting-s.coming < s.o.Queue {
		return nil, nil
	}
	// The longest queue gives way, that of the owner who has most in it: whoever fills
	// the queues loses, not who comes last.
	if victim = s.longest(f); victim == nil {
		return nil, s.refuse(QueueFull, wait)
	}
	return victim, nil
}

// overloaded: what waits is no burst but more than can be done. mu is held.
func (s *Scheduler) overloaded() bool {
	return s.o.Target >= 0 && s.waiting >= s.o.Slots && !s.standing.IsZero() && s.o.Now().Sub(s.standing) >= s.o.Interval
}

// trim refuses what had been let in as a burst, or on the strength of a prediction
// that has turned out wrong, and would wait for too long from now on. The newest go:
// they have waited the least. mu is held.
func (s *Scheduler) trim(f *function) {
	for len(f.queue) > f.coming && !f.patient(s.o.Target) && s.overloaded() {
		wait := f.owner.until(f.queue[len(f.queue)-1].start)
		if wait <= s.o.Target {
			return
		}
		s.refuseLast(f, Overload, wait-s.o.Target)
	}
}

// refuseLast refuses the newest of a function's waiting requests. mu is held.
func (s *Scheduler) refuseLast(f *function, why Reason, after time.Duration) {
	last := f.queue[len(f.queue)-1]
	s.unqueue(last)
	last.turn <- s.refuse(why, after)
}

func (s *Scheduler) refuse(r Reason, after time.Duration) error {
	s.refused[r]++
	return &RefusedError{Reason: r, RetryAfter: max(after, time.Second)}
}

// cost is the service time that is expected of a function's request, ns.
func (s *Scheduler) cost(f *function) float64 {
	switch {
	case f.mean > 0:
		return f.mean
	case s.mean > 0:
		return s.mean
	}
	return float64(time.Millisecond)
}

// predict is how long a new request of f would wait: until the virtual time has
// reached its start tag, at the pace that it has; and not less than f's oldest
// request has waited by now. Where nothing of its owner's waits, it is until those of
// the others who wait have had as much as he. Where the pace is not known, or f's
// limit of concurrency holds it back, it is how long f's share of the slots takes to
// work off its queue. mu is held.
func (s *Scheduler) predict(f *function) time.Duration {
	o, slots := f.owner, float64(s.o.Slots)
	queue := float64(len(f.queue)+1) * s.cost(f)
	var wait float64
	if f.limit > 0 && f.running+len(f.queue) >= f.limit {
		wait = queue / float64(min(f.limit, s.o.Slots))
	}
	switch {
	case o.waiting == 0 && len(s.ready) > 0:
		wait = max(wait, (o.tag-s.virtual)*float64(len(s.ready))/slots)
	case o.waiting > 0 && o.pace.known():
		wait = max(wait, float64(o.until(f.finish)))
	default:
		owners, own := len(s.ready), len(o.ready)
		if o.at < 0 {
			owners++
		}
		if f.at < 0 {
			own++
		}
		wait = max(wait, queue*float64(owners*own)/slots)
	}
	return max(time.Duration(wait), s.oldest(f))
}

// until is how long it takes until requests of that tag begin; 0 if the pace of the
// virtual time is not known. mu is held.
func (o *owner) until(tag float64) time.Duration {
	if !o.pace.known() {
		return 0
	}
	return time.Duration(max(tag-o.virtual, 0) * o.pace.real / o.pace.virtual)
}

// pace is how fast the virtual time goes while there is more work than slots: sums over
// the requests that began, ns from one to the next, older ones counting less and less.
// Both sums forget alike, so that their ratio is a mean from the first on.
type pace struct {
	real, virtual float64
	samples       int
	last          time.Time // when one began
	epoch         uint64    // of the scheduler then: in another one work has come to stand anew
}

// paceSamples is from how many samples on a pace is known. The virtual time stands still
// over many of the first ones, and would seem to go a hundred times too slowly.
const paceSamples = 16

func (p *pace) known() bool { return p.samples >= paceSamples && p.virtual > 0 }

// began notes that a request began at now, and moved the virtual time by moved.
func (p *pace) began(now time.Time, epoch uint64, moved float64) {
	const keep = 63.0 / 64
	if !p.last.IsZero() && p.epoch == epoch {
		p.real = keep*p.real + float64(now.Sub(p.last))
		p.virtual = keep*p.virtual + moved
		p.samples++
	}
	p.last, p.epoch = now, epoch
}

// longest returns the function whose newest request gives way to one of f; nil: none has
// to. mu is held.
func (s *Scheduler) longest(f *function) *function {
	most := f.owner
	for other := range s.waiters {
		if other.waiting > most.waiting {
			most = other
		}
	}
	least := len(f.queue) - f.coming + 2
	if most.waiting > f.owner.waiting+1 {
		least = 1 // it is his share that is too large, whatever his functions'
	} else {
		most = f.owner
	}
	var longest *function
	for other := range most.queued {
		if n := len(other.queue) - other.coming; n >= least {
			longest, least = other, n+1
		}
	}
	return longest
}
