package instances

import (
	"context"
	"errors"
	"fmt"
	"seuss/dispatcher/instances/archive"
	"seuss/lineage"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"seuss/dispatcher/inflight"
)

// body is what instances of the tests are made of: it adds up what its code is long.
type body struct {
	sum    int
	size   uint64
	steps  chan struct{} // each step; nil: it has nothing to do by itself
	closed *atomic.Int64 // how many were closed
	in     *sync.Mutex   // held while it does something
	comes  chan struct{} // each is due once
	gate   chan struct{} // that "hold" waits for
	image  string
	seals  *seals
}

type bodies struct {
	mu     sync.Mutex
	made   int
	closed atomic.Int64
	size   uint64
	steps  chan struct{}
	comes  chan struct{}
	gate   chan struct{}
	fail   error
	image  string
	seals  seals
}

func (b *bodies) make(context.Context, string, *Spec) (Body, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return nil, b.fail
	}
	b.made++
	return &body{size: b.size, steps: b.steps, closed: &b.closed, in: &sync.Mutex{}, comes: b.comes, gate: b.gate, image: b.image, seals: &b.seals}, nil
}

func (b *body) Wait(until time.Time, frozen bool, bell <-chan struct{}) End {
	var passed <-chan time.Time
	if !until.IsZero() {
		passed = time.After(time.Until(until))
	}
	comes := b.comes
	if b.steps != nil && comes == nil && !frozen {
		return Due // a million times a second
	} else if frozen {
		comes = nil
	}
	select {
	case <-comes:
		return Due
	case <-bell:
		return Rung
	case <-passed:
		return Passed
	}
}

func (b *body) Do(ctx context.Context, _ Turn, c *Call) (*Answer, error) {
	if !b.in.TryLock() {
		panic("two goroutines use a body")
	}
	defer b.in.Unlock()
	switch *c.Code {
	case "die":
		return nil, errors.New("it died")
	case "hold":
		<-b.gate
		return nil, errors.New("it died")
	case "wait":
		<-ctx.Done()
		return nil, &Refusal{context.Cause(ctx)}
	}
	if grow, ok := strings.CutPrefix(*c.Code, "grow "); ok {
		if _, err := fmt.Sscan(grow, &b.size); err != nil {
			return nil, err
		}
	}
	b.sum += len(*c.Code)
	c.Output(1, []byte(*c.Code))
	return &Answer{Repr: fmt.Sprint(b.sum)}, nil
}

func (b *body) Files(context.Context, Turn, []archive.Step) ([]archive.Result, error) {
	return nil, nil
}

func (b *body) Memory() (lineage.Memory, error) { return lineage.Memory{}, nil }

func (b *body) Step(context.Context, Turn, Output) error {
	select {
	case b.steps <- struct{}{}:
	default:
	}
	return nil
}

func (b *body) Fork(_ context.Context, _ Turn, names []string) ([]Body, error) {
	list := make([]Body, len(names))
	for i := range list {
		list[i] = &body{sum: b.sum, size: b.size, closed: b.closed, in: &sync.Mutex{}, image: b.image, seals: b.seals}
	}
	return list, nil
}

func (b *body) Checkpoint(context.Context, Turn) (string, error) { return fmt.Sprint(b.sum), nil }
func (b *body) Rollback(_ context.Context, node string) error {
	_, err := fmt.Sscan(node, &b.sum)
	return err
}
func (b *body) Image() string { return b.image }
func (b *body) Node() string  { return fmt.Sprint(b.sum) }
func (b *body) Bytes() uint64 { return b.size }
func (b *body) End()          { b.size = 0 }
func (b *body) Close()        { b.closed.Add(1) }

func newKeeper(t *testing.T, b *bodies, o Options) *Keeper {
	o.Make = b.make
	k := New(o)
	t.Cleanup(k.Close)
	return k
}

func create(t *testing.T, k *Keeper, owner, name string) *Instance {
	t.Helper()
	info, err := k.Create(t.Context(), owner, Spec{Image: "x", Name: name})
	if err != nil {
		t.Fatal(err)
	}
	i, err := k.Get(owner, info.Name)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func do(t *testing.T, i *Instance, code, repr string) {
	t.Helper()
	if a, err := i.Do(t.Context(), &Call{Code: &code}); err != nil || a.Repr != repr {
		t.Fatalf("%+v, %v; want %s", a, err, repr)
	}
}

// TestNames: a name is an owner's, and is taken once.
func TestNames(t *testing.T) {
	k := newKeeper(t, &bodies{}, Options{})
	one := create(t, k, "a", "one")
	create(t, k, "b", "one")
	for _, names := range [][]string{{"one"}, {"two", "two"}} {
		if list, err := one.Fork(t.Context(), 2, names); !errors.Is(err, ErrExists) || k.Stats().Instances != 2 {
			t.Errorf("copies called %q: %v, %v", names, list, err)
		}
	}
	if _, err := k.Create(t.Context(), "a", Spec{Image: "x", Name: "one"}); !errors.Is(err, ErrExists) {
		t.Errorf("%v", err)
	}
	for _, name := range []string{"a b", "a/b", "..", "ü", strings.Repeat("x", 65), "i-0123456789ab"} {
		if _, err := k.Create(t.Context(), "a", Spec{Image: "x", Name: name}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if list, err := one.Fork(t.Context(), 1, []string{"i-0123456789ab"}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a copy is called as if its name was made up: %v, %v", list, err)
	}
	for _, s := range []Spec{{}, {Image: "x", Function: "y"}, {Image: "x", TTL: -1}, {Image: "x", Durable: true}} {
		if _, err := k.Create(t.Context(), "a", s); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", s, err)
		}
	}
	if _, err := k.Get("c", "one"); !errors.Is(err, ErrUnknown) {
		t.Errorf("%v", err)
	}
	if list := k.List(func(i *Info) bool { return i.Owner == "b" }); len(list) != 1 {
		t.Errorf("%v", list)
	}
}

// TestOneAfterTheOther: what many ask of an instance is done one after the other, what is too
// much is refused, and who stops waiting has asked for nothing.
func TestOneAfterTheOther(t *testing.T) {
	k := newKeeper(t, &bodies{}, Options{})
	i := create(t, k, "a", "one")
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			code := "x"
			if _, err := i.Do(t.Context(), &Call{Code: &code}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	do(t, i, "x", "51")
	ended := make(chan error, 1)
	go func() {
		code := "wait"
		_, err := i.Do(t.Context(), &Call{Code: &code})
		ended <- err
	}()
	if _, err := i.Wait(t.Context(), Running); err != nil {
		t.Fatal(err)
	}
	var busy, gone int
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	var mu sync.Mutex
	for range 2 * maxWaiting {
		wg.Go(func() {
			code := "y"
			_, err := i.Do(ctx, &Call{Code: &code})
			mu.Lock()
			defer mu.Unlock()
			if errors.Is(err, ErrBusy) {
				if busy++; busy == maxWaiting {
					cancel(errors.New("enough"))
				}
			} else if err != nil {
				gone++
			}
		})
	}
	wg.Wait()
	if busy != maxWaiting || gone != maxWaiting {
		t.Errorf("%d refused, %d have gone", busy, gone)
	}
	i.Remove()
	if err := <-ended; !errors.Is(err, ErrRemoved) {
		t.Errorf("%v", err)
	}
}

// TestQuotas: who forks himself out of memory, or of what he may have, is refused, and others
// are not; what is removed is free again.
func TestQuotas(t *testing.T) {
	b := &bodies{size: 100}
	k := newKeeper(t, b, Options{Most: func(owner string) int { return map[string]int{"few": 3}[owner] }, Bytes: 10_000})
	few := create(t, k, "few", "one")
	if _, err := few.Fork(t.Context(), 3, nil); !errors.Is(err, ErrTooMany) {
		t.Errorf("%v", err)
	}
	if list, err := few.Fork(t.Context(), 2, nil); err != nil || len(list) != 2 {
		t.Errorf("%v, %v", list, err)
	}
	if _, err := k.Create(t.Context(), "few", Spec{Image: "x"}); !errors.Is(err, ErrTooMany) {
		t.Errorf("%v", err)
	}
	greedy := create(t, k, "greedy", "one")
	forks := 0
	for ; ; forks++ {
		if _, err := greedy.Fork(t.Context(), 1, nil); errors.Is(err, ErrTooMany) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if st := k.Stats(); forks != 49 || st.Bytes != 5300 {
		t.Errorf("%d forks, %+v", forks, st)
	}
	if i := greedy.Info(); i.State != Parked {
		t.Errorf("a fork that was refused has changed its original: %+v", i)
	}
	create(t, k, "few2", "one")
	few.Remove()
	create(t, k, "few", "again")
	b.fail = errors.New("no")
	if _, err := k.Create(t.Context(), "other", Spec{Image: "x"}); err == nil {
		t.Error("it was made")
	}
	k.Close()
	if st := k.Stats(); st != (Stats{}) || int(b.closed.Load()) != b.made+2+forks {
		t.Errorf("%+v, %d closed", st, b.closed.Load())
	}
	if _, err := k.Create(t.Context(), "x", Spec{Image: "x"}); !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
}

// TestGrowth: an instance that has grown beyond what all, or its owner's, may take has failed,
// and takes nothing any more; nobody else's has, and nobody can have all.
func TestGrowth(t *testing.T) {
	k := newKeeper(t, &bodies{}, Options{Bytes: 10_000, Host: "host"})
	alone, host := create(t, k, "greedy", "one"), create(t, k, "host", "one")
	do(t, alone, "grow 4000", "9")
	small := "grow 5100"
	if _, err := alone.Do(t.Context(), &Call{Code: &small}); !errors.Is(err, ErrTooMany) || alone.Info().State != Failed {
		t.Errorf("%v, %+v", err, alone.Info())
	}
	if st := k.Stats(); st.Bytes > 1000 {
		t.Errorf("what is over takes %d bytes", st.Bytes)
	}
	if err := alone.Rollback(t.Context(), "1"); err != nil || alone.Info().State != Parked {
		t.Errorf("%v", err)
	}
	do(t, host, "grow 9000", "9")
	most := "grow 10001"
	if _, err := host.Do(t.Context(), &Call{Code: &most}); !errors.Is(err, ErrTooMany) || host.Info().State != Failed || alone.Info().State != Parked {
		t.Errorf("%v, %+v, %+v", err, host.Info(), alone.Info())
	}
}

// turns counts turns.
type turns struct {
	mu        sync.Mutex
	now, most int
	all       int
}

func (c *turns) admit(context.Context, context.CancelCauseFunc, string, string) (Turn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now++
	c.all++
	c.most = max(c.most, c.now)
	return c, nil
}
func (c *turns) Wanted() bool                                     { return false }
func (c *turns) Rested(time.Duration)                             {}
func (c *turns) Pause()                                           {}
func (c *turns) Resume(context.Context, *inflight.Progress) error { return nil }
func (c *turns) Release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now--
}

// TestNeverIdle: an instance that always has something to do by itself is brought to a
// machine no more often than every stepEvery, and does what it is asked for in between; paused
// it is not at all.
func TestNeverIdle(t *testing.T) {
	b := &bodies{steps: make(chan struct{}, 1000)}
	k := newKeeper(t, b, Options{})
	c := &turns{}
	k.Admit(c.admit)
	began := time.Now()
	i := create(t, k, "a", "one")
	for range 10 {
		<-b.steps
	}
	do(t, i, "x", "1")
	if err := i.Pause(t.Context(), false); err != nil || i.Info().State != Paused {
		t.Fatalf("%v, %v", err, i.Info())
	}
	took := time.Since(began)
	c.mu.Lock()
	all := c.all
	c.mu.Unlock()
	if most := int(took/stepEvery) + 3; all > most {
		t.Errorf("%d turns in %v, at most %d", all, took, most)
	}
	time.Sleep(3 * stepEvery)
	c.mu.Lock()
	if c.now != 0 || c.all != all {
		t.Errorf("%d turns, %d more while it is paused", c.now, c.all-all)
	}
	c.mu.Unlock()
	do(t, i, "x", "2") // it goes on when it is asked for something
	if i.Info().State == Paused {
		t.Error("it is paused still")
	}
}

// TestFailures: what has died says why, does nothing more, and can be rolled back; nobody
// waits for ever.
func TestFailures(t *testing.T) {
	k := newKeeper(t, &bodies{}, Options{})
	w := k.Watch()
	i := create(t, k, "a", "one")
	do(t, i, "abc", "3")
	node, err := i.Checkpoint(t.Context())
	if err != nil || node != "3" {
		t.Fatalf("%s, %v", node, err)
	}
	die := "die"
	if _, err := i.Do(t.Context(), &Call{Code: &die}); err == nil || i.Info().State != Failed || !strings.Contains(i.Info().Failure, "it died") {
		t.Errorf("%v, %+v", err, i.Info())
	}
	for what, err := range map[string]error{
		"do": func() error { _, err := i.Do(t.Context(), &Call{Code: &die}); return err }(), "pause": i.Pause(t.Context(), false),
		"fork": func() error { _, err := i.Fork(t.Context(), 1, nil); return err }(),
	} {
		if !errors.Is(err, ErrFailed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := i.Rollback(t.Context(), node); err != nil || i.Info().Failure != "" {
		t.Fatalf("%v", err)
	}
	do(t, i, "x", "4")
	i.Remove()
	var states []State
	for info := range w.Changes() {
		if states = append(states, info.State); info.State == Gone {
			break
		}
	}
	if text := fmt.Sprint(states); text != "[parked running parked running parked running failed parked running parked gone]" {
		t.Errorf("%s", text)
	}
	w.Close()
	slow := k.Watch()
	j := create(t, k, "a", "two")
	for n := range watched {
		do(t, j, "x", fmt.Sprint(n+1))
	}
	n := 0
	for range slow.Changes() {
		n++
	}
	if n > watched {
		t.Errorf("%d changes are kept for who does not read", n)
	}
}

// TestTimes: an instance goes when its time is over, or when nobody has used it for long.
func TestTimes(t *testing.T) {
	b := &bodies{}
	k := newKeeper(t, b, Options{})
	for _, s := range []Spec{{Image: "x", TTL: Millis(time.Millisecond)}, {Image: "x", IdleTTL: Millis(time.Millisecond)}} {
		info, err := k.Create(t.Context(), "a", s)
		if err != nil {
			t.Fatal(err)
		}
		if i, err := k.Get("a", info.Name); err == nil {
			if info, err := i.Wait(t.Context()); err != nil || info.State != Gone {
				t.Errorf("%+v, %v", info, err)
			}
		}
	}
	info, err := k.Create(t.Context(), "a", Spec{Image: "x", TTL: Millis(50 * time.Millisecond)})
	if err != nil {
		t.Fatal(err)
	}
	if i, err := k.Get("a", info.Name); err == nil {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		ended := make(chan error, 1)
		go func() {
			wait := "wait"
			_, err := i.Do(ctx, &Call{Code: &wait})
			ended <- err
		}()
		select {
		case err := <-ended:
			if !errors.Is(err, ErrRemoved) && !errors.Is(err, ErrUnknown) {
				t.Errorf("what it does when its time is over: %v", err)
			}
		case <-ctx.Done():
			t.Error("it does something after its time")
			i.Remove()
		}
	}
	for end := time.Now().Add(time.Minute); k.Stats() != (Stats{}); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%+v", k.Stats())
		}
	}
}

// TestJournal: of output the newest is kept, within its bound, and who follows it is told.
func TestJournal(t *testing.T) {
	k := newKeeper(t, &bodies{}, Options{})
	i := create(t, k, "a", "one")
	_, next, more := i.Logs(0)
	sum := 0
	for n := range 300 {
		text := strings.Repeat("x", 1000)
		sum += len(text)
		do(t, i, text, fmt.Sprint(sum))
		if n == 0 {
			<-more
			if lines, _, _ := i.Logs(next); len(lines) != 1 || len(lines[0].Text) != 1000 {
				t.Errorf("%v", lines)
			}
		}
	}
	lines, next, _ := i.Logs(0)
	bytes := 0
	for _, l := range lines {
		bytes += len(l.Text)
	}
	if next != 300 || bytes > maxJournal || bytes < maxJournal/2 {
		t.Errorf("%d lines, %d bytes, next %d", len(lines), bytes, next)
	}
}
