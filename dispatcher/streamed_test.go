package dispatcher

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher/instance/instancetest"
	"seuss/guest"
)

// TestDriverStreams: what a driver's function streams is given away as it comes, also where
// the instance sleeps in between; where nobody takes it, it is the result. Its error comes
// behind it, and a driver that breaks the rules ends its instance and no other.
func TestDriverStreams(t *testing.T) {
	seen := make(chan struct{}, 1)
	handler := func(c *instancetest.Call) (string, error) {
		how := string(c.Event)
		switch how {
		case `"out of turn"`:
			c.Piece([]byte("x"))
		case `"twice"`:
			c.Stream("a/b")
			c.Stream("a/b")
		case `"long type"`:
			c.Stream(strings.Repeat("a", 300))
		case `"much"`:
			c.Stream("a/b")
			for range guest.ResultBytes >> 20 {
				c.Piece(make([]byte, 1<<20))
			}
			c.Piece([]byte("x"))
		case `"nothing"`:
			c.Stream("a/b")
		case `"json"`:
			c.Stream("application/json")
			c.Piece([]byte(`{"a":`))
			c.Piece([]byte(`1}`))
		case `"binary"`:
			c.Stream("a/b")
			c.Piece([]byte{0xff})
		case `"exits"`:
			c.Stream("a/b")
			c.Piece([]byte("half"))
			c.CPU.Exit(3)
		default:
			c.Stream("text/plain")
			c.Piece([]byte("one "))
			c.Piece(nil)
			c.Piece([]byte("two "))
			for waits := how == `"waits"`; waits; { // until what it has said is read
				select {
				case <-seen:
					waits = false
				default:
					c.Sleep(time.Millisecond)
				}
			}
			c.Piece([]byte("three"))
			if how == `"fails"` {
				return "", errors.New("half way")
			}
		}
		return "null", nil
	}
	s := newFakeService(t, &instancetest.Runtime{Handlers: map[string]instancetest.Handler{"f": handler, "echo": echo}}, Options{PoolSize: 1})
	s.deploy("f", "f", false)
	for _, x := range []struct{ event, streamed, output, failure string }{
		{`"all"`, "text/plain: one two three", `"one two three"`, ""},
		{`"fails"`, "text/plain: one two three", "", "Error"},
		{`"json"`, `application/json: {"a":1}`, `{"a":1}`, ""},
		{`"binary"`, "a/b: \xff", "", "Runtime.MarshalError"},
		{`"nothing"`, ": ", `""`, ""},
		{`"exits"`, "a/b: half", "", "Runtime.ExitError"},
		{`"out of turn"`, ": ", "", "Runtime.ExitError"},
		{`"twice"`, ": ", "", "Runtime.ExitError"},
		{`"long type"`, ": ", "", "Runtime.ExitError"},
		{`"much"`, "a/b: " + strings.Repeat("\x00", guest.ResultBytes), "", "Runtime.ExitError"},
	} {
		for _, stream := range []bool{true, false} {
			r, kind, got := ask("f", x.event), "", []byte{}
			if stream {
				r.Stream = func(contentType string, p []byte) {
					kind, got = contentType, append(got, p...)
				}
			}
			result, err := s.Invoke(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			failure := ""
			if result.Error != nil {
				failure = result.Error.Type
			}
			if failure != x.failure && !(stream && x.failure == "Runtime.MarshalError") { // of bytes that are no JSON
				t.Errorf("%s, stream %t: %v, want %q", x.event, stream, result.Error, x.failure)
			}
			if stream && (fmt.Sprintf("%s: %s", kind, got) != x.streamed || len(result.Output) != 0) {
				t.Errorf("%s: %s: %.50q and %.50q", x.event, kind, got, result.Output)
			}
			if !stream && string(result.Output) != x.output {
				t.Errorf("%s: %.50q, want %s", x.event, result.Output, x.output)
			}
		}
	}
	r := ask("f", `"waits"`)
	read := ""
	r.Stream = func(_ string, p []byte) {
		if read += string(p); read == "one two " {
			seen <- struct{}{}
		}
	}
	if _, err := s.Invoke(t.Context(), r); err != nil || read != "one two three" {
		t.Errorf("%q, %v", read, err)
	}
	s.deploy("echo", "echo", false)
	s.want(ask("echo", "1"), "[1,0]")
}
