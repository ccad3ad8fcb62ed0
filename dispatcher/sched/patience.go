package sched

import "time"

// Functions whose invocations wait for something, and pause, need little of the slots: a burst
// of them is worked off long before any of them is over, and so may wait for its turn for
// longer than what computes. What is not known of a function yet is not held against it.

// AskFor is Ask for a request that may wait for so long, where that is longer than Options
// say, if its function's requests wait as a rule, or none has come so far that it is known.
// More of them is overload once the oldest has waited for half of that.
func (s *Scheduler) AskFor(name string, limit int, patience time.Duration) (*Ticket, error) {
	return s.ask(name, limit, patience, false)
}

// AskWithin is AskFor for what something that runs waits for: it is let in while the scheduler
// drains, since that would not end without it.
func (s *Scheduler) AskWithin(name string, limit int, patience time.Duration) (*Ticket, error) {
	return s.ask(name, limit, patience, true)
}

func (s *Scheduler) ask(name string, limit int, patience time.Duration, within bool) (*Ticket, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.functions[name]
	if f == nil {
		f = s.learn(name)
	}
	f.limit, f.patience = max(limit, -1), patience
	if !s.startable(f, within) {
		if _, err := s.refusal(f, within); err != nil {
			return nil, err
		}
	}
	f.tickets++
	return &Ticket{s: s, f: f, within: within}, nil
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

// patient: its requests may wait for longer than that. What of them waits is judged by how
// long it has waited, not by what is predicted: requests that come by the thousand slow down
// for a moment what runs. mu is held.
func (f *function) patient(than time.Duration) bool {
	return than >= 0 && f.patience > than && f.waits()
}

// oldest is how long f's oldest request has waited by now; 0: none does. mu is held.
func (s *Scheduler) oldest(f *function) time.Duration {
	if len(f.queue) == 0 {
		return 0
	}
	return s.o.Now().Sub(f.queue[0].since)
}
