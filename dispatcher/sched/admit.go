package sched

import "time"

// What decides whether a request starts, waits or is refused.

// function finds or makes what is known of a function. mu is held.
func (s *Scheduler) function(name string, limit int) *function {
	f := s.functions[name]
	if f == nil {
		if len(s.functions) > 4*(s.o.Queue+s.o.Slots) {
			for key, old := range s.functions {
				if old.running == 0 && len(old.queue) == 0 {
					delete(s.functions, key)
				}
			}
		}
		f = &function{name: name, at: -1}
		s.functions[name] = f
	}
	if limit < 0 {
		limit = -1
	}
	f.limit = limit
	return f
}

func (f *function) full() bool { return f.limit >= 0 && f.running >= f.limit }

// startable: a request of f need not wait. mu is held.
func (s *Scheduler) startable(f *function) bool {
	return !s.draining && s.running < s.o.Slots && !f.full() && len(f.queue) == 0
}

// admit starts a request at once (no waiter, no error), queues it, or refuses
// it. mu is held.
func (s *Scheduler) admit(f *function) (*waiter, error) {
	if s.startable(f) {
		s.start(f, s.tag(f))
		return nil, nil
	}
	victim, err := s.refusal(f)
	if err != nil {
		return nil, err
	}
	if victim != nil {
		last := victim.queue[len(victim.queue)-1]
		s.unqueue(last)
		last.turn <- s.refuse(QueueFull, s.predict(victim))
	}
	now := s.o.Now()
	w := &waiter{f: f, start: s.tag(f), since: now, turn: make(chan error, 1)}
	f.queue = append(f.queue, w)
	s.waiting++
	s.place(f)
	if s.standing.IsZero() && s.running >= s.o.Slots {
		s.standing = now
	}
	return w, nil
}

// refusal is the reason not to queue a request of f, if there is one. Where the
// queue is full it may be let in at the cost of another function's newest. mu is
// held.
func (s *Scheduler) refusal(f *function) (victim *function, err error) {
	switch {
	case s.draining:
		return nil, s.refuse(Draining, time.Second)
	case f.limit == 0:
		return nil, s.refuse(FunctionLimit, time.Second)
	}
	wait := s.predict(f)
	switch {
	case len(f.queue) >= s.o.FunctionQueue:
		return nil, s.refuse(FunctionQueue, wait)
	case wait > s.o.MaxWait:
		return nil, s.refuse(TooLong, wait-s.o.MaxWait)
	case s.o.Target >= 0 && wait > s.o.Target && s.waiting >= s.o.Slots && !s.standing.IsZero() && s.o.Now().Sub(s.standing) >= s.o.Interval:
		return nil, s.refuse(Overload, wait-s.o.Target)
	case s.waiting < s.o.Queue:
		return nil, nil
	}
	// The longest queue gives way: whoever fills the queues loses, not who
	// comes last.
	if victim = s.longest(); victim == nil || len(victim.queue) <= len(f.queue)+1 {
		return nil, s.refuse(QueueFull, wait)
	}
	return victim, nil
}

func (s *Scheduler) refuse(r Reason, after time.Duration) error {
	s.refused[r]++
	return &RefusedError{Reason: r, RetryAfter: max(after, time.Second)}
}

// tag gives a function's next request its start tag. mu is held.
func (s *Scheduler) tag(f *function) float64 {
	start := max(s.virtual, f.finish)
	f.finish = start + s.cost(f)
	return start
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

// predict is how long a new request of f would wait: its share of the slots has
// to work off its queue. mu is held.
func (s *Scheduler) predict(f *function) time.Duration {
	share := float64(s.o.Slots) / float64(max(len(s.ready)+1, 1))
	if f.at >= 0 {
		share = float64(s.o.Slots) / float64(len(s.ready))
	}
	if f.limit > 0 {
		share = min(share, float64(f.limit))
	}
	return time.Duration(float64(len(f.queue)+1) * s.cost(f) / share)
}

func (s *Scheduler) longest() *function {
	var longest *function
	for f := range s.queued {
		if longest == nil || len(f.queue) > len(longest.queue) {
			longest = f
		}
	}
	return longest
}
