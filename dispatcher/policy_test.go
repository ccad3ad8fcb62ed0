package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"seuss/dispatcher/functions"
	"seuss/dispatcher/instance"
	"seuss/dispatcher/instance/instancetest"
	"seuss/lineage"
	"seuss/vmm/platform/fake"
)

// fakeService is a dispatcher on the fake platform: what it decides is tested without a
// guest.
type fakeService struct {
	*testing.T
	*Dispatcher
	platform *fake.Platform
}

func newFakeService(t *testing.T, r *instancetest.Runtime, o Options) *fakeService {
	t.Helper()
	s := &fakeService{T: t, platform: r.Platform(t)}
	o.StateDir, o.Platform = instancetest.FakeStateDir(t, DefaultImage()), s.platform
	var err error
	if s.Dispatcher, err = Open(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Dispatcher.Close(); err != nil {
			t.Error(err)
		}
		if open, _ := s.platform.Machines(); open != 0 {
			t.Errorf("%d machines are left", open)
		}
	})
	return s
}

// deploy deploys a function that runs a handler.
func (s *fakeService) deploy(name, handler string, lazy bool, imports ...string) *lineage.Node {
	s.Helper()
	n, err := s.Deploy(s.Context(), FunctionSpec{Name: name, Handler: handler + ".handler", Lazy: lazy, Imports: imports, Files: map[string][]byte{"f": []byte(name)}})
	if err != nil {
		s.Fatal(err)
	}
	return n
}

// want invokes a function, and wants an answer of it.
func (s *fakeService) want(r Request, output string) *Result {
	s.Helper()
	got, err := s.Invoke(s.Context(), r)
	if err != nil {
		s.Fatal(err)
	}
	if got.Error != nil || string(got.Output) != output {
		s.Fatalf("%s: %s, %v; want %s", r.Function, got.Output, got.Error, output)
	}
	return got
}

// settled waits until nothing is under way, and returns what the only pool holds.
func (s *fakeService) settled(is func(PoolStats) bool) PoolStats {
	s.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if p := s.Pools(); len(p) == 1 && is(p[0]) {
			return p[0]
		} else if time.Now().After(end) {
			s.Fatalf("the pool does not come to that: %+v", p)
		}
	}
}

func ask(function, raw string) Request { return Request{Function: function, Event: []byte(raw)} }

// echo answers with its event and how often its memory was used before.
func echo(c *instancetest.Call) (string, error) {
	c.CPU.Print(1, "called\n")
	return fmt.Sprintf("[%s,%d]", c.Event, c.Before), nil
}

// TestFreshAndPooled: every instance is fresh, on whatever machine; a machine that has
// run is reset to where it was, and found ready there.
func TestFreshAndPooled(t *testing.T) {
	s := newFakeService(t, &instancetest.Runtime{Handlers: map[string]instancetest.Handler{"echo": echo}}, Options{PoolSize: 2})
	s.deploy("a", "echo", false, "x", "y")
	s.deploy("b", "echo", false, "x")
	idle := func(p PoolStats) bool { return p.Free == p.Machines && p.Ready == p.Free }
	for n := range 5 {
		for _, name := range []string{"a", "b"} {
			r := s.want(ask(name, fmt.Sprint(n)), fmt.Sprintf("[%d,0]", n))
			if r.Path != PathFunction || len(r.Logs) != 1 || n > 1 && !r.Pooled {
				t.Errorf("%s: %+v", name, r)
			}
			s.settled(idle)
		}
	}
	if r := s.want(Request{Function: "a", Event: []byte("7"), Fresh: true}, "[7,0]"); r.Pooled {
		t.Error("a machine of its own stood ready")
	}
	for _, path := range []StartPath{PathCold, PathBase} {
		if r := s.want(Request{Function: "a", Event: []byte("7"), MaxPath: path}, "[7,0]"); r.Path != path {
			t.Errorf("started from %s, not from %s", r.Path, path)
		}
	}
	if p := s.settled(idle); p.Machines != 2 || p.HitsReady < 6 {
		t.Errorf("%+v", p)
	}
}

// TestEnds: however an instance ends, its machine is reset or replaced, and the next one
// is fresh.
func TestEnds(t *testing.T) {
	handlers := map[string]instancetest.Handler{
		"echo":  echo,
		"fails": func(*instancetest.Call) (string, error) { return "", errors.New("no") },
		"exit":  func(c *instancetest.Call) (string, error) { c.CPU.Exit(3); return "", nil },
		"spin": func(c *instancetest.Call) (string, error) {
			for {
				c.CPU.Spin()
			}
		},
		"panic":   func(c *instancetest.Call) (string, error) { c.CPU.Panic("help"); return "", nil },
		"crash":   func(c *instancetest.Call) (string, error) { c.CPU.Crash(); return "", nil },
		"garbage": func(*instancetest.Call) (string, error) { return "NaN", nil },
		"die":     func(c *instancetest.Call) (string, error) { c.CPU.Die(); return "", nil },
	}
	s := newFakeService(t, &instancetest.Runtime{Handlers: handlers}, Options{PoolSize: 1})
	s.deploy("echo", "echo", false)
	for _, c := range []struct {
		handler, failure string
		cause            error
		replaced         bool
	}{
		{"fails", "Error", nil, false},
		{"exit", "Runtime.ExitError", ErrGuestExit, false},
		{"spin", "Sandbox.Timedout", ErrTimeout, false},
		{"panic", "Runtime.ExitError", nil, true},
		{"crash", "Runtime.ExitError", nil, true},
		{"garbage", "Runtime.MarshalError", nil, false},
		{"die", "", nil, true},
	} {
		s.deploy(c.handler, c.handler, false)
		s.want(ask("echo", "1"), "[1,0]")
		_, before := s.platform.Machines()
		limit := 20 * time.Second
		if c.cause == ErrTimeout {
			limit = 200 * time.Millisecond
		}
		r, err := s.Invoke(t.Context(), Request{Function: c.handler, Event: []byte("1"), Timeout: limit})
		switch {
		case c.failure == "" && err == nil:
			t.Errorf("%s: a result: %+v", c.handler, r)
		case c.failure != "" && (err != nil || r.Error == nil || r.Error.Type != c.failure || c.cause != nil && !errors.Is(r.Error, c.cause)):
			t.Errorf("%s: %+v, %v", c.handler, r, err)
		}
		s.want(ask("echo", "2"), "[2,0]")
		if _, after := s.platform.Machines(); (after > before) != c.replaced {
			t.Errorf("%s: %d machines were made, %d before", c.handler, after, before)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Invoke(ctx, ask("spin", "1")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a caller that has gone: %v", err)
	}
	s.want(ask("echo", "3"), "[3,0]")
	if st := s.Stats(); st.Timeouts != 1 || st.Crashes != 2 {
		t.Errorf("%d timeouts, %d crashes", st.Timeouts, st.Crashes)
	}
}

// TestResetsThatFail: a machine that the platform cannot reset is gone, once; the request
// that ran on it has its answer, and the next ones theirs, each on a fresh instance.
func TestResetsThatFail(t *testing.T) {
	var settles, states atomic.Int64 // how many are still to fail
	failing := func(left *atomic.Int64, what string) func() error {
		return func() error {
			if left.Add(-1) >= 0 {
				return errors.New(what + " fails")
			}
			return nil
		}
	}
	r := &instancetest.Runtime{Handlers: map[string]instancetest.Handler{"echo": echo}, Settle: failing(&settles, "settle"), SetState: failing(&states, "set state")}
	s := newFakeService(t, r, Options{PoolSize: 2})
	s.deploy("a", "echo", false)
	s.deploy("b", "echo", false)
	idle := func(p PoolStats) bool { return p.Free == p.Machines && p.Ready == p.Free && p.Free > 0 }
	for name, left := range map[string]*atomic.Int64{"settle": &settles, "set state": &states} {
		for _, fails := range []int64{1, 3} {
			for range 2 { // every machine is somewhere
				s.want(ask("a", "1"), "[1,0]")
				s.settled(idle)
			}
			_, before := s.platform.Machines()
			left.Store(fails)
			failed := 0
			for n := range 8 {
				for _, function := range []string{"a", "b"} {
					got, err := s.Invoke(t.Context(), ask(function, fmt.Sprint(n)))
					switch want := fmt.Sprintf("[%d,0]", n); {
					case err != nil && strings.Contains(err.Error(), name+" fails"):
						failed++
					case err != nil || got.Error != nil || string(got.Output) != want:
						t.Errorf("%s, request %d: %+v, %v; want %s", name, n, got, err, want)
					}
				}
			}
			s.settled(idle)
			if left.Load() >= 0 {
				t.Errorf("%s never failed", name)
			}
			if int64(failed) > fails {
				t.Errorf("%s failed %d times, and %d requests with it", name, fails, failed)
			}
			open, after := s.platform.Machines()
			if after == before || open > 2 {
				t.Errorf("%s failed %d times: %d machines were made, %d before, %d are open", name, fails, after, before, open)
			}
		}
	}
}

// gate is a handler that waits until it is let.
type gate struct{ entered, leave chan bool }

func newGate() *gate { return &gate{make(chan bool, 16), make(chan bool)} }

func (g *gate) handler(*instancetest.Call) (string, error) {
	g.entered <- true
	<-g.leave
	return "0", nil
}

// TestQueue: who wants a machine where there is none waits for his turn; who goes
// meanwhile gives it up, and a machine that was meant for him is not lost.
func TestQueue(t *testing.T) {
	g := newGate()
	s := newFakeService(t, &instancetest.Runtime{Handlers: map[string]instancetest.Handler{"echo": echo, "gate": g.handler}}, Options{PoolSize: 1})
	s.deploy("gate", "gate", false)
	s.deploy("echo", "echo", false)
	done := make(chan error, 8)
	invoke := func(ctx context.Context, name string) {
		_, err := s.Invoke(ctx, ask(name, "1"))
		done <- err
	}
	go invoke(t.Context(), "gate")
	<-g.entered
	gone, cancel := context.WithCancel(t.Context())
	go invoke(gone, "echo")
	s.settled(func(p PoolStats) bool { return p.Waiting == 1 })
	go invoke(t.Context(), "echo")
	s.settled(func(p PoolStats) bool { return p.Waiting == 2 })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("who went while he waited: %v", err)
	}
	// A capture waits as everybody does.
	captured := make(chan error, 1)
	s.settled(func(p PoolStats) bool { return p.Waiting == 1 })
	go func() {
		_, err := s.Import(t.Context(), "", "", []string{"late"})
		captured <- err
	}()
	s.settled(func(p PoolStats) bool { return p.Waiting == 2 })
	g.leave <- true
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if err := <-captured; err != nil {
		t.Error(err)
	}
	p := s.settled(func(p PoolStats) bool { return p.Free == 1 && p.Waiting == 0 })
	if p.Machines != 1 || p.HitsWaited != 3 {
		t.Errorf("%+v", p)
	}
}

// TestMachinesCannotBeMade: that is the request's error, and no machine is counted that
// is not there.
func TestMachinesCannotBeMade(t *testing.T) {
	var refuse atomic.Bool
	r := &instancetest.Runtime{Handlers: map[string]instancetest.Handler{"echo": echo, "crash": func(c *instancetest.Call) (string, error) { c.CPU.Crash(); return "", nil }}}
	r.Machine = func() error {
		if refuse.Load() {
			return errors.New("no more machines")
		}
		return nil
	}
	s := newFakeService(t, r, Options{PoolSize: 1})
	s.deploy("echo", "echo", false)
	s.deploy("crash", "crash", false)
	if r, err := s.Invoke(t.Context(), ask("crash", "1")); err != nil || r.Error == nil {
		t.Fatal(r, err)
	}
	refuse.Store(true)
	for range 3 {
		if _, err := s.Invoke(t.Context(), ask("echo", "1")); !errors.Is(err, instance.ErrNoMachine) || !strings.Contains(err.Error(), "no more machines") {
			t.Errorf("it ran on no machine: %v", err)
		}
	}
	if p := s.Pools(); p[0].Machines != 0 {
		t.Errorf("%+v", p)
	}
	refuse.Store(false)
	s.want(ask("echo", "1"), "[1,0]")
}

// slowly is a lazy handler whose first argument takes time.
func slowly(c *instancetest.Call) (string, error) {
	rows, _ := c.Argument("rows")
	time.Sleep(2 * autoMinimum) // what a snapshot saves
	how, present := c.Argument("how")
	return fmt.Sprintf("[%q,%q,%v,%d]", rows, how, present, c.Before), nil
}

// TestArgumentPolicy: what recurs and takes time is captured, once, and used where it
// fits.
func TestArgumentPolicy(t *testing.T) {
	s := newFakeService(t, &instancetest.Runtime{Handlers: map[string]instancetest.Handler{"slowly": slowly}}, Options{PoolSize: 1, AutoArguments: true})
	s.deploy("f", "slowly", true)
	paths := func(rows, how string) StartPath {
		return s.want(ask("f", fmt.Sprintf(`{"rows": %s, "how": %s}`, rows, how)), fmt.Sprintf(`["%s","%s",true,0]`, rows, how)).Path
	}
	for n, want := range []StartPath{PathFunction, PathFunction, PathArgument, PathArgument} {
		if got := paths("1", fmt.Sprint(n)); got != want {
			t.Errorf("invocation %d started from %s, want %s", n, got, want)
		}
	}
	if got := paths("2", "1"); got != PathFunction {
		t.Errorf("another argument started from %s", got)
	}
	if n := s.Stats().Captures; n != 3 { // base, function, argument
		t.Errorf("%d captures", n)
	}
	list, err := s.Explain("f", []byte(`{"rows": 1}`))
	if err != nil || len(list) == 0 || !list[len(list)-1].Chosen {
		t.Errorf("%+v, %v", list, err)
	}
	// By hand, at the key that the event does not have; twice it is the same.
	n, err := s.CaptureArgument(t.Context(), "f", Capture{Event: []byte(`{"rows": 3}`)})
	if err != nil || n.Kind != lineage.KindArgument || n.Key.NextKey != "how" {
		t.Fatalf("%+v, %v", n, err)
	}
	if again, err := s.CaptureArgument(t.Context(), "f", Capture{Event: []byte(`{"rows": 3}`), StopAt: "how"}); err != nil || again.ID != n.ID {
		t.Errorf("%v, %v", again, err)
	}
	if _, err := s.CaptureArgument(t.Context(), "f", Capture{Event: []byte(`{"rows": 3, "how": 1}`), StopAt: "never"}); !errors.Is(err, ErrNotAsked) {
		t.Error(err)
	}
	if got := paths("3", "9"); got != PathArgument {
		t.Errorf("what was captured by hand is not used: %s", got)
	}
}

// TestRestoreWaitsForNoDeployment: a function whose snapshot has gone is made again
// while another one's deployment takes its time.
func TestRestoreWaitsForNoDeployment(t *testing.T) {
	entered, leave := make(chan bool, 1), make(chan bool)
	r := &instancetest.Runtime{Handlers: map[string]instancetest.Handler{"echo": echo}, Imported: func(module string) error {
		if module == "slow" {
			entered <- true
			<-leave
		}
		return nil
	}}
	s := newFakeService(t, r, Options{PoolSize: 2})
	n := s.deploy("quick", "echo", false)
	deployed := make(chan error, 1)
	go func() {
		_, err := s.Deploy(t.Context(), FunctionSpec{Name: "late", Handler: "echo.handler", Imports: []string{"slow"}, Files: map[string][]byte{"f": nil}})
		deployed <- err
	}()
	<-entered
	if err := s.RemoveNode(n.ID, false); err != nil {
		t.Fatal(err)
	}
	s.want(ask("quick", "1"), "[1,0]")
	if _, err := s.Configure("quick", "", func(s *functions.Settings) { s.Description = "d" }); err != nil {
		t.Error(err)
	}
	if _, err := s.Collect(lineage.GCOptions{Budget: 1}); err != nil { // nor does a collection
		t.Error(err)
	}
	leave <- true
	if err := <-deployed; err != nil {
		t.Error(err)
	}
	s.want(ask("late", "2"), "[2,0]")
}

// TestCachesFollow: what is kept of functions, nodes and deployments is never older than
// they are, though nobody says that they changed.
func TestCachesFollow(t *testing.T) {
	first := func(*instancetest.Call) (string, error) { return "1", nil }
	second := func(*instancetest.Call) (string, error) { return "2", nil }
	s := newFakeService(t, &instancetest.Runtime{Handlers: map[string]instancetest.Handler{"first": first, "second": second}}, Options{PoolSize: 1})
	s.deploy("f", "first", false)
	s.want(ask("f", "0"), "1")
	kept, err := s.Lookup("f")
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := s.Lookup("f"); again != kept || again.built.Load() == nil {
		t.Error("nothing is kept")
	}
	if _, err := s.Publish("f", "", "", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutAlias("f", "live", true, "", func(a *functions.Alias) { a.Version = "1" }); err != nil {
		t.Fatal(err)
	}
	s.deploy("f", "second", false)
	s.want(ask("f", "0"), "2")
	for _, name := range []string{"f:1", "f:live"} {
		if r := s.want(ask(name, "0"), "1"); r.Version != "1" {
			t.Errorf("%s ran version %q", name, r.Version)
		}
	}
	limit := 3
	if _, err := s.Configure("f", "", func(s *functions.Settings) { s.Concurrency = &limit }); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"f", "f:1", "f:live"} {
		if f, err := s.Lookup(name); err != nil || f.Limit != limit || f.Base() != "f" {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
	// A deployment that was looked up before it changed is still what it was.
	r := ask("f", "0")
	r.Deployment = kept
	s.want(r, "1")
	if err := s.RemoveFunction("f"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Invoke(t.Context(), ask("f", "0")); !errors.Is(err, ErrUnknownFunction) {
		t.Error(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) { // what nobody asks for is let go of too
		held := 0
		for _, k := range s.snapshots.All() {
			if k.Node.Kind == lineage.KindFunction {
				held++
			}
		}
		if held == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d snapshots of nodes that are gone are kept", held)
		}
	}
}
