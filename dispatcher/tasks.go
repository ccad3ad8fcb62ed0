package dispatcher

import (
	"sync"
	"sync/atomic"
	"time"
)

// tasks is the work that nobody's request waits for. It ends with the Dispatcher.
type tasks struct {
	mu      sync.Mutex
	closed  bool
	ends    chan struct{} // closed when it does
	running sync.WaitGroup
	closing atomic.Bool // what is a hint only stops
}

func newTasks() *tasks { return &tasks{ends: make(chan struct{})} }

// background runs f on a goroutine that close waits for; false means that it is too
// late.
func (t *tasks) background(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.running.Go(f)
	return true
}

// begin is background for work that the caller does himself, until end; false means that
// it is too late.
func (t *tasks) begin() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.running.Add(1)
	return true
}

func (t *tasks) end() { t.running.Done() }

// every runs f now and then.
func (t *tasks) every(interval time.Duration, f func(now time.Time)) {
	t.background(func() {
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

// refuse takes no more work, and close waits for what runs.
func (t *tasks) refuse() {
	t.closing.Store(true)
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.closed = true
		close(t.ends)
	}
}

func (t *tasks) close() {
	t.refuse()
	t.running.Wait()
}
