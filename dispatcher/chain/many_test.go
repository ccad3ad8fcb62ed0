package chain

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestManyAbove: where so many may wait for who calls that looking at all of them would hold up
// everybody, a call by a key that runs is refused; a chain that is as long as it may be is not.
func TestManyAbove(t *testing.T) {
	self := make(chan *Caller, MaxDepth)
	s := serve(t, Options{Asking: 4}, map[string]handler{
		"ada/hang": hang,
		"ada/mid": func(ctx context.Context, c *Caller, _ string) (string, error) {
			self <- c
			return hang(ctx, c, "")
		},
	})
	other := s.caller("other")
	s.call(other, "hang", "", Ask{Key: "k"})
	s.call(s.caller("r"), "mid", "", Ask{Key: "m"})
	mid := <-self
	for n := range mostAbove - 1 {
		s.call(s.caller(fmt.Sprint("r", n)), "mid", "", Ask{Key: "m"})
	}
	id := s.call(mid, "hang", "", Ask{Key: "k"})
	if err := mid.Cancel(id); err != nil {
		t.Error(err)
	}
	s.call(s.caller("one more"), "mid", "", Ask{Key: "m"})
	if _, err := mid.Call("hang", nil, Ask{Key: "k"}); !errors.Is(err, ErrTooMany) || !strings.Contains(err.Error(), "more than 1000") {
		t.Errorf("%v", err)
	}
	s.call(mid, "hang", "", Ask{}) // without a key it is nobody else's

	deep := s.caller("top")
	for range MaxDepth - 2 {
		s.call(deep, "mid", "", Ask{})
		deep = <-self
	}
	s.call(deep, "hang", "", Ask{Key: "k"})
}

// TestExpire: what was kept for long enough is not found again, and each who calls has only some
// of it forgotten.
func TestExpire(t *testing.T) {
	runs := 0
	s := serve(t, Options{}, map[string]handler{"ada/count": func(context.Context, *Caller, string) (string, error) {
		runs++
		return fmt.Sprint(runs), nil
	}})
	c := s.caller("r1")
	const kept = 3*slice + 1
	for n := range kept {
		s.want(c, s.call(c, "count", "", Ask{Key: fmt.Sprint(n)}), fmt.Sprint(n+1))
	}
	s.want(c, s.call(c, "count", "", Ask{Key: "5"}), "6")
	s.Chains.mu.Lock()
	s.o.Keep = time.Nanosecond
	s.Chains.mu.Unlock()
	last := fmt.Sprint(kept - 1)
	s.want(c, s.call(c, "count", "", Ask{Key: last}), fmt.Sprint(kept+1))
	if st := s.Stats(); st.Kept != kept-slice {
		t.Errorf("%d are kept of %d", st.Kept, kept)
	}
}

// TestGiveWay: kept results give way, the oldest first, but those that somebody has joined.
func TestGiveWay(t *testing.T) {
	s := serve(t, Options{Calls: 8}, map[string]handler{"ada/echo": echo})
	c, joined := s.caller("r1"), s.caller("r2")
	do := func(key string) { s.want(c, s.call(c, "echo", key, Ask{Key: key}), key) }
	for _, key := range []string{"0", "1", "2"} {
		do(key)
	}
	id := s.call(joined, "echo", "1", Ask{Key: "1"})
	for _, key := range []string{"3", "4", "5", "6", "7"} { // six is an owner's
		do(key)
	}
	for key, want := range map[string]bool{"0": false, "1": true, "2": false, "3": true, "7": true} {
		s.Chains.mu.Lock()
		_, kept := s.keys["ada/echo\x00"+key]
		s.Chains.mu.Unlock()
		if kept != want {
			t.Errorf("%s is kept: %v", key, kept)
		}
	}
	s.want(joined, id, "1")
	do("8")
	do("9") // now it is the last that gives way
	if st := s.Stats(); st.Kept != 6 || s.idle.Len() != 6 {
		t.Errorf("%+v, %d idle", st, s.idle.Len())
	}
}

// BenchmarkFirst waits for the first of as many calls as one may have, none of which is over.
func BenchmarkFirst(b *testing.B) {
	c, ids := full(b)
	for b.Loop() {
		if _, err := c.First(expired, ids); !errors.Is(err, context.DeadlineExceeded) {
			b.Fatal(err)
		}
	}
}

// BenchmarkBeside makes calls while another owner's instance asks for the first of as many as
// it may have, again and again.
func BenchmarkBeside(b *testing.B) {
	c, ids := full(b)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			default:
				_, _ = c.First(expired, ids)
			}
		}
	}()
	defer close(done)
	bob, err := c.c.Open(Who{Owner: "bob", Function: "f", Link: Link{Request: "b", Root: "b"}, Rights: Rights{"*"}})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		id, err := bob.Call("x", nil, Ask{})
		if err == nil {
			err = bob.Cancel(id)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

func full(b *testing.B) (*Caller, []string) {
	c := New(Options{Run: func(ctx context.Context, _ *Call, _ func()) ([]byte, error) {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}})
	b.Cleanup(c.Close)
	caller, err := c.Open(Who{Owner: "ada", Function: "f", Link: Link{Request: "a", Root: "a"}, Rights: Rights{"*"}})
	if err != nil {
		b.Fatal(err)
	}
	ids := make([]string, MaxCalls)
	for i := range ids {
		if ids[i], err = caller.Call("x", nil, Ask{}); err != nil {
			b.Fatal(err)
		}
	}
	return caller, ids
}

// BenchmarkFull makes calls with keys where all room is taken by kept results, of which only
// another owner's give way.
func BenchmarkFull(b *testing.B) {
	c := New(Options{Calls: 40_000, Run: func(context.Context, *Call, func()) ([]byte, error) { return nil, nil }})
	b.Cleanup(c.Close)
	open := func(owner, request string) *Caller {
		caller, err := c.Open(Who{Owner: owner, Function: "f", Link: Link{Request: request, Root: request}, Rights: Rights{"*"}})
		if err != nil {
			b.Fatal(err)
		}
		return caller
	}
	do := func(c *Caller, key string, await bool) {
		id, err := c.Call("x", nil, Ask{Key: key})
		if err == nil && await {
			_, err = c.Await(b.Context(), id)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	ada := open("ada", "0")
	for n := range 20_000 {
		do(ada, fmt.Sprint(n), true)
	}
	for h := range 2 { // and all of it is held by somebody
		holds := open("ada", fmt.Sprint("h", h))
		for n := range MaxCalls {
			do(holds, fmt.Sprint(h*MaxCalls+n), false)
		}
	}
	bob := open("bob", "b")
	n := 0
	for b.Loop() {
		n++
		do(bob, fmt.Sprint(n), true)
	}
}
