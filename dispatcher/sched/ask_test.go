package sched

import (
	"fmt"
	"testing"
	"time"
)

// check asks for a slot and does not wait for it.
func check(s *Scheduler, name string) error {
	k, err := s.Ask(name, -1)
	if err == nil {
		k.Release()
	}
	return err
}

// TestAskedIsNotForgotten: who has asked and not yet waited counts against his
// function's limit when his turn comes, however many other names came meanwhile.
func TestAskedIsNotForgotten(t *testing.T) {
	s, _ := newTest(Options{Slots: 4, Queue: 10})
	asked, err := s.Ask("one", 1)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 1000 {
		if err := check(s, fmt.Sprint(n)); err != nil {
			t.Fatal(err)
		}
	}
	running, err := s.Acquire(t.Context(), "one", 1)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- asked.Wait(t.Context()) }()
	for s.Stats().Waiting == 0 {
		if len(done) > 0 {
			t.Fatal("it got a slot beyond the limit")
		}
		time.Sleep(10 * time.Microsecond)
	}
	running.Release()
	if err := <-done; err != nil {
		t.Error(err)
	}
	asked.Release()
	if st := s.Stats(); st.Running != 0 || s.functions["one"].tickets != 0 {
		t.Errorf("%+v", st)
	}
}
