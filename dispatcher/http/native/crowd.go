package native

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"seuss/dispatcher/http/server"
)

// crowd counts who is at something that takes long, by owner.
type crowd struct {
	what      string // they do, for people
	most      int    // of all owners
	mostOfOne int

	mu     sync.Mutex
	all    int
	owners map[string]int
}

// Those that there are. A watcher has all nodes looked at after each change; who waits takes
// a connection and a goroutine; who copies files, two batches of them; who is forwarded, two
// buffers and a stream's bytes.
func newWatchers() *crowd { return &crowd{what: "watch the lineage", most: 64, mostOfOne: 8} }
func newWaiters() *crowd {
	return &crowd{what: "wait for instances and state", most: 4096, mostOfOne: 256}
}
func newForwarders() *crowd {
	return &crowd{what: "connections to ports of instances are forwarded", most: 1024, mostOfOne: 256}
}
func newCopiers() *crowd { return &crowd{what: "copy files of instances", most: 64, mostOfOne: 8} }

// enter lets somebody in, or refuses him.
func (c *crowd) enter(owner string) (leave func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all >= c.most || c.owners[owner] >= c.mostOfOne {
		return nil, &server.Refusal{Status: http.StatusTooManyRequests, RetryAfter: time.Second,
			Message: fmt.Sprintf("too many %s: at most %d of one owner and %d in all may", c.what, c.mostOfOne, c.most)}
	}
	if c.owners == nil {
		c.owners = map[string]int{}
	}
	c.all++
	c.owners[owner]++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.all--
		if c.owners[owner]--; c.owners[owner] == 0 {
			delete(c.owners, owner)
		}
	}, nil
}
