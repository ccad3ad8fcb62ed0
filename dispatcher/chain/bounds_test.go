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

// TestBounds: a caller, an owner and all of them have so many calls and bytes and no more, and
// what one has taken another cannot be refused for.
func TestBounds(t *testing.T) {
	for _, asking := range []int{1, 10_000} {
		s := serve(t, Options{Asking: asking, Calls: 16_000, Host: "host"}, map[string]handler{"ada/hang": hang, "bob/echo": echo})
		c := s.caller("r1")
		fill := func(c *Caller) (n int, err error) {
			for ; err == nil && n < 1_000_000; n++ {
				_, err = c.Call("hang", nil, Ask{})
			}
			return n - 1, err
		}
		if n, err := fill(c); n != MaxCalls || !errors.Is(err, ErrTooMany) || !strings.Contains(err.Error(), "await or cancel") {
			t.Errorf("%d calls: %v", n, err)
		}
		if n, err := fill(s.caller("r2")); n != 2000 || !errors.Is(err, ErrTooMany) || !strings.Contains(err.Error(), "its owner") {
			t.Errorf("%d calls: %v", n, err)
		}
		bob := s.caller("r3", func(w *Who) { w.Owner = "bob" })
		id := s.call(bob, "echo", "1", Ask{})
		if first, err := bob.First(t.Context(), []string{id}); first != id || err != nil {
			t.Error(err)
		}
		var ids []string
		for id := range c.calls {
			ids = append(ids, id)
		}
		if _, err := c.First(expired, ids); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		c.Close()
		s.until("they are cancelled", func(st Stats) bool { return st.Open == 2001 })
	}

	s := serve(t, Options{Bytes: 64 << 10}, map[string]handler{
		"ada/large": func(context.Context, *Caller, string) (string, error) { return strings.Repeat("x", 40<<10), nil },
		"ada/fails": func(context.Context, *Caller, string) (string, error) {
			return "", &Failure{Type: "E", Message: strings.Repeat("x", 20<<10), Trace: []string{strings.Repeat("x", 20<<10)}}
		},
	})
	c := s.caller("r1")
	if _, err := c.Call("large", make([]byte, 40<<10), Ask{}); !errors.Is(err, ErrFull) {
		t.Errorf("%v", err)
	}
	if _, err := c.Await(t.Context(), s.call(c, "large", "", Ask{})); !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "its result of 40960 bytes") {
		t.Errorf("%v", err)
	}
	if _, err := c.Await(t.Context(), s.call(c, "fails", "", Ask{})); !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "its error of 40977 bytes") {
		t.Errorf("%v", err)
	}
	if st := s.Stats(); st.Open != 0 || st.Bytes != 0 {
		t.Errorf("%+v", st)
	}
	// Kept results give way.
	s = serve(t, Options{Calls: 40}, map[string]handler{"ada/echo": echo})
	c = s.caller("r1")
	for n := range 100 {
		s.want(c, s.call(c, "echo", fmt.Sprint(n), Ask{Key: fmt.Sprint(n)}), fmt.Sprint(n))
	}
	if st := s.Stats(); st.Kept != 30 || st.Open != 30 {
		t.Errorf("%+v", st)
	}
	s = serve(t, Options{Bytes: 64 << 10}, map[string]handler{"ada/large": func(context.Context, *Caller, string) (string, error) { return strings.Repeat("x", 10<<10), nil }})
	c = s.caller("r1")
	for n := range 10 {
		s.want(c, s.call(c, "large", "", Ask{Key: fmt.Sprint(n)}), strings.Repeat("x", 10<<10))
	}
	if st := s.Stats(); st.Kept != 3 || st.Open != 3 {
		t.Errorf("%+v", st)
	}
}

// TestTurns: of a function so many ask for a turn at a time, the deepest first, those of others
// do not wait for them, and what is refused is tried again.
func TestTurns(t *testing.T) {
	gate := make(chan struct{})
	var mu sync.Mutex
	var ran []string
	asking, most, tries := 0, 0, 0
	s := serve(t, Options{Asking: 2}, nil)
	s.Serve(func(ctx context.Context, call *Call, began func()) ([]byte, error) {
		mu.Lock()
		if call.Function == "ada/busy" {
			tries++
			if tries < 4 {
				mu.Unlock()
				return nil, &Refusal{errors.New("busy")}
			}
		}
		if call.Function == "ada/a" {
			asking++
			most = max(most, asking)
		}
		mu.Unlock()
		if call.Function == "ada/a" {
			<-gate
			mu.Lock()
			asking--
			mu.Unlock()
		}
		began()
		mu.Lock()
		defer mu.Unlock()
		ran = append(ran, string(call.Event))
		return call.Event, nil
	})
	top, below := s.caller("r1"), s.caller("r2", func(w *Who) { w.Link.Above = []string{"x", "y"} })
	var ids []string
	for range 6 {
		ids = append(ids, s.call(top, "a", "top", Ask{}))
	}
	deep := s.call(below, "a", "below", Ask{})
	s.want(top, s.call(top, "b", "other", Ask{}), "other") // it does not wait for them
	s.want(top, s.call(top, "busy", "again", Ask{}), "again")
	for range 7 {
		gate <- struct{}{}
	}
	s.want(below, deep, "below")
	for _, id := range ids {
		s.want(top, id, "top")
	}
	mu.Lock()
	defer mu.Unlock()
	if most > 2 || tries != 4 {
		t.Errorf("%d ask at a time, %d tries", most, tries)
	}
	if at := strings.Index(strings.Join(ran, " "), "below"); at < 0 || strings.Count(strings.Join(ran, " ")[:at], "top") > 4 {
		t.Errorf("%q", ran)
	}

	s.Serve(func(context.Context, *Call, func()) ([]byte, error) {
		return nil, &Refusal{errors.New("the queue is full")}
	})
	if _, err := top.Await(t.Context(), s.call(top, "a", "", Ask{Within: 50 * time.Millisecond})); !errors.Is(err, ErrTimeout) || !strings.Contains(err.Error(), "the queue is full") {
		t.Errorf("%v", err)
	}
}
