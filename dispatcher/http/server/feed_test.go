package server

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/semaphore"
)

// fed makes a request whose bodies have a budget.
func fed(budget int64) (*request, *http.Request) {
	st := &request{server: &Server{bodies: semaphore.NewWeighted(budget)}}
	r := httptest.NewRequest("GET", "/", nil)
	return st, r.WithContext(context.WithValue(r.Context(), requestKey{}, st))
}

// TestFeed: whoever makes an answer does not wait for a reader that takes nothing; what
// waits has the bound of all bodies, beyond which the answer is not whole, and says so.
func TestFeed(t *testing.T) {
	st, r := fed(9)
	reading, resume := make(chan struct{}), make(chan struct{})
	var got string
	f := NewFeed(httptest.NewRecorder(), r, func(kind string, p []byte) error {
		if got == "" {
			close(reading)
			<-resume
		}
		got += kind + string(p)
		return nil
	})
	f.Put("k", []byte("abcd"))
	<-reading
	f.Put("k", []byte("efgh")) // nobody reads
	f.Put("k", []byte("i"))
	f.End()
	if !errors.Is(f.Err(), errBodies) || st.held != 9 {
		t.Errorf("%v, %d bytes held", f.Err(), st.held)
	}
	close(resume)
	if f.Wait(); got != "kabcdkefgh" {
		t.Errorf("%q", got)
	}

	gone := errors.New("the reader has gone")
	f = NewFeed(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil), func(string, []byte) error { return gone })
	f.Put("", []byte("a"))
	<-f.done
	f.Put("", []byte("b"))
	if f.Wait(); !errors.Is(f.Err(), gone) || len(f.wait) != 0 {
		t.Errorf("%v, %d bytes wait", f.Err(), len(f.wait))
	}
}

// TestFeedOfSmallPieces: an answer of many pieces, each with a long type, takes no more than
// its bytes and the first type.
func TestFeedOfSmallPieces(t *testing.T) {
	st, r := fed(1 << 20)
	reading, resume := make(chan struct{}), make(chan struct{})
	var sizes []int
	f := NewFeed(httptest.NewRecorder(), r, func(kind string, p []byte) error {
		if len(sizes) == 0 {
			close(reading)
			<-resume
		}
		if kind != strings.Repeat("a", 1000) {
			t.Errorf("%d bytes of a type", len(kind))
		}
		sizes = append(sizes, len(p))
		return nil
	})
	f.Put(strings.Repeat("a", 1000), []byte("x"))
	<-reading
	const pieces = 10_000
	for range pieces {
		f.Put(strings.Repeat("b", 1000), []byte("x"))
	}
	close(resume)
	if f.Wait(); len(sizes) != 2 || sizes[1] != pieces || st.held != 1000+1+pieces || f.Err() != nil {
		t.Errorf("written in %v, %d bytes held, %v", sizes, st.held, f.Err())
	}
}

// deaf is a writer whose reader takes nothing until the deadline of writes.
type deaf struct {
	http.ResponseWriter
	set  []time.Time
	over chan struct{}
}

func (d *deaf) SetWriteDeadline(at time.Time) error {
	if d.set = append(d.set, at); len(d.set) == 1 {
		close(d.over)
	}
	return nil
}

// TestFeedHasAnEnd: once an answer is made, its reader has a time to take it, and what comes
// behind it on the connection has not.
func TestFeedHasAnEnd(t *testing.T) {
	w := &deaf{ResponseWriter: httptest.NewRecorder(), over: make(chan struct{})}
	f := NewFeed(w, httptest.NewRequest("GET", "/", nil), func(string, []byte) error {
		<-w.over
		return os.ErrDeadlineExceeded
	})
	f.Put("", []byte("a"))
	f.End()
	f.Wait()
	if !errors.Is(f.Err(), os.ErrDeadlineExceeded) || len(w.set) != 2 || w.set[0].IsZero() || !w.set[1].IsZero() {
		t.Errorf("%v, deadlines %v", f.Err(), w.set)
	}
}
