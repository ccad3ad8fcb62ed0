package listener

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxAhead is how much may wait when another write comes: it waits then. An
	// HTTP server writes the head of an answer first and a body of known length
	// in one piece behind it, which does not wait.
	maxAhead = 64 << 10
	// pieceBytes is in what pieces a waiting answer is kept, and given back as
	// they are written.
	pieceBytes = 256 << 10
	// looks is how often during Options.Stall it is seen whether a reader reads.
	looks = 5
)

// Conn is a connection whose Write does not wait for its reader.
type Conn struct {
	net.Conn
	group   *Group
	raw     syscall.RawConn // nil: the connection is none of the system's
	peer    *unix.Ucred     // who connected, on a Unix socket; nil: not known
	release func()

	// Guarded by Group.mu.
	charge  int64     // bytes that wait
	taken   int64     // bytes that the reader took since
	since   time.Time // when something came to wait
	evicted bool      // it was reset: it was the slowest

	mu       sync.Mutex
	moved    sync.Cond // something was written, or never will be
	pieces   [][]byte  // that wait
	written  int       // of the first piece
	waiting  int       // bytes that are not written
	flushing bool
	broken   error // why nothing is written any more
	closing  bool  // Close was called while something waited
	shut     bool  // so was CloseWrite
	released bool
	deadline time.Time   // of writes; zero: there is none
	alarm    *time.Timer // wakes those that wait at the deadline; nil: there is none

	// Of one attempt; the function is kept, so that an attempt allocates nothing.
	attempt func(fd uintptr) bool
	p       []byte
	n       int
	err     error
}

func newConn(g *Group, conn net.Conn, release func()) *Conn {
	c := &Conn{Conn: conn, group: g, release: release}
	c.moved.L = &c.mu
	if s, ok := conn.(syscall.Conn); ok {
		c.raw, _ = s.SyscallConn() // an error is that of a connection that is closed
	}
	if _, ok := conn.(*net.UnixConn); ok && c.raw != nil {
		c.raw.Control(func(fd uintptr) {
			if peer, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
				c.peer = peer
			}
		})
	}
	c.attempt = func(fd uintptr) bool {
		for c.n < len(c.p) && c.err == nil {
			n, err := syscall.Write(int(fd), c.p[c.n:])
			if err == nil {
				c.n += n
			} else if err != syscall.EINTR {
				c.err = err
			}
		}
		return true // whether it is done or not: nobody waits here
	}
	return c
}

// try writes what the socket takes now. c.mu is held.
func (c *Conn) try(p []byte) (int, error) {
	if c.raw == nil {
		return 0, nil
	}
	c.p, c.n, c.err = p, 0, nil
	err := c.raw.Write(c.attempt)
	c.p = nil
	switch {
	case c.err == syscall.EAGAIN:
		c.err = nil
	case c.err != nil:
		c.err = &net.OpError{Op: "write", Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError("write", c.err)}
	case err != nil:
		c.err = err
	}
	return c.n, c.err
}

// Write writes p, or keeps a copy of what the socket does not take at once. It
// waits only where more than maxAhead bytes wait already, until the deadline of writes
// at most.
func (c *Conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.broken == nil && !c.closing && !c.shut {
		if !c.deadline.IsZero() && !time.Now().Before(c.deadline) {
			return 0, os.ErrDeadlineExceeded
		}
		if c.waiting <= maxAhead {
			break
		}
		c.moved.Wait()
	}
	if c.broken != nil || c.closing || c.shut {
		return 0, errors.Join(net.ErrClosed, c.broken)
	}
	n := 0
	if !c.flushing {
		var err error
		if n, err = c.try(p); err != nil {
			return n, err
		}
	}
	if n == len(p) {
		return n, nil
	}
	if err := c.group.add(c, len(p)-n); err != nil {
		c.broken = err
		if !c.flushing {
			c.group.done(c)
		}
		return n, err
	}
	for rest := p[n:]; len(rest) > 0; {
		piece := rest[:min(len(rest), pieceBytes)]
		rest = rest[len(piece):]
		c.pieces = append(c.pieces, bytes.Clone(piece))
		c.waiting += len(piece)
	}
	if !c.flushing {
		c.flushing = true
		go c.flush()
	}
	return len(p), nil
}

// flush writes what waits, for as long as its reader goes on taking it.
func (c *Conn) flush() {
	unread, last := c.unread(), time.Now()
	for {
		c.mu.Lock()
		if len(c.pieces) == 0 || c.broken != nil {
			c.flushed()
			c.mu.Unlock()
			return
		}
		piece := c.pieces[0]
		rest := piece[c.written:]
		c.mu.Unlock()
		c.Conn.SetWriteDeadline(time.Now().Add(c.group.o.Stall / looks))
		n, err := c.Conn.Write(rest)
		was := unread
		unread = c.unread()
		taken := max(was+n-unread, 0)
		if n > 0 || taken > 0 {
			last = time.Now()
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if time.Since(last) < c.group.o.Stall {
				err = nil // it is slow, but it reads
			} else {
				c.group.o.Log.Warn("a client does not read its answer and is reset", "remote", c.RemoteAddr().String(), "stalled_ms", c.group.o.Stall.Milliseconds())
			}
		}
		c.mu.Lock()
		freed := 0
		c.waiting -= n
		if c.written += n; c.written == len(piece) {
			freed, c.written = len(piece), 0
			c.pieces[0] = nil
			c.pieces = c.pieces[1:]
		}
		c.group.took(c, taken, freed)
		if err != nil && c.broken == nil {
			c.broken = err
		}
		c.moved.Broadcast()
		c.mu.Unlock()
	}
}

// unread returns how many bytes the socket has taken that its reader has not
// (SIOCOUTQ, tcp(7) and unix(7)), 0 if that is not known. A large socket buffer
// takes nothing more until a third of it is free: that alone says nothing of the
// reader.
func (c *Conn) unread() (n int) {
	if c.raw == nil {
		return 0
	}
	c.raw.Control(func(fd uintptr) {
		n, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
	})
	return n
}

// flushed ends a flush. c.mu is held.
func (c *Conn) flushed() {
	c.flushing, c.pieces, c.written, c.waiting = false, nil, 0, 0
	defer c.group.done(c) // last: Close of the group waits for it
	c.moved.Broadcast()
	switch {
	case c.broken != nil:
		c.abort()
		c.close()
	case c.closing:
		c.close()
	default:
		c.Conn.SetWriteDeadline(time.Time{})
		if c.shut {
			c.closeWrite()
		}
	}
}

// abort makes the end of the connection a reset, which tells its reader that the
// answer is not whole.
func (c *Conn) abort() {
	if t, ok := c.Conn.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
}

// reset ends the connection at once. It may be called with any connection's lock
// held.
func (c *Conn) reset() {
	c.abort()
	c.Conn.Close()
}

// close closes the socket. c.mu is held.
func (c *Conn) close() error {
	c.setWriteDeadline(time.Time{})
	err := c.Conn.Close()
	if !c.released {
		c.released = true
		c.release()
	}
	return err
}

// Close closes the connection, once what waits is written. Reads end at once.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flushing {
		c.closing = true
		c.moved.Broadcast()
		c.Conn.SetReadDeadline(time.Unix(1, 0))
		return nil
	}
	return c.close()
}

// CloseWrite tells the reader that nothing comes any more, once what waits is
// written.
func (c *Conn) CloseWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shut = true
	if c.flushing {
		return nil
	}
	return c.closeWrite()
}

func (c *Conn) closeWrite() error {
	if s, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return s.CloseWrite()
	}
	return nil
}

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return net.ErrClosed
	}
	return c.Conn.SetReadDeadline(t)
}

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetWriteDeadline says until when Write may wait for its reader. What waits already is
// the group's, and goes on.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.setWriteDeadline(t)
	return nil
}

// setWriteDeadline is SetWriteDeadline; c.mu is held.
func (c *Conn) setWriteDeadline(t time.Time) {
	if c.alarm != nil {
		c.alarm.Stop()
		c.alarm = nil
	}
	if c.deadline = t; !t.IsZero() {
		c.alarm = time.AfterFunc(time.Until(t), func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.moved.Broadcast()
		})
	}
}

// Ready waits until everything that was written before is away, false if that
// will never be.
func (c *Conn) Ready() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.flushing && c.broken == nil {
		c.moved.Wait()
	}
	return c.broken == nil
}

type connKey struct{}

// Context is http.Server.ConnContext for a Group's listeners.
func Context(ctx context.Context, conn net.Conn) context.Context {
	if c, ok := conn.(*Conn); ok {
		return context.WithValue(ctx, connKey{}, c)
	}
	return ctx
}

// Peer returns the user who connected the Unix socket that a request came on, as the
// kernel has it (SO_PEERCRED, unix(7)); false if that is not known.
func Peer(ctx context.Context) (uid uint32, ok bool) {
	c, _ := ctx.Value(connKey{}).(*Conn)
	if c == nil || c.peer == nil {
		return 0, false
	}
	return c.peer.Uid, true
}

// Ready waits for the connection that a request came on, as Conn.Ready; a
// connection of no Group is always ready.
func Ready(ctx context.Context) bool {
	c, ok := ctx.Value(connKey{}).(*Conn)
	return !ok || c.Ready()
}
