package chain

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// service runs what is called as the test says.
type service struct {
	*Chains
	t *testing.T

	mu  sync.Mutex
	ran []string // functions, in order
}

// handler is what a function does; ctx is the instance's, which is a caller too.
type handler func(ctx context.Context, self *Caller, event string) (string, error)

func serve(t *testing.T, o Options, handlers map[string]handler) *service {
	s := &service{t: t}
	o.Run = func(ctx context.Context, call *Call, began func()) ([]byte, error) {
		h := handlers[call.Function]
		if h == nil {
			return nil, fmt.Errorf("%w: no function %q", ErrNotFound, call.Function)
		}
		began()
		s.mu.Lock()
		s.ran = append(s.ran, call.Function)
		s.mu.Unlock()
		self, err := s.Open(Who{Owner: "ada", Function: call.Function[len("ada/"):], Link: call.Link, Rights: Rights{"*"}, Deadline: call.Deadline})
		if err != nil {
			return nil, err
		}
		defer self.Close()
		out, err := h(ctx, self, string(call.Event))
		return []byte(out), err
	}
	s.Chains = New(o)
	t.Cleanup(func() {
		s.Close()
		if s.taken != (amount{}) || len(s.owners)+len(s.keys)+len(s.queues)+len(s.runs)+len(s.open) > 0 || s.kept.Len()+s.idle.Len() > 0 || s.stats.Waiting != 0 {
			t.Errorf("left at the end: %+v, %d owners, %d keys, %d queues, %d runs, %+v", s.taken, len(s.owners), len(s.keys), len(s.queues), len(s.runs), s.stats)
		}
	})
	return s
}

// caller is an instance of ada's, or of another owner's.
func (s *service) caller(request string, change ...func(*Who)) *Caller {
	s.t.Helper()
	who := Who{Owner: "ada", Function: "main", Link: Link{Request: request, Root: request}, Rights: Rights{"*"}}
	for _, f := range change {
		f(&who)
	}
	c, err := s.Open(who)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}

func (s *service) call(c *Caller, function, event string, ask Ask) string {
	s.t.Helper()
	id, err := c.Call(function, []byte(event), ask)
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

func (s *service) want(c *Caller, id, want string) {
	s.t.Helper()
	if out, err := c.Await(s.t.Context(), id); err != nil || string(out) != want {
		s.t.Errorf("%q, %v; want %q", out, err, want)
	}
}

// until waits until something is so.
func (s *service) until(what string, so func(Stats) bool) {
	s.t.Helper()
	for end := time.Now().Add(20 * time.Second); !so(s.Stats()); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("not in time: %s; %+v", what, s.Stats())
		}
	}
}

func echo(_ context.Context, _ *Caller, event string) (string, error) { return event, nil }

// hang waits until it is ended.
func hang(ctx context.Context, _ *Caller, _ string) (string, error) {
	<-ctx.Done()
	return "", context.Cause(ctx)
}

var expired = func() context.Context {
	ctx, cancel := context.WithDeadline(context.Background(), time.Unix(0, 0))
	cancel()
	return ctx
}()

func TestCall(t *testing.T) {
	s := serve(t, Options{Asking: 2}, map[string]handler{
		"ada/echo": echo, "ada/hang": hang,
		"ada/fail": func(context.Context, *Caller, string) (string, error) {
			return "", &Failure{Type: "ValueError", Message: "no", Trace: []string{"line 1"}}
		},
	})
	c := s.caller("r1")
	s.want(c, s.call(c, "echo", "1", Ask{}), "1")
	if _, err := c.Await(t.Context(), s.call(c, "echo:live", "", Ask{})); !errors.Is(err, ErrNotFound) {
		t.Errorf("a qualifier that there is not: %v", err)
	}
	id := s.call(c, "fail", "", Ask{})
	var own *Failure
	if _, err := c.Await(t.Context(), id); !errors.As(err, &own) || own.Type != "ValueError" || len(own.Trace) != 1 {
		t.Errorf("%v", err)
	}
	if _, err := c.Await(t.Context(), id); !errors.Is(err, ErrNotFound) {
		t.Errorf("awaited twice: %v", err)
	}
	long := s.call(c, "hang", "", Ask{})
	if _, err := c.Await(expired, long); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	short := s.call(c, "echo", "2", Ask{})
	if first, err := c.First(t.Context(), []string{long, short}); err != nil || first != short {
		t.Errorf("%q, %v", first, err)
	}
	if _, err := c.First(expired, []string{long}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if err := c.Cancel(long); err != nil {
		t.Error(err)
	}
	if err := c.Cancel(long); !errors.Is(err, ErrNotFound) {
		t.Errorf("cancelled twice: %v", err)
	}
	s.want(c, short, "2")
}

// TestRefused: what may not be called is refused by name.
func TestRefused(t *testing.T) {
	s := serve(t, Options{}, map[string]handler{"ada/echo": echo})
	c := s.caller("r1", func(w *Who) { w.Rights = Rights{"echo", "thumb-*"}; w.Deadline = time.Now().Add(time.Hour) })
	none := s.caller("r2", func(w *Who) { w.Rights = nil })
	late := s.caller("r3", func(w *Who) { w.Deadline = time.Now().Add(-time.Second) })
	deep := s.caller("r4", func(w *Who) { w.Link.Above = make([]string, MaxDepth-1) })
	for _, test := range []struct {
		c        *Caller
		function string
		event    int
		key      string
		want     error
		text     string
	}{
		{c, "other", 0, "", ErrForbidden, "may call echo, thumb-*"},
		{c, "thumb", 0, "", ErrForbidden, "--call thumb"},
		{none, "echo", 0, "", ErrForbidden, "calls no others"},
		{c, "bob/echo", 0, "", ErrInvalid, "same owner"},
		{c, "echo:a b", 0, "", ErrInvalid, ""},
		{c, "", 0, "", ErrInvalid, ""},
		{c, "echo", MaxEvent + 1, "", ErrTooLarge, "6291457"},
		{c, "echo", 0, strings.Repeat("k", MaxKey+1), ErrInvalid, ""},
		{late, "echo", 0, "", ErrTimeout, ""},
		{deep, "echo", 0, "", ErrTooDeep, "the 65th"},
	} {
		if _, err := test.c.Call(test.function, make([]byte, test.event), Ask{Key: test.key}); !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%q: %v, want %v, %s", test.function, err, test.want, test.text)
		}
	}
	for _, id := range []string{"r1", "r2", "", "thumb"} { // its own, another's, and none
		_, err := c.Await(t.Context(), id)
		if want := map[bool]error{true: ErrDeadlock, false: ErrNotFound}[id == "r1" || id == ""]; !errors.Is(err, want) {
			t.Errorf("await of %q: %v", id, err)
		}
		if err := c.Cancel(id); !errors.Is(err, ErrNotFound) {
			t.Errorf("cancel of %q: %v", id, err)
		}
	}
	id := s.call(c, "echo", "1", Ask{})
	other := s.caller("r5")
	if _, err := other.Await(t.Context(), id); !errors.Is(err, ErrNotFound) {
		t.Errorf("another's call is awaited: %v", err)
	}
	if err := other.Cancel(id); !errors.Is(err, ErrNotFound) {
		t.Errorf("another's call is cancelled: %v", err)
	}
	if _, err := c.First(t.Context(), []string{"r5", id}); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
	for _, n := range []int{0, MaxCalls + 1} {
		if _, err := c.First(t.Context(), make([]string, n)); !errors.Is(err, ErrInvalid) {
			t.Errorf("the first of %d: %v", n, err)
		}
	}
	s.want(c, id, "1")
	for _, bad := range [][]string{{"a/b"}, {""}, {"a", "a"}, {"[a]"}, make([]string, MaxRights+1)} {
		if _, err := ParseRights(bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestDeadlines shrink along a chain, and what has not begun when its time is over has ended.
func TestDeadlines(t *testing.T) {
	var got []time.Time
	handlers := map[string]handler{"ada/down": nil}
	handlers["ada/down"] = func(ctx context.Context, self *Caller, event string) (string, error) {
		got = append(got, self.who.Deadline)
		if len(event) == 0 {
			return "", nil
		}
		id, err := self.Call("down", []byte(event[1:]), Ask{})
		if err != nil {
			return "", err
		}
		out, err := self.Await(ctx, id)
		return string(out), err
	}
	s := serve(t, Options{}, handlers)
	at := time.Now().Add(time.Minute)
	c := s.caller("r1", func(w *Who) { w.Deadline = at })
	s.want(c, s.call(c, "down", "1234", Ask{}), "")
	got = append([]time.Time{at}, got...)
	if len(got) != 6 {
		t.Fatalf("%d ran", len(got)-1)
	}
	for i := range got[1:] {
		if d := got[i].Sub(got[i+1]); d <= 0 || d > margin {
			t.Errorf("the %dth has %v less than its caller", i, d)
		}
	}
	s.want(c, s.call(c, "down", "", Ask{Within: 20 * time.Second}), "")
	if own := got[len(got)-1]; len(got) != 7 || !own.Before(got[1]) {
		t.Errorf("of its own time: %v, its caller's is over at %v", got[6:], at)
	}

	stuck := serve(t, Options{Asking: 1}, nil)
	stuck.Serve(func(ctx context.Context, c *Call, _ func()) ([]byte, error) {
		<-ctx.Done() // it never has its turn
		return nil, context.Cause(ctx)
	})
	c = stuck.caller("r1")
	for _, id := range []string{stuck.call(c, "a", "", Ask{Within: 10 * time.Millisecond}), stuck.call(c, "a", "", Ask{Within: 10 * time.Millisecond})} {
		if _, err := c.Await(t.Context(), id); !errors.Is(err, ErrTimeout) {
			t.Errorf("%v", err)
		}
	}
}

// TestCallerEnds: what nobody waits for any more is cancelled, whether it runs or waits, and so
// is what that has called.
func TestCallerEnds(t *testing.T) {
	s := serve(t, Options{Asking: 1}, map[string]handler{
		"ada/hang": hang,
		"ada/up": func(ctx context.Context, self *Caller, _ string) (string, error) {
			id, err := self.Call("hang", nil, Ask{})
			if err != nil {
				return "", err
			}
			_, err = self.Await(ctx, id)
			return "", err
		},
	})
	c := s.caller("r1")
	for range 3 {
		s.call(c, "up", "", Ask{})
	}
	s.until("all run", func(st Stats) bool { return st.Open == 6 && st.Waiting == 0 })
	waits := make(chan error, 1)
	go func() {
		_, err := c.Await(context.Background(), s.call(c, "hang", "", Ask{}))
		waits <- err
	}()
	s.until("it waits", func(st Stats) bool { return st.Open == 7 })
	c.Close()
	if err := <-waits; !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
	s.until("all are cancelled", func(st Stats) bool { return st.Open == 0 })
	if _, err := c.Call("hang", nil, Ask{}); !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
}

// TestSameRequest: callers whose requests are called the same, as instances that live on of two
// owners may be, do not come into each other's way, and all are ended with the Chains.
func TestSameRequest(t *testing.T) {
	s := serve(t, Options{Asking: 4}, map[string]handler{"ada/hang": hang, "bob/hang": hang})
	all := []*Caller{s.caller("box"), s.caller("box", func(w *Who) { w.Owner = "bob" }), s.caller("box")}
	for _, c := range all {
		s.call(c, "hang", "", Ask{})
	}
	all[1].Close()
	s.until("his is cancelled, and no other", func(st Stats) bool { return st.Open == 2 })
	s.Close()
	for _, c := range all {
		if _, err := c.Call("hang", nil, Ask{}); !errors.Is(err, ErrClosed) {
			t.Errorf("%v", err)
		}
	}
}

// TestKeys: a call with a key is one, while it runs and for a while after.
func TestKeys(t *testing.T) {
	gate := make(chan struct{})
	fails := 1
	s := serve(t, Options{Asking: 4}, map[string]handler{
		"ada/slow": func(ctx context.Context, _ *Caller, event string) (string, error) {
			select {
			case <-gate:
			case <-ctx.Done():
				return "", context.Cause(ctx)
			}
			return event, nil
		},
		"ada/fails": func(context.Context, *Caller, string) (string, error) {
			if fails--; fails >= 0 {
				return "", &Failure{Type: "E"}
			}
			return "2", nil
		},
		"ada/self": func(ctx context.Context, self *Caller, _ string) (string, error) {
			_, err := self.Call("self", nil, Ask{Key: "k"})
			return fmt.Sprint(errors.Is(err, ErrDeadlock)), nil
		},
		"ada/ring": func(ctx context.Context, self *Caller, _ string) (string, error) {
			id, err := self.Call("self2", nil, Ask{})
			if err != nil {
				return "", err
			}
			out, err := self.Await(ctx, id)
			return string(out), err
		},
		"ada/self2": func(ctx context.Context, self *Caller, _ string) (string, error) {
			_, err := self.Call("ring", nil, Ask{Key: "ring"})
			return fmt.Sprint(errors.Is(err, ErrDeadlock)), nil
		},
	})
	a, b := s.caller("r1"), s.caller("r2")
	twice := []string{s.call(b, "slow", "2", Ask{Key: "twice"}), s.call(b, "slow", "2", Ask{Key: "twice"})}
	one, two := s.call(a, "slow", "1", Ask{Key: "k"}), s.call(b, "slow", "1", Ask{Key: "k"})
	if one != two {
		t.Error("two calls with one key")
	}
	if _, err := b.Call("slow", []byte("other"), Ask{Key: "k"}); !errors.Is(err, ErrMismatch) {
		t.Errorf("%v", err)
	}
	a.Close() // the other one still waits
	close(gate)
	s.want(b, two, "1")
	for _, id := range twice { // of one caller's, too, each gets it
		s.want(b, id, "2")
	}
	if _, err := b.Await(t.Context(), twice[0]); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
	c := s.caller("r3")
	s.want(c, s.call(c, "slow", "1", Ask{Key: "k"}), "1")
	if st := s.Stats(); st.Calls != 2 || st.Kept != 2 {
		t.Errorf("%+v", st)
	}
	if _, err := c.Await(t.Context(), s.call(c, "fails", "", Ask{Key: "k"})); err == nil {
		t.Error("it has not failed")
	}
	s.want(c, s.call(c, "fails", "", Ask{Key: "k"}), "2") // what has failed is tried again
	s.want(c, s.call(c, "self", "", Ask{Key: "k"}), "true")
	s.want(c, s.call(c, "ring", "", Ask{Key: "ring"}), "true")
	s.mu.Lock()
	s.o.Keep = time.Nanosecond
	s.mu.Unlock()
	s.call(c, "slow", "5", Ask{})
	if st := s.Stats(); st.Kept != 0 {
		t.Errorf("%+v", st)
	}
}
