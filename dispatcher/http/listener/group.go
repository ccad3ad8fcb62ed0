// Package listener accepts the connections of an HTTP server so that a write
// never waits for whoever reads: what the socket takes at once is written at
// once, by the caller; what it does not is kept, and written by a goroutine of
// the connection's while the caller goes on. A reader that is slow, or gone,
// costs a buffer, and no machine that waits for its answer to be written.
//
// What such readers may cost has bounds: one that takes nothing for Options.Stall
// is reset, and when all answers that wait exceed Options.WaitingBytes the slowest
// is. A second write on a connection that has much waiting does wait, so that what
// is made piece by piece (an archive, a stream of events) is made at its reader's
// pace; Ready waits before the next request of a connection is looked at.
//
// Units: bytes; time.Duration.
//
// Ownership: a Group owns the goroutines of its connections until Close. A
// connection that is closed while an answer waits stays open for that, and counts
// among the connections of its listener until then.
//
// Locks: Conn.mu before Group.mu; nothing that can block is called with either
// held.
package listener

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"
)

// Defaults of Options.
const (
	DefaultWaitingBytes = 256 << 20 // forty of the largest results of functions
	DefaultStall        = 10 * time.Second
)

// Options configure a Group; zero values stand for the defaults.
type Options struct {
	WaitingBytes int64         // of answers that wait for their readers, over all connections
	Stall        time.Duration // a reader that takes nothing for so long is reset
	Log          *slog.Logger  // nil: nowhere
}

// Group is the connections of a service, on any number of listeners. They share
// the bounds.
type Group struct {
	o Options

	mu      sync.Mutex
	waiting map[*Conn]struct{} // with an answer that waits
	bytes   int64              // of these
	over    bool               // Close has reset what was left
	empty   chan struct{}      // closed when nothing waits any more; made by Close
}

// NewGroup makes a group without connections.
func NewGroup(o Options) *Group {
	if o.WaitingBytes <= 0 {
		o.WaitingBytes = DefaultWaitingBytes
	}
	if o.Stall <= 0 {
		o.Stall = DefaultStall
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Group{o: o, waiting: map[*Conn]struct{}{}}
}

// WaitingBytes returns how many bytes wait for their readers.
func (g *Group) WaitingBytes() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.bytes
}

// Close waits until every answer is written or ctx ends, and resets the
// connections of those that are left.
func (g *Group) Close(ctx context.Context) error {
	g.mu.Lock()
	if g.empty == nil {
		g.empty = make(chan struct{})
		if len(g.waiting) == 0 {
			close(g.empty)
		}
	}
	empty := g.empty
	g.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	g.over = true
	left := make([]*Conn, 0, len(g.waiting))
	for c := range g.waiting {
		left = append(left, c)
	}
	g.mu.Unlock()
	for _, c := range left {
		c.reset()
	}
	<-empty
	if len(left) == 0 {
		return nil
	}
	return fmt.Errorf("%d answers were not read to their end: %w", len(left), context.Cause(ctx))
}

// errSlow: the connection was reset for what waited on it.
var errSlow = errors.New("the client does not read what it is answered")

// add charges c with n more bytes that wait, and resets the slowest connections
// while there is too much of it; the error says that c is one of these. c.mu is
// held.
func (g *Group) add(c *Conn, n int) error {
	g.mu.Lock()
	if c.charge == 0 {
		c.since, c.taken = time.Now(), 0
	}
	g.waiting[c] = struct{}{}
	if g.over {
		c.evicted = true
	}
	if !c.evicted {
		c.charge += int64(n)
		g.bytes += int64(n)
	}
	var slow []*Conn
	for g.bytes > g.o.WaitingBytes {
		s := g.slowest(time.Now())
		g.bytes -= s.charge
		s.charge, s.evicted = 0, true
		slow = append(slow, s)
	}
	gone := c.evicted
	g.mu.Unlock()
	for _, s := range slow {
		g.o.Log.Warn("too many answers wait for their readers: the slowest is reset", "remote", s.RemoteAddr().String(), "limit_bytes", g.o.WaitingBytes)
		s.reset()
	}
	if gone {
		return errSlow
	}
	return nil
}

// newcomer is how long a reader is not compared with others: it has had no time
// to read.
const newcomer = time.Second

// slowest is the connection whose reader has taken the fewest bytes a second, among
// those that have waited for a while; if there are none, the one with most. g.mu is
// held, and something waits.
func (g *Group) slowest(now time.Time) *Conn {
	var slow, large *Conn
	least := 0.0
	for c := range g.waiting {
		if c.evicted {
			continue
		}
		if large == nil || c.charge > large.charge {
			large = c
		}
		age := now.Sub(c.since)
		if rate := float64(c.taken) / age.Seconds(); age >= newcomer && (slow == nil || rate < least) {
			slow, least = c, rate
		}
	}
	if slow != nil {
		return slow
	}
	return large
}

// took notes that c's reader has taken n bytes, of which freed are in memory no
// more.
func (g *Group) took(c *Conn, n, freed int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c.taken += int64(n)
	if !c.evicted {
		c.charge -= int64(freed)
		g.bytes -= int64(freed)
	}
}

// done: nothing of c waits any more.
func (g *Group) done(c *Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.bytes -= c.charge
	c.charge = 0
	delete(g.waiting, c)
	if g.empty != nil && len(g.waiting) == 0 {
		select {
		case <-g.empty:
		default:
			close(g.empty)
		}
	}
}

// Listen returns a listener of the group's with at most so many connections at a
// time; further ones wait to be accepted. It owns l.
func (g *Group) Listen(l net.Listener, connections int) net.Listener {
	return &limited{Listener: l, group: g, slots: make(chan struct{}, connections), closed: make(chan struct{})}
}

type limited struct {
	net.Listener
	group  *Group
	slots  chan struct{}
	once   sync.Once
	closed chan struct{}
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return newConn(l.group, c, func() { <-l.slots }), nil
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}
