// Package tasks runs the work of a service that nobody's request waits for, and ends with it.
//
// Ownership: whoever makes a Group closes it, and nothing of it runs after that.
//
// Locks: Group.mu, a leaf.
package tasks

import (
	"sync"
	"sync/atomic"
	"time"
)

// Group is such work.
type Group struct {
	mu      sync.Mutex
	closed  bool
	ends    chan struct{}
	running sync.WaitGroup
	closing atomic.Bool
}

// New makes a group of none.
func New() *Group { return &Group{ends: make(chan struct{})} }

// Ends is closed when the group takes no more work.
func (t *Group) Ends() <-chan struct{} { return t.ends }

// Closing reports whether it takes no more, or is about to: what is a hint only stops.
func (t *Group) Closing() bool { return t.closing.Load() }

// Background runs f on a goroutine that Close waits for; false means that it is too
// late.
func (t *Group) Background(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.running.Go(f)
	return true
}

// Begin is Background for work that the caller does himself, until End; false means that
// it is too late.
func (t *Group) Begin() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.running.Add(1)
	return true
}

// End ends what Begin began.
func (t *Group) End() { t.running.Done() }

// Every runs f now and then.
func (t *Group) Every(interval time.Duration, f func(now time.Time)) {
	t.Background(func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-t.ends:
				return
			case now := <-tick.C:
				f(now)
			}
		}
	})
}

// Refuse takes no more work, and Close waits for what runs.
func (t *Group) Refuse() {
	t.closing.Store(true)
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.closed = true
		close(t.ends)
	}
}

// Close is Refuse, and waits for what runs.
func (t *Group) Close() {
	t.Refuse()
	t.running.Wait()
}
