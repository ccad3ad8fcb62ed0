package events

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"seuss/dispatcher/sched"
)

// TestRules: what is asked for an event bounds its attempts and its age; one that was never
// tried is tried, however old.
func TestRules(t *testing.T) {
	for _, c := range []struct {
		name     string
		rules    Rules
		err      error
		attempts int
		tooOld   bool
	}{
		{"one attempt", Rules{1, MaxAge}, errors.New("no"), 1, false},
		{"two", Rules{2, MaxAge}, errors.New("no"), 2, false},
		{"no time for another", Rules{3, time.Microsecond}, errors.New("no"), 1, true},
		{"refused, and no time", Rules{3, time.Nanosecond}, &sched.RefusedError{Reason: sched.QueueFull, RetryAfter: time.Millisecond}, 1, true},
		{"done", Rules{3, time.Nanosecond}, nil, 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			ran, over := 0, make(chan Outcome, 1)
			q := New(Options{Delay: func(int) time.Duration { return time.Millisecond }, Rules: func(Event) Rules { return c.rules },
				Run:  func(context.Context, Event) (Answer, error) { ran++; return Answer{Version: "7"}, c.err },
				Over: func(_ *Queue, o Outcome) { over <- o }})
			defer q.Close(t.Context())
			if err := q.Add(Event{Function: "f", Payload: []byte("1")}); err != nil {
				t.Fatal(err)
			}
			o := <-over
			if ran != c.attempts || errors.Is(o.Err, ErrTooOld) != c.tooOld || (o.Err == nil) != (c.err == nil) || o.Answer.Version != "7" || string(o.Event.Payload) != "1" {
				t.Errorf("%d attempts, %+v", ran, o)
			}
		})
	}
}

// TestFollowerOfTheLast: an event that follows one while the service ends is the next one's,
// and how many came before it with it.
func TestFollowerOfTheLast(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.db")
	running, closing := make(chan struct{}), make(chan struct{})
	q := New(Options{Journal: journalAt(t, path),
		Run: func(context.Context, Event) (Answer, error) { close(running); <-closing; return Answer{}, nil },
		Over: func(q *Queue, o Outcome) {
			if err := q.Follow(Event{Function: "next", Payload: []byte("2"), Hops: o.Event.Hops + 1}); err != nil {
				t.Error(err)
			}
		}})
	if err := q.Add(Event{Function: "f", Payload: []byte("1"), Hops: 3}); err != nil {
		t.Fatal(err)
	}
	<-running
	ended := make(chan error, 1)
	go func() { ended <- q.Close(context.Background()) }()
	for {
		q.mu.Lock()
		closed := q.closed
		q.mu.Unlock()
		if closed {
			break
		}
		time.Sleep(time.Millisecond)
	}
	close(closing)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	got := make(chan Event, 1)
	q = New(Options{Journal: journalAt(t, path), Run: func(_ context.Context, e Event) (Answer, error) { got <- e; return Answer{}, nil }})
	defer q.Close(t.Context())
	if e := <-got; e.Function != "next" || e.Hops != 4 || string(e.Payload) != "2" {
		t.Errorf("%+v", e)
	}
}
