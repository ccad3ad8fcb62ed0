package sched

import (
	"context"
	"time"
)

// What has begun and waits for something outside needs no slot: its ticket pauses. When it
// has something to do again it waits for its turn like what is new, but it is never
// refused, and goes before what is new of its own function.

// Pause gives the slot back for a while. The ticket must be one whose turn has come, and be
// released even so.
func (t *Ticket) Pause() {
	s := t.s
	now := s.o.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	f := t.f
	t.waits = true
	t.sample(now)
	t.running, t.paused = false, true
	f.running--
	s.running--
	f.paused++
	s.paused++
	s.place(f)
	s.dispatch(f)
	s.settle()
}

// goesOn ends a pause. mu is held.
func (t *Ticket) goesOn() {
	t.paused = false
	t.f.paused--
	t.s.paused--
}

// Resume waits for the turn of a ticket that has paused. The error is ctx's, or ErrEnded:
// it is paused still.
func (t *Ticket) Resume(ctx context.Context, e Ender) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if t.again() {
		return nil
	}
	s := t.s
	s.queued()
	var ended <-chan struct{}
	if e != nil {
		ended = e.Done()
	}
	var err error
	select {
	case err = <-t.turn:
	case <-ended:
		err = t.forsake(func(Reason, time.Duration) error { return ErrEnded })
	case <-ctx.Done():
		err = t.forsake(func(Reason, time.Duration) error { return context.Cause(ctx) })
	}
	if err == nil {
		t.began = s.o.Now()
	}
	return err
}

// again lets it go on at once, or queues it.
func (t *Ticket) again() bool {
	s, f := t.s, t.f
	s.mu.Lock()
	defer s.mu.Unlock()
	t.since = s.o.Now()
	t.start = max(f.owner.virtual, f.finish)
	f.finish = t.start + s.cost(f)
	if s.running < s.o.Slots {
		t.began = t.since
		s.begin(t)
		if o := f.owner; o.at >= 0 { // it has had more now
			s.ready.place(o, true)
		}
		return true
	}
	if at := f.coming; at < len(f.queue) {
		t.start = min(t.start, f.queue[at].start)
	}
	t.turn = make(chan error, 1)
	f.queue = append(f.queue, nil)
	copy(f.queue[f.coming+1:], f.queue[f.coming:])
	f.queue[f.coming] = t
	f.coming++
	s.coming++
	s.waiting++
	f.owner.waiting++
	s.place(f)
	if s.standing.IsZero() {
		s.standing = t.since
	}
	return false
}

// Wanted reports whether somebody waits for a slot, and for nothing else.
func (s *Scheduler) Wanted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ready) > 0
}

func (s *Scheduler) queued() {
	if s.o.Queued != nil && s.Wanted() {
		s.o.Queued()
	}
}
