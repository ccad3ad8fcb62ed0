package sched

import (
	"context"
	"errors"
	"fmt"
)

// ErrDrained: Drain was called twice.
var ErrDrained = errors.New("the scheduler is draining already")

// Drain refuses new requests and waits until those that wait or run are done, or
// ctx ends.
func (s *Scheduler) Drain(ctx context.Context) error {
	s.mu.Lock()
	if s.draining {
		s.mu.Unlock()
		return ErrDrained
	}
	s.draining = true
	s.idle = make(chan struct{})
	s.settle()
	s.mu.Unlock()
	return s.Wait(ctx)
}

// Wait waits after Drain until nothing waits or runs any more, or ctx ends.
func (s *Scheduler) Wait(ctx context.Context) error {
	s.mu.Lock()
	idle := s.idle
	s.mu.Unlock()
	if idle == nil {
		return nil
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		st := s.Stats()
		return fmt.Errorf("%d invocations run, %d are parked and %d wait: %w", st.Running, st.Paused, st.Waiting, context.Cause(ctx))
	}
}
