package server

import (
	"net/http"
	"sync"
	"time"
)

// Feed hands an answer on as it is made: whoever makes it does not wait for its reader.
// What was made and not written yet counts, with what was, among the bodies of all
// requests until the request is answered. It waits in one piece: what is kept beside it
// does not grow with the number of the pieces that it came in.
//
// Its methods are for the request's own goroutine; it writes on another.
type Feed struct {
	st      *request
	control *http.ResponseController
	done    chan struct{} // nothing is written any more

	mu    sync.Mutex // a leaf
	more  sync.Cond
	kind  string // content type of the first piece
	wait  []byte // what is not written yet
	begun bool
	ended bool
	err   error // why nothing more is taken
}

// NewFeed makes one for the answer to a request. What comes is given to write, with the
// content type of its first piece, up to the end or to the first error. Wait must be called.
func NewFeed(w http.ResponseWriter, r *http.Request, write func(kind string, p []byte) error) *Feed {
	f := &Feed{st: stateOf(r), control: http.NewResponseController(w), done: make(chan struct{})}
	f.more.L = &f.mu
	go f.each(write)
	return f
}

// Put takes a piece of the answer and its content type. It is a contracts.Stream.
func (f *Feed) Put(kind string, p []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil || len(p) == 0 {
		return
	}
	n := int64(len(p))
	if !f.begun {
		n += int64(len(kind))
	}
	if f.st != nil {
		if !f.st.server.bodies.TryAcquire(n) {
			f.err = errBodies
			return
		}
		f.st.held += n
	}
	if !f.begun {
		f.begun, f.kind = true, kind
	}
	f.wait = append(f.wait, p...)
	f.more.Signal()
}

// End says that nothing more comes. From then on the reader has as long as a body may take:
// what waits for him is memory that others want.
func (f *Feed) End() {
	f.mu.Lock()
	was := f.ended
	f.ended = true
	f.more.Signal()
	f.mu.Unlock()
	if !was {
		_ = f.control.SetWriteDeadline(time.Now().Add(bodyTimeout)) // a writer of tests has none
	}
}

// Wait waits until what has come is written, or never will be. It is an End, too.
func (f *Feed) Wait() {
	f.End()
	<-f.done
	_ = f.control.SetWriteDeadline(time.Time{})
}

// Begun reports whether anything has come.
func (f *Feed) Begun() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.begun
}

// Err is why the answer is not whole: there was no memory for it, or write failed.
func (f *Feed) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

func (f *Feed) each(write func(kind string, p []byte) error) {
	defer close(f.done)
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		for len(f.wait) == 0 && !f.ended {
			f.more.Wait()
		}
		if len(f.wait) == 0 {
			return
		}
		next := f.wait
		f.wait = nil
		f.mu.Unlock()
		err := write(f.kind, next) // which is as it is once anything has come
		f.mu.Lock()
		if err != nil {
			f.err, f.wait = err, nil
			return
		}
	}
}
