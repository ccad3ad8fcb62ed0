package server

import (
	"errors"
	"net/http/httptest"
	"testing"

	"golang.org/x/sync/semaphore"
)

// TestFeed: whoever makes an answer does not wait for a reader that takes nothing; what
// waits has the bound of all bodies, beyond which the answer is not whole, and says so.
func TestFeed(t *testing.T) {
	s := &Server{bodies: semaphore.NewWeighted(8)}
	r := httptest.NewRequest("GET", "/", nil)
	st := &request{server: s}
	f := NewFeed(r)
	f.st = st
	reading, resume := make(chan struct{}), make(chan struct{})
	done := make(chan string)
	go func() {
		var got string
		f.Each(func(kind string, p []byte) error {
			if got == "" {
				close(reading)
				<-resume
			}
			got += kind + string(p)
			return nil
		})
		done <- got
	}()
	f.Put("k", []byte("abcd"))
	<-reading
	f.Put("k", []byte("efgh")) // nobody reads
	f.Put("k", []byte("i"))
	f.End()
	if !errors.Is(f.Err(), errBodies) || st.held != 8 {
		t.Errorf("%v, %d bytes held", f.Err(), st.held)
	}
	close(resume)
	if got := <-done; got != "kabcdkefgh" {
		t.Errorf("%q", got)
	}

	f = NewFeed(r)
	gone := errors.New("the reader has gone")
	f.Put("", []byte("a"))
	f.Each(func(string, []byte) error { return gone })
	f.Put("", []byte("b"))
	if !errors.Is(f.Err(), gone) || len(f.pieces) != 0 {
		t.Errorf("%v, %d pieces wait", f.Err(), len(f.pieces))
	}
}
