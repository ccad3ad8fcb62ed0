package events

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

// TestEventsAway: events that wait for something outside hold no worker, however many they
// are; who comes back works again, and at the end there are as many workers as before.
func TestEventsAway(t *testing.T) {
	const n = 1000
	var away, most, busy atomic.Int64
	back := make(chan struct{})
	q := New(Options{Run: func(ctx context.Context, e Event) (Answer, error) {
		if e.Function == "waits" {
			e.Worker.Leave()
			away.Add(1)
			<-back
			if e.RequestID != "0" { // which ends without coming back
				e.Worker.Return()
			}
			away.Add(-1)
			return Answer{}, nil
		}
		most.Store(max(most.Load(), busy.Add(1)))
		time.Sleep(time.Millisecond)
		busy.Add(-1)
		return Answer{}, nil
	}})
	add := func(function string, id int) {
		if err := q.Add(Event{Function: function, Payload: []byte("1"), RequestID: fmt.Sprint(id)}); err != nil {
			t.Fatal(err)
		}
	}
	until := func(what string, so func() bool) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); !so(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal(what)
			}
		}
	}
	for id := range n {
		add("waits", id)
	}
	until("not all wait", func() bool { return away.Load() == n })
	for id := range 200 {
		add("works", id)
	}
	until("those that work wait for those that wait", func() bool { return q.Len() == n })
	if m := most.Load(); m > ownerWorkers {
		t.Errorf("%d of an owner's were run at a time", m)
	}
	close(back)
	until("they are not done", func() bool { return q.Len() == 0 })
	until("workers are left over", func() bool {
		q.mu.Lock()
		defer q.mu.Unlock()
		return q.hands == workers && q.away == 0 && q.working == 0
	})
	if err := q.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestEventsBesideOneThatIsBack: a worker that is not needed any more takes no event with it.
func TestEventsBesideOneThatIsBack(t *testing.T) {
	for range 20 {
		back, end, ran := make(chan struct{}), make(chan struct{}), make(chan struct{}, 1)
		q := New(Options{Run: func(ctx context.Context, e Event) (Answer, error) {
			if e.Function == "waits" {
				e.Worker.Leave()
				time.Sleep(5 * time.Millisecond) // the one in its place waits for an event by then
				e.Worker.Return()
				close(back)
				<-end
			} else {
				ran <- struct{}{}
			}
			return Answer{}, nil
		}})
		if err := q.Add(Event{Function: "waits", Payload: []byte("1")}); err != nil {
			t.Fatal(err)
		}
		<-back
		if err := q.Add(Event{Function: "works", Payload: []byte("1")}); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ran:
		case <-time.After(20 * time.Second):
			t.Fatal("nobody runs an event while 63 workers have nothing to do")
		}
		close(end)
		if err := q.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
