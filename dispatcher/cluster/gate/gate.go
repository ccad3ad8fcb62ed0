// Package gate bounds how many connections strangers may have to a member's ports. Whoever
// connects is a stranger until he has had the time in which he must have shown a certificate
// of the cluster's: who has not is cut off by then by what serves the port. So no stranger
// keeps members out for long, and none takes more than a few of the daemon's descriptors.
//
// Units: connections. Ownership: a Listener owns the one below it.
//
// Locks: Listener.mu, a leaf.
package gate

import (
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Limits.
const (
	// Stranger is how long a connection counts as a stranger's. Who serves a port gives him
	// five seconds for his handshake.
	Stranger = 6 * time.Second
	// MaxStrangers bounds them for a port, MaxOfSource for one address that they come from:
	// a member connects with four, and several members may share an address.
	MaxStrangers = 512
	MaxOfSource  = 64
	// complainEvery keeps them from filling the log.
	complainEvery = time.Minute
)

// Listener is a port with a bound on strangers.
type Listener struct {
	net.Listener
	log *slog.Logger

	mu         sync.Mutex
	all        int
	of         map[netip.Addr]int
	complained time.Time
	refused    uint64
}

// Listen bounds the strangers of a listener. What is beyond the bound is closed at once.
func Listen(l net.Listener, log *slog.Logger) *Listener {
	return &Listener{Listener: l, log: log, of: map[netip.Addr]int{}}
}

// Accept returns the next connection that is within the bound.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		source := sourceOf(c)
		if !l.enter(source) {
			c.Close()
			continue
		}
		s := &conn{Conn: c, l: l, source: source}
		s.timer = time.AfterFunc(Stranger, s.leave)
		return s, nil
	}
}

// sourceOf is where a connection comes from; of IPv6 the network, of which one host has all
// addresses.
func sourceOf(c net.Conn) netip.Addr {
	at, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	a := at.Addr().Unmap().WithZone("")
	if a.Is6() {
		if network, err := a.Prefix(64); err == nil {
			return network.Addr()
		}
	}
	return a
}

func (l *Listener) enter(source netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all < MaxStrangers && l.of[source] < MaxOfSource {
		l.all++
		l.of[source]++
		return true
	}
	l.refused++
	if now := time.Now(); now.Sub(l.complained) >= complainEvery {
		l.log.Warn("connections to a port of the cluster's are refused: too many have shown no certificate yet", "port", l.Addr(), "source", source, "refused", l.refused)
		l.complained, l.refused = now, 0
	}
	return false
}

func (l *Listener) leave(source netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all--
	if l.of[source]--; l.of[source] == 0 {
		delete(l.of, source)
	}
}

// conn counts until it ends, or is no stranger's.
type conn struct {
	net.Conn
	l      *Listener
	source netip.Addr
	timer  *time.Timer
	once   sync.Once
}

func (c *conn) leave() { c.once.Do(func() { c.l.leave(c.source) }) }

func (c *conn) Close() error {
	c.timer.Stop()
	c.leave()
	return c.Conn.Close()
}
