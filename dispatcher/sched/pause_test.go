package sched

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

// resume starts a Resume that has to wait, and returns when it is in the queue.
func resume(s *Scheduler, ctx context.Context, k *Ticket) chan error {
	done := make(chan error, 1)
	before := s.Stats().Waiting
	go func() { done <- k.Resume(ctx, nil) }()
	for s.Stats().Waiting == before {
		time.Sleep(10 * time.Microsecond)
	}
	return done
}

// TestPause: who pauses gives his slot to who waits, keeps his place in his function's
// limit, and goes on before what is new of it.
func TestPause(t *testing.T) {
	var asked atomic.Int32
	s, c := newTest(Options{Slots: 1, Queued: func() { asked.Add(1) }})
	// It is asked after the request is seen to wait.
	becomes := func(n int32) {
		t.Helper()
		for end := time.Now().Add(time.Minute); asked.Load() < n && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		if asked.Load() != n || !s.Wanted() {
			t.Errorf("asked %d times, want %d, wanted %v", asked.Load(), n, s.Wanted())
		}
	}
	first, err := s.Acquire(t.Context(), "f", 1)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan *Ticket, 2)
	queue(t, s, t.Context(), "g", -1, func(k *Ticket, err error) { got <- k })
	becomes(1)
	c.add(10 * time.Millisecond)
	first.Pause()
	g := <-got
	queue(t, s, t.Context(), "f", 1, func(k *Ticket, err error) { got <- k }) // its function is full
	if asked.Load() != 1 || s.Wanted() {
		t.Errorf("asked %d times for a slot that would not help, wanted %v", asked.Load(), s.Wanted())
	}
	c.add(time.Hour)
	back := resume(s, t.Context(), first)
	becomes(2)
	g.Release()
	if err := <-back; err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Paused != 0 || st.Running != 1 || st.Waiting != 1 {
		t.Errorf("%+v", st)
	}
	c.add(10 * time.Millisecond)
	first.Release()
	second := <-got
	if mean := s.functions["f"].mean; mean != float64(10*time.Millisecond) {
		t.Errorf("after 10 ms, an hour and 10 ms its service takes %v", time.Duration(mean))
	}
	second.Pause()
	second.Release()
	if st := s.Stats(); st.Paused+st.Running+st.Waiting != 0 {
		t.Errorf("%+v", st)
	}
}

// TestPauseIsNotRefused: what has begun is never refused, however long the queues and
// however much there is to do; what is new is, and by name.
func TestPauseIsNotRefused(t *testing.T) {
	for _, n := range []int{1, 100, 10_000} {
		s, c := newTest(Options{Slots: 1, Queue: 10, FunctionQueue: 10, MaxWait: time.Second})
		var paused []*Ticket
		for range n {
			k, err := s.Acquire(t.Context(), "f", -1)
			if err != nil {
				t.Fatal(err)
			}
			c.add(time.Microsecond)
			k.Pause()
			paused = append(paused, k)
		}
		busy, err := s.Acquire(t.Context(), "g", -1)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, n)
		for _, k := range paused {
			go func() {
				err := k.Resume(t.Context(), nil)
				k.Release()
				done <- err
			}()
		}
		for s.Stats().Waiting < n {
			time.Sleep(time.Millisecond)
		}
		c.add(time.Hour) // they have stood for long
		refused := 0
		for range 20 {
			if _, err := s.Ask("f", -1); err != nil {
				refused++
			}
		}
		if refused == 0 {
			t.Errorf("%d wait, and nothing new is refused", n)
		}
		busy.Release()
		for range n {
			if err := <-done; err != nil {
				t.Fatalf("%d: %v", n, err)
			}
		}
		if st := s.Stats(); st.Paused+st.Running+st.Waiting != 0 {
			t.Errorf("%d: %+v", n, st)
		}
	}
}

// TestPauseEnds: who is cancelled while he waits to go on is paused still, and a drain waits
// for who is.
func TestPauseEnds(t *testing.T) {
	s, _ := newTest(Options{Slots: 1})
	a, err := s.Acquire(t.Context(), "f", -1)
	if err != nil {
		t.Fatal(err)
	}
	a.Pause()
	b, err := s.Acquire(t.Context(), "f", -1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	back := resume(s, ctx, a)
	why := errors.New("enough")
	cancel(why)
	if err := <-back; !errors.Is(err, why) {
		t.Errorf("%v", err)
	}
	b.Release()
	if st := s.Stats(); st.Paused != 1 || st.Running+st.Waiting != 0 {
		t.Errorf("%+v", st)
	}
	short, done := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer done()
	if err := s.Drain(short); err == nil {
		t.Error("drained, with one that is paused")
	}
	if err := a.Resume(t.Context(), nil); err != nil { // though nothing new is taken
		t.Error(err)
	}
	a.Release()
	if err := s.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestPauseIsFair: what comes back takes turns with what is new of others.
func TestPauseIsFair(t *testing.T) {
	s, c := newTest(Options{Slots: 1, Affinity: -1, Queue: 1000, FunctionQueue: 1000, MaxWait: time.Hour, Target: -1})
	var back []*Ticket
	for range 50 {
		k, err := s.Acquire(t.Context(), "back", -1)
		if err != nil {
			t.Fatal(err)
		}
		c.add(time.Millisecond)
		k.Pause()
		back = append(back, k)
	}
	busy, err := s.Acquire(t.Context(), "busy", -1)
	if err != nil {
		t.Fatal(err)
	}
	order := make(chan string, 100)
	for n := range 50 {
		done := resume(s, t.Context(), back[n])
		go func() {
			<-done
			order <- "back"
			c.add(time.Millisecond)
			back[n].Release()
		}()
		queue(t, s, t.Context(), "new", -1, func(k *Ticket, err error) {
			order <- "new"
			c.add(time.Millisecond)
			k.Release()
		})
	}
	busy.Release()
	turns := map[string]int{}
	for n := range 100 {
		turns[<-order]++
		if n == 39 && (turns["new"] < 10 || turns["back"] < 10) {
			t.Errorf("of the first 40: %s", fmt.Sprint(turns))
		}
	}
}

// TestPausePredicts: what has only paused yet, and work that is no function's, do not make
// waits seem long.
func TestPausePredicts(t *testing.T) {
	s, c := newTest(Options{Slots: 1, Queue: 1000, FunctionQueue: 1000, MaxWait: 10 * time.Second})
	for _, name := range []string{"", "owner/"} {
		k, err := s.Acquire(t.Context(), name, -1)
		if err != nil {
			t.Fatal(err)
		}
		c.add(20 * time.Second)
		k.Release()
	}
	k, err := s.Acquire(t.Context(), "f", -1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Ask("f", -1); err != nil {
		t.Errorf("a deployment's time is taken for a function's: %v", err)
	}
	c.add(5 * time.Millisecond)
	k.Pause()
	if mean := s.functions["f"].mean; mean != float64(5*time.Millisecond) {
		t.Errorf("a first pause teaches %v", time.Duration(mean))
	}
}
