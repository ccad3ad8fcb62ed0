package sched

import "time"

// Functions whose invocations wait for something, and pause, need little of the slots: a burst
// of them is worked off long before any of them is over, and so may wait for its turn for
// longer than what computes. What is not known of a function yet is not held against it.

// AskFor is Ask for a request that may wait for so long, where that is longer than Options
// say, if its function's requests wait as a rule, or none has come so far that it is known.
func (s *Scheduler) AskFor(name string, limit int, patience time.Duration) (*Ticket, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.functions[name]
	if f == nil {
		f = s.learn(name)
	}
	f.limit, f.patience = max(limit, -1), patience
	if !s.startable(f) {
		if _, err := s.refusal(f); err != nil {
			return nil, err
		}
	}
	f.tickets++
	return &Ticket{s: s, f: f}, nil
}

// Rested notes that the ticket has needed its slot for so much less than it has had it: it
// could have paused, had anybody wanted the slot.
func (t *Ticket) Rested(d time.Duration) { t.rested += d }

// waits: its requests wait as a rule, or it is not known whether they do. mu is held.
func (f *function) waits() bool { return f.mean == 0 || f.waiters >= 0.5 }

// sample learns from a ticket that has had a slot, until its end or a pause. mu is held.
func (t *Ticket) sample(now time.Time) {
	const weight = 1.0 / 8
	f, share := t.f, 0.0
	if t.waits = t.waits || t.rested > 0; t.waits {
		share = 1
	}
	if f.mean == 0 { // it is the first
		f.waiters = share
	}
	f.waiters += weight * (share - f.waiters)
	t.s.sample(f, now.Sub(t.began)-t.rested)
	t.rested = 0
}

// lasts is how long requests of f may wait that would wait for so long otherwise. mu is held.
func (f *function) lasts(usual time.Duration) time.Duration {
	if f.patience > usual && f.waits() {
		return f.patience
	}
	return usual
}
