package sched

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"sync"
	"testing"
	"time"
)

// clock is a time that the test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newTest(o Options) (*Scheduler, *clock) {
	c := &clock{now: time.Unix(1e9, 0)}
	o.Now = c.Now
	return New(o), c
}

func reason(err error) Reason {
	var r *RefusedError
	if errors.As(err, &r) {
		return r.Reason
	}
	return ""
}

// queue starts an Acquire that has to wait, and returns when it is in the queue.
func queue(t *testing.T, s *Scheduler, ctx context.Context, name string, limit int, got func(*Ticket, error)) {
	t.Helper()
	before := s.Stats().Waiting
	go func() { got(s.Acquire(ctx, name, limit)) }()
	for s.Stats().Waiting == before {
		time.Sleep(10 * time.Microsecond)
	}
}

// TestFairByTime: a function whose requests take ten times as long gets a tenth
// of the turns, however many it queues.
func TestFairByTime(t *testing.T) {
	s, c := newTest(Options{Slots: 1, Queue: 1000, FunctionQueue: 1000, MaxWait: time.Hour, Affinity: -1})
	cost := map[string]time.Duration{"cheap": time.Millisecond, "dear": 10 * time.Millisecond}
	for name, d := range cost { // what they cost is known
		for range 50 {
			k, err := s.Acquire(t.Context(), name, -1)
			if err != nil {
				t.Fatal(err)
			}
			c.add(d)
			k.Release()
		}
	}
	busy, err := s.Acquire(t.Context(), "busy", -1)
	if err != nil {
		t.Fatal(err)
	}
	type turn struct {
		name   string
		ticket *Ticket
	}
	turns := make(chan turn, 1)
	for n := range 300 {
		name := "dear"
		if n%2 == 0 {
			name = "cheap"
		}
		queue(t, s, t.Context(), name, -1, func(k *Ticket, err error) {
			if err != nil {
				t.Error(err)
			}
			turns <- turn{name, k}
		})
	}
	busy.Release()
	count := map[string]int{}
	for range 110 {
		k := <-turns
		count[k.name]++
		c.add(cost[k.name])
		k.ticket.Release()
	}
	if count["dear"] < 8 || count["dear"] > 13 {
		t.Errorf("turns %v: want about ten times as many cheap ones", count)
	}
	for range 190 {
		(<-turns).ticket.Release()
	}
}

func TestLimits(t *testing.T) {
	s, _ := newTest(Options{Slots: 4, Queue: 10, FunctionQueue: 3, MaxWait: time.Hour})
	if _, err := s.Acquire(t.Context(), "off", 0); reason(err) != FunctionLimit {
		t.Error(err)
	}
	one, err := s.Acquire(t.Context(), "one", 1)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan *Ticket, 3)
	for range 3 {
		queue(t, s, t.Context(), "one", 1, func(k *Ticket, err error) { got <- k })
	}
	if _, err := s.Acquire(t.Context(), "one", 1); reason(err) != FunctionQueue {
		t.Error(err)
	}
	other, err := s.Acquire(t.Context(), "other", -1) // slots are free for others
	if err != nil {
		t.Fatal(err)
	}
	other.Release()
	one.Release()
	for range 3 {
		(<-got).Release()
	}
	if st := s.Stats(); st.Running != 0 || st.Waiting != 0 || st.Refused[FunctionQueue] != 1 || st.Refused[FunctionLimit] != 1 {
		t.Errorf("%+v", st)
	}
}

// TestLongestQueueGivesWay: when the queue is full, whoever filled it loses.
func TestLongestQueueGivesWay(t *testing.T) {
	s, _ := newTest(Options{Slots: 1, Queue: 4, FunctionQueue: 10, MaxWait: time.Hour})
	busy, err := s.Acquire(t.Context(), "busy", -1)
	if err != nil {
		t.Fatal(err)
	}
	type answer struct {
		name string
		k    *Ticket
		err  error
	}
	answers := make(chan answer, 10)
	take := func(name string) func(*Ticket, error) {
		return func(k *Ticket, err error) { answers <- answer{name, k, err} }
	}
	for range 4 {
		queue(t, s, t.Context(), "flood", -1, take("flood"))
	}
	if _, err := s.Acquire(t.Context(), "flood", -1); reason(err) != QueueFull {
		t.Error("its own next one:", err)
	}
	go func() { take("calm")(s.Acquire(t.Context(), "calm", -1)) }()
	if a := <-answers; a.name != "flood" || reason(a.err) != QueueFull {
		t.Errorf("%+v", a)
	}
	busy.Release()
	served := map[string]int{}
	for range 4 {
		a := <-answers
		if a.err != nil {
			t.Fatal(a.err)
		}
		served[a.name]++
		a.k.Release()
	}
	if served["calm"] != 1 || served["flood"] != 3 {
		t.Errorf("%v", served)
	}
}

// TestShedsWhatWouldWaitTooLong: it is refused at once, with a time to return.
func TestShedsWhatWouldWaitTooLong(t *testing.T) {
	s, c := newTest(Options{Slots: 1, MaxWait: 5 * time.Second})
	k, err := s.Acquire(t.Context(), "slow", -1)
	if err != nil {
		t.Fatal(err)
	}
	c.add(2 * time.Second)
	k.Release()
	busy, err := s.Acquire(t.Context(), "slow", -1)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan *Ticket, 2)
	for range 2 {
		queue(t, s, t.Context(), "slow", -1, func(k *Ticket, err error) { done <- k })
	}
	_, err = s.Acquire(t.Context(), "slow", -1) // the third would wait 6 s
	var refused *RefusedError
	if !errors.As(err, &refused) || refused.Reason != TooLong || refused.RetryAfter < time.Second {
		t.Errorf("%v", err)
	}
	busy.Release()
	(<-done).Release()
	(<-done).Release()
}

func TestCancelledWhileItWaits(t *testing.T) {
	s, _ := newTest(Options{Slots: 1})
	busy, err := s.Acquire(t.Context(), "f", -1)
	if err != nil {
		t.Fatal(err)
	}
	gone := errors.New("gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	left := make(chan error)
	queue(t, s, ctx, "f", -1, func(_ *Ticket, err error) { left <- err })
	cancel(gone)
	if err := <-left; !errors.Is(err, gone) {
		t.Error(err)
	}
	if _, err := s.Acquire(ctx, "f", -1); !errors.Is(err, gone) {
		t.Error(err)
	}
	busy.Release()
	if st := s.Stats(); st.Running != 0 || st.Waiting != 0 || st.Abandoned != 1 {
		t.Errorf("%+v", st)
	}
}

func TestDrain(t *testing.T) {
	s, _ := newTest(Options{Slots: 1})
	running, err := s.Acquire(t.Context(), "f", -1)
	if err != nil {
		t.Fatal(err)
	}
	waiting := make(chan *Ticket, 1)
	if s.Waiting() {
		t.Error("nobody waits yet")
	}
	queue(t, s, t.Context(), "f", -1, func(k *Ticket, err error) { waiting <- k })
	if !s.Waiting() {
		t.Error("somebody waits")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := s.Acquire(t.Context(), "f", -1); reason(err) != Draining {
		t.Error(err)
	}
	done := make(chan error)
	go func() { done <- s.Wait(t.Context()) }()
	running.Release()
	(<-waiting).Release()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestNothingIsLost: whatever happens at the same time, slots are never
// overdrawn, and at the end everything is as it was.
func TestNothingIsLost(t *testing.T) {
	const slots = 3
	s := New(Options{Slots: slots, Queue: 20, FunctionQueue: 8, MaxWait: 20 * time.Millisecond})
	var wg sync.WaitGroup
	var mu sync.Mutex
	running := map[string]int{}
	total := 0
	for worker := range 24 {
		wg.Go(func() {
			r := rand.New(rand.NewSource(int64(worker)))
			for range 200 {
				name, limit := fmt.Sprintf("f%d", r.Intn(6)), -1
				if name == "f0" {
					limit = 1
				}
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.Intn(4000))*time.Microsecond)
				k, err := s.Acquire(ctx, name, limit)
				if err == nil {
					mu.Lock()
					running[name]++
					total++
					if total > slots || running["f0"] > 1 {
						t.Errorf("%d run, f0 %d times", total, running["f0"])
					}
					mu.Unlock()
					time.Sleep(time.Duration(r.Intn(300)) * time.Microsecond)
					mu.Lock()
					running[name]--
					total--
					mu.Unlock()
					k.Release()
					k.Release() // twice does nothing
				}
				cancel()
			}
		})
	}
	wg.Wait()
	st := s.Stats()
	if st.Running != 0 || st.Waiting != 0 || st.Functions != 0 || len(s.ready) != 0 {
		t.Errorf("%+v", st)
	}
	for name, f := range s.functions {
		if f.running != 0 || f.tickets != 0 || len(f.queue) != 0 || f.at != -1 {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// Of a flood of names nothing is kept.
func TestForgetsFunctions(t *testing.T) {
	s, _ := newTest(Options{Slots: 1, Queue: 10})
	for n := range 1000 {
		k, err := s.Acquire(t.Context(), fmt.Sprint(n), -1)
		if err != nil {
			t.Fatal(err)
		}
		k.Release()
	}
	if n := len(s.functions); n > 50 {
		t.Errorf("%d functions are remembered", n)
	}
}

func BenchmarkAcquire(b *testing.B) {
	s := New(Options{Slots: 4})
	b.ReportAllocs()
	for b.Loop() {
		k, err := s.Acquire(b.Context(), "f", -1)
		if err != nil {
			b.Fatal(err)
		}
		k.Release()
	}
}

// TestAffinity: a function goes on while it is warm, but not for ever.
func TestAffinity(t *testing.T) {
	s, c := newTest(Options{Slots: 1, Queue: 1000, FunctionQueue: 1000, MaxWait: time.Hour, Affinity: 10 * time.Millisecond})
	for _, name := range []string{"a", "b"} {
		k, err := s.Acquire(t.Context(), name, -1)
		if err != nil {
			t.Fatal(err)
		}
		c.add(time.Millisecond)
		k.Release()
	}
	busy, err := s.Acquire(t.Context(), "a", -1)
	if err != nil {
		t.Fatal(err)
	}
	type turn struct {
		name string
		k    *Ticket
	}
	turns := make(chan turn, 1)
	for n := range 100 {
		name := []string{"a", "b"}[n%2]
		queue(t, s, t.Context(), name, -1, func(k *Ticket, err error) { turns <- turn{name, k} })
	}
	busy.Release()
	switches, longest, run, last := 0, 0, 0, ""
	for range 100 {
		k := <-turns
		if run++; k.name != last {
			switches, run = switches+1, 1
		}
		last, longest = k.name, max(longest, run)
		c.add(time.Millisecond)
		k.k.Release()
	}
	if switches > 20 || longest > 25 {
		t.Errorf("%d switches, %d turns in a row: want runs of about ten to twenty", switches, longest)
	}
}

// TestStandingQueue: while there is more work than slots, what would wait longer
// than the target is refused; a burst that comes at once is not, and neither is
// anybody once the queue has emptied.
func TestStandingQueue(t *testing.T) {
	s, c := newTest(Options{Slots: 2, Queue: 100, FunctionQueue: 100, MaxWait: time.Hour, Target: 50 * time.Millisecond, Interval: time.Second})
	for range 20 { // a request takes 10 ms
		k, err := s.Acquire(t.Context(), "f", -1)
		if err != nil {
			t.Fatal(err)
		}
		c.add(10 * time.Millisecond)
		k.Release()
	}
	tickets := make(chan *Ticket, 100)
	got := func(k *Ticket, err error) {
		if err != nil {
			t.Error(err)
		}
		tickets <- k
	}
	const burst = 30
	fill := func() { // the last of the burst waits 150 ms
		for range 2 {
			got(s.Acquire(t.Context(), "f", -1))
		}
		for range burst {
			queue(t, s, t.Context(), "f", -1, got)
		}
	}
	empty := func() {
		for range burst + 2 {
			(<-tickets).Release()
		}
	}
	fill()
	if err := check(s, "f"); err != nil {
		t.Error("a burst is refused:", err)
	}
	c.add(time.Second)
	_, err := s.Acquire(t.Context(), "f", -1)
	if reason(err) != Overload || reason(check(s, "f")) != Overload {
		t.Errorf("%v; want %s", err, Overload)
	}
	if err := check(s, "g"); err != nil {
		t.Error("a function that has nothing queued would wait 10 ms:", err)
	}
	empty()
	fill() // the queue was empty: a new burst
	empty()
	if n := s.Stats().Refused[Overload]; n != 2 {
		t.Errorf("%d are counted, want 2", n)
	}
}

// TestClockSetBack: times come from the monotonic clock, but a clock that runs
// backwards must not break the arithmetic either: everybody gets a turn, and
// predictions stay sane.
func TestClockSetBack(t *testing.T) {
	s, c := newTest(Options{Slots: 1, Queue: 100, FunctionQueue: 100})
	for n := range 20 {
		done := make(chan error, 3)
		k, err := s.Acquire(t.Context(), "f", -1)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"f", "g", "h"} {
			queue(t, s, t.Context(), name, -1, func(k *Ticket, err error) {
				if err == nil {
					c.add(time.Millisecond)
					k.Release()
				}
				done <- err
			})
		}
		if n%2 == 0 {
			c.add(-time.Hour)
		} else {
			c.add(time.Millisecond)
		}
		k.Release()
		for range 3 {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		if err := check(s, "f"); err != nil {
			t.Fatal(err)
		}
	}
}
