package server

import (
	"net/http"
	"sync"
)

// Feed hands an answer on as it is made: whoever makes it does not wait for its reader.
// What was made and not written yet counts, with what was, among the bodies of all
// requests until the request is answered.
//
// Put and End are for the request's own goroutine, Each for another.
type Feed struct {
	st *request

	mu     sync.Mutex // a leaf
	more   sync.Cond
	pieces []piece
	begun  bool
	ended  bool
	err    error // why nothing more is taken
}

type piece struct {
	kind  string
	bytes []byte
}

// NewFeed makes one for the answer to a request.
func NewFeed(r *http.Request) *Feed {
	f := &Feed{st: stateOf(r)}
	f.more.L = &f.mu
	return f
}

// Put takes a piece of the answer and its content type. It is a contracts.Stream.
func (f *Feed) Put(kind string, p []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil || len(p) == 0 {
		return
	}
	if f.st != nil {
		if n := int64(len(p)); f.st.server.bodies.TryAcquire(n) {
			f.st.held += n
		} else {
			f.err = errBodies
			return
		}
	}
	f.begun = true
	f.pieces = append(f.pieces, piece{kind, append([]byte(nil), p...)})
	f.more.Signal()
}

// End says that nothing more comes.
func (f *Feed) End() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	f.more.Signal()
}

// Begun reports whether anything has come: after an End that Each has come to, whether an
// answer has begun.
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

// Each writes what comes, up to the end or to the first error of write.
func (f *Feed) Each(write func(kind string, p []byte) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		for len(f.pieces) == 0 && !f.ended {
			f.more.Wait()
		}
		if len(f.pieces) == 0 {
			return
		}
		next := f.pieces[0]
		f.pieces = f.pieces[1:]
		f.mu.Unlock()
		err := write(next.kind, next.bytes)
		f.mu.Lock()
		if err != nil {
			f.err, f.pieces = err, nil
			return
		}
	}
}
