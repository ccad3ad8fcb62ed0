package park

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// content takes so much memory, and a tenth of it squeezed.
type content struct {
	bytes    atomic.Uint64
	woken    chan struct{}
	squeezed atomic.Int32
	err      error
}

func newContent(bytes uint64) *content {
	c := &content{woken: make(chan struct{}, 1)}
	c.bytes.Store(bytes)
	return c
}

func (c *content) Woken() <-chan struct{} { return c.woken }
func (c *content) Bytes() uint64          { return c.bytes.Load() }
func (c *content) Squeeze() error {
	if c.err == nil && c.squeezed.Add(1) == 1 {
		c.bytes.Store(c.bytes.Load() / 10)
	}
	return c.err
}

func newTest(t *testing.T, o Options) *Lot {
	l := New(o)
	t.Cleanup(l.Close)
	return l
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

// TestWakes: whoever is parked is woken when his time has come and not before, by one
// goroutine for all, and at the end nothing is left.
func TestWakes(t *testing.T) {
	for _, n := range []int{1, 100, 10_000} {
		l := newTest(t, Options{Age: time.Hour})
		var wg sync.WaitGroup
		var early atomic.Int32
		began := time.Now()
		for range n {
			due := began.Add(time.Duration(rand.IntN(200)) * time.Millisecond)
			wg.Go(func() {
				if end := l.Wait(t.Context(), &Stay{}, newContent(1000), due, nil); end != Due || time.Now().Before(due) {
					early.Add(1)
				}
				l.Back(due)
			})
		}
		wg.Wait()
		if early.Load() > 0 {
			t.Errorf("%d of %d were woken early", early.Load(), n)
		}
		if st := l.Stats(); st.Instances != 0 || st.Bytes != 0 || st.Whole != 0 || len(l.timers) != 0 || st.Parks != uint64(n) || l.pending != 0 {
			t.Errorf("%d: %+v, %d timers", n, st, len(l.timers))
		}
	}
}

// TestEnds: what comes wakes, and so does every end.
func TestEnds(t *testing.T) {
	l := newTest(t, Options{})
	ended, never := make(chan struct{}), time.Time{}
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan End)
	stay := func(c *content, due time.Time, ctx context.Context, ended <-chan struct{}) {
		go func() { got <- l.Wait(ctx, &Stay{}, c, due, ended) }()
	}
	c := newContent(1)
	c.woken <- struct{}{}
	stay(c, time.Now().Add(time.Hour), ctx, ended)
	if end := <-got; end != Due {
		t.Errorf("what came: %v", end)
	}
	stay(newContent(1), never, ctx, ended)
	close(ended)
	if end := <-got; end != Ended {
		t.Errorf("ended: %v", end)
	}
	stay(newContent(1), never, ctx, nil)
	cancel()
	if end := <-got; end != Cancelled {
		t.Errorf("cancelled: %v", end)
	}
	stay(newContent(1), never, t.Context(), nil)
	eventually(t, "it is not there", func() bool { return l.Stats().Instances == 1 })
	l.Close()
	if end := <-got; end != Closed {
		t.Errorf("closed: %v", end)
	}
	stay(newContent(1), never, t.Context(), nil)
	if end := <-got; end != Closed || !l.Full("") {
		t.Errorf("after Close: %v", end)
	}
	New(Options{}).Close() // that nobody used
}

// TestOnlyWhereWanted: who waits stays on his machine until somebody wants one; then who has
// waited longest leaves, one for each who wants; a nudge that finds somebody working again
// goes to another.
func TestOnlyWhereWanted(t *testing.T) {
	l := newTest(t, Options{})
	var nudged [4]int
	var stays [4]Stay
	wanted := func() bool { return false }
	for i := range stays {
		if l.Rest(&stays[i], func() { nudged[i]++ }, wanted) {
			t.Fatal("it leaves, and nobody wants its machine")
		}
	}
	l.Want()
	if nudged != [4]int{1, 0, 0, 0} {
		t.Errorf("nudged %v", nudged)
	}
	l.Work(&stays[0]) // something came for it at the same time
	if nudged != [4]int{1, 1, 0, 0} {
		t.Errorf("nudged %v", nudged)
	}
	if !l.Rest(&stays[1], nil, wanted) {
		t.Error("it was asked to leave, and does not")
	}
	l.Work(&stays[1])
	for range 5 {
		l.Want()
	}
	if nudged != [4]int{1, 1, 1, 1} {
		t.Errorf("nudged %v", nudged)
	}
	l.Work(&stays[2])
	l.Work(&stays[3])
	l.Want() // nobody is there
	if st := l.Stats(); st.Resting != 0 {
		t.Errorf("%+v", st)
	}
	if !l.Rest(&stays[0], nil, func() bool { return true }) {
		t.Error("somebody waits already, and it does not leave")
	}
	l.Work(&stays[0])
}

// TestBounds: where there is no room nobody leaves his machine, and it is counted.
func TestBounds(t *testing.T) {
	for name, o := range map[string]Options{"instances": {Instances: 2}, "bytes": {Bytes: 200}} {
		l := newTest(t, o)
		wanted := func() bool { return true }
		var s Stay
		if l.Full("") || !l.Rest(&s, nil, wanted) {
			t.Errorf("%s: it is full with none", name)
		}
		l.Work(&s)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() { l.Wait(ctx, &Stay{}, newContent(100), time.Time{}, nil) })
		}
		eventually(t, "they are not there", func() bool { return l.Stats().Instances == 2 })
		if !l.Full("") || l.Rest(&s, nil, wanted) || l.Stats().Refused != 1 {
			t.Errorf("%s: there is room for a third, %+v", name, l.Stats())
		}
		l.Work(&s)
		cancel()
		wg.Wait()
		if l.Full("") {
			t.Errorf("%s: the room of who has gone is lost", name)
		}
	}
}

// TestSqueezes: what has been there for a while is squeezed, what comes when much is whole at
// once; what cannot be stays whole, and is told.
func TestSqueezes(t *testing.T) {
	var failed atomic.Int32
	l := newTest(t, Options{Whole: 1000, Age: 50 * time.Millisecond, Failed: func(error) { failed.Add(1) }})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	park := func(c *content) {
		before := l.Stats().Instances
		wg.Go(func() { l.Wait(ctx, &Stay{}, c, time.Time{}, nil) })
		eventually(t, "it is not there", func() bool { return l.Stats().Instances > before })
	}
	old, more, broken := newContent(1000), newContent(5000), newContent(100)
	broken.err = errors.New("damaged")
	park(old)
	park(more)
	eventually(t, "what is too much is whole", func() bool { return more.squeezed.Load() == 1 })
	eventually(t, "what is old is whole", func() bool { return old.squeezed.Load() == 1 })
	park(broken)
	eventually(t, "nobody is told", func() bool { return failed.Load() == 1 })
	eventually(t, "it does not add up", func() bool { st := l.Stats(); return st.Bytes == 700 && st.Whole == 0 && st.Instances == 3 })
	cancel()
	wg.Wait()
	if st := l.Stats(); st.Bytes != 0 {
		t.Errorf("%+v", st)
	}
	// Those that come and go while they are squeezed.
	for range 200 {
		wg.Go(func() {
			l.Wait(t.Context(), &Stay{}, newContent(500), time.Now().Add(time.Duration(30+rand.IntN(40))*time.Millisecond), nil)
		})
	}
	wg.Wait()
	if st := l.Stats(); st.Bytes != 0 || st.Instances != 0 || l.pending != 0 {
		t.Errorf("%+v, %d", st, l.pending)
	}
}

// TestTakesRoomFirst: what is taken is never more than there is, however many leave their
// machines at a time; what is given back is asked for again, and an owner leaves some for
// others.
func TestTakesRoomFirst(t *testing.T) {
	l := newTest(t, Options{Bytes: 1000, Instances: 8})
	var a, b, c, other Stay
	a.Owner, b.Owner, c.Owner, other.Owner = "some", "some", "some", "other"
	if !l.Take(&a, 600) || l.Take(&b, 200) || l.Stats().Bytes != 600 {
		t.Errorf("one owner has more than three quarters: %+v", l.Stats())
	}
	if !l.Take(&other, 400) || l.Take(&c, 1) || !l.Full("") || !l.Full("some") || !l.Full("third") {
		t.Errorf("there is more than there may be: %+v", l.Stats())
	}
	wanted := func() bool { return true }
	asked := 0
	if l.Rest(&b, func() { asked++ }, wanted) {
		t.Error("it leaves, and there is no room for it")
	}
	l.Work(&a) // it could not leave its machine after all
	if asked != 1 || !l.Rest(&b, nil, wanted) {
		t.Errorf("there is room again: asked %d times", asked)
	}
	l.Work(&b)
	l.Work(&other)
	if st := l.Stats(); st.Bytes != 0 || st.Instances != 0 || len(l.shares) != 0 {
		t.Errorf("%+v, %d shares", st, len(l.shares))
	}
	var many [8]Stay
	for i := range many {
		many[i].Owner = "some"
		if got := l.Take(&many[i], 1); got != (i < 6) {
			t.Errorf("instance %d of an owner: %v", i, got)
		}
	}
	if !l.Take(&other, 1) {
		t.Error("none is left for another owner")
	}
}

// slowContent takes as long to squeeze as its guest likes.
type slowContent struct {
	*content
	begun, end chan struct{}
}

func (c slowContent) Squeeze() error {
	close(c.begun)
	<-c.end
	return nil
}

// TestSqueezeHoldsNoTimer: while one is squeezed others are woken when they are due, and Close
// waits for it.
func TestSqueezeHoldsNoTimer(t *testing.T) {
	l := New(Options{Age: time.Millisecond})
	slow := slowContent{newContent(100), make(chan struct{}), make(chan struct{})}
	over := make(chan End, 1)
	go func() { over <- l.Wait(t.Context(), &Stay{}, slow, time.Time{}, nil) }()
	<-slow.begun
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if end := l.Wait(ctx, &Stay{}, newContent(100), time.Now().Add(10*time.Millisecond), nil); end != Due {
		t.Errorf("its timer is due while another one is squeezed: %v", end)
	}
	close(slow.end)
	l.Close()
	if end := <-over; end != Closed {
		t.Errorf("%v", end)
	}
}

// TestAsksWhoCanLeave: an owner's instances that have no room, or turn out to have none, keep
// nobody from a machine that another owner's can leave.
func TestAsksWhoCanLeave(t *testing.T) {
	l := newTest(t, Options{Bytes: 1000})
	idle := func() bool { return false }
	var parked, first, second, other Stay
	parked.Owner, first.Owner, second.Owner, other.Owner = "some", "some", "some", "other"
	var asked []string
	rest := func(s *Stay, name string) {
		if l.Rest(s, func() { asked = append(asked, name) }, idle) {
			t.Fatalf("%s leaves, and nobody wants its machine", name)
		}
	}
	rest(&first, "first")
	rest(&second, "second")
	rest(&other, "other")
	l.Want()
	if !l.Take(&parked, 700) || !l.Rest(&first, nil, idle) || l.Take(&first, 100) {
		t.Fatal("who was asked finds more or less room than there is")
	}
	if !l.Rest(&second, nil, idle) || l.Take(&second, 100) || !l.Rest(&other, nil, idle) || !l.Take(&other, 100) {
		t.Errorf("asked %v", asked)
	}
	l.Work(&other)
	rest(&other, "other")
	if l.Want(); !l.Rest(&other, nil, idle) {
		t.Errorf("one that stays was asked instead: %v", asked)
	}
}

// TestSqueezedRoom: who stays for want of room is asked again when what is parked takes less.
func TestSqueezedRoom(t *testing.T) {
	l := newTest(t, Options{Bytes: 1000, Age: time.Millisecond})
	var s Stay
	nudged := make(chan struct{}, 1)
	wanted := func() bool { return true }
	whole := slowContent{newContent(900), make(chan struct{}), make(chan struct{})}
	var wg sync.WaitGroup
	wg.Go(func() { l.Wait(t.Context(), &Stay{}, whole, time.Time{}, nil) })
	<-whole.begun
	if l.Take(&s, 500) || l.Rest(&s, func() { nudged <- struct{}{} }, wanted) {
		t.Fatal("there is room")
	}
	whole.bytes.Store(90)
	close(whole.end)
	select {
	case <-nudged:
	case <-time.After(20 * time.Second):
		t.Fatal("there is room, and it is not asked")
	}
	if !l.Rest(&s, nil, wanted) {
		t.Error("it stays")
	}
	l.Work(&s)
	l.Close()
	wg.Wait()
}

// TestKeptRoomIsLeftFor: who keeps room leaves his machine for it, however full it is with what
// others keep.
func TestKeptRoomIsLeftFor(t *testing.T) {
	l := newTest(t, Options{Instances: 2, Host: "host", Age: time.Hour})
	nudged := 0
	nudge := func() { nudged++ }
	a, b, c := &Stay{Owner: "host", Keeps: true}, &Stay{Owner: "host", Keeps: true}, &Stay{Owner: "host"}
	if !l.Take(a, 60) || !l.Take(b, 60) || !l.Full("host") {
		t.Fatal("it is not full")
	}
	always, never := func() bool { return true }, func() bool { return false }
	if !l.Rest(a, nudge, always) {
		t.Error("it stays on a machine that somebody wants")
	}
	if l.Rest(b, nudge, never) || l.Rest(c, nudge, always) {
		t.Error("one leaves that nobody has asked, or that has no room")
	}
	if l.Want(); nudged != 1 {
		t.Errorf("%d are asked to leave", nudged)
	}
	if !l.Rest(a, nudge, never) || !l.Take(a, 60) {
		t.Error("who was asked stays")
	}
}

// TestKeeps: who keeps his room has it when his wait is over, and while he works; others have
// the rest. Of what has taken no room nothing is counted.
func TestKeeps(t *testing.T) {
	l := newTest(t, Options{Bytes: 100, Host: "host", Age: time.Hour})
	over := make(chan struct{})
	close(over)
	s, other := &Stay{Owner: "host", Keeps: true}, &Stay{Owner: "host"}
	bytes := func(want uint64, instances int) {
		t.Helper()
		if st := l.Stats(); st.Bytes != want || st.Instances != instances {
			t.Errorf("%+v, want %d of %d", st, want, instances)
		}
	}
	l.Wait(t.Context(), s, newContent(10), time.Time{}, over)
	bytes(0, 0)
	for range 3 {
		if !l.Take(s, 60) {
			t.Fatal("no room")
		}
		l.Wait(t.Context(), s, newContent(60), time.Time{}, over)
		l.Work(s)
		bytes(60, 1)
	}
	if l.Take(other, 50) || !l.Take(other, 40) {
		t.Error("what is kept is another's too")
	}
	if !l.Take(s, 50) || l.Take(s, 70) {
		t.Error("it has more than there is")
	}
	bytes(40, 1)
	l.Work(other)
	if !l.Take(s, 100) {
		t.Error("no room")
	}
	l.Free(s)
	l.Free(s)
	bytes(0, 0)
}
