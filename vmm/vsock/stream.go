package vsock

import (
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// streamBuffer is how many bytes a Stream takes from its writer before the
// guest has received them.
const streamBuffer = 256 << 10

// StreamBytes is how much memory a Stream's bytes take at most, in both directions.
const StreamBytes = streamBuffer + recvWindow

// Addr is the address of one side of a vsock stream.
type Addr struct{ CID, Port uint32 }

// Network implements net.Addr.
func (Addr) Network() string { return "vsock" }

func (a Addr) String() string { return fmt.Sprintf("%d:%d", a.CID, a.Port) }

// Stream is a Conn with blocking reads and writes, as net.Conn has them. Bytes
// move only while some goroutine is inside the machine's Run.
type Stream struct {
	c           *Conn
	read, write streamDeadline
}

var _ net.Conn = (*Stream)(nil)

// streamDeadline is a point in time after which waiting ends. It is protected
// by the device's lock.
type streamDeadline struct {
	at    time.Time
	timer *time.Timer
}

// NewStream returns blocking access to c. From then on c is used through it
// alone.
func NewStream(c *Conn) *Stream {
	c.dev.mu.Lock()
	defer c.dev.mu.Unlock()
	if c.changed == nil {
		c.changed = sync.NewCond(&c.dev.mu)
	}
	return &Stream{c: c}
}

// WaitOpen waits until the guest has accepted a stream that the host opened.
// The read deadline applies.
func (s *Stream) WaitOpen() error {
	s.c.dev.mu.Lock()
	defer s.c.dev.mu.Unlock()
	for s.c.state == StreamConnecting {
		if err := s.wait(&s.read); err != nil {
			return fmt.Errorf("connect to guest port %d: %w", s.c.key.guest, err)
		}
	}
	if s.c.err != nil {
		return fmt.Errorf("connect to guest port %d: %w", s.c.key.guest, s.c.err)
	}
	return nil
}

// wait waits for a change of the stream. The lock is held.
func (s *Stream) wait(d *streamDeadline) error {
	if !d.at.IsZero() && !time.Now().Before(d.at) {
		return os.ErrDeadlineExceeded
	}
	s.c.changed.Wait()
	return nil
}

// Read implements net.Conn. After the guest's end of the stream it returns
// io.EOF, after a reset the reason.
func (s *Stream) Read(p []byte) (int, error) {
	c := s.c
	c.dev.mu.Lock()
	defer c.dev.mu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	for len(c.in) == 0 {
		switch {
		case c.err != nil:
			return 0, c.err
		case c.peerShut&shutSend != 0:
			return 0, io.EOF
		case c.state == StreamClosing:
			return 0, net.ErrClosed
		}
		if err := s.wait(&s.read); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.in)
	c.in = c.in[:copy(c.in, c.in[n:])]
	c.consumed(uint32(n))
	return n, nil
}

// Write implements net.Conn. It returns when all of p is queued, which is at
// most streamBuffer ahead of the guest.
func (s *Stream) Write(p []byte) (int, error) {
	c := s.c
	c.dev.mu.Lock()
	defer c.dev.mu.Unlock()
	done := 0
	for done < len(p) {
		if err := c.sendable(); err != nil {
			return done, err
		}
		room := streamBuffer - (len(c.out) - c.outAt)
		if room <= 0 {
			if err := s.wait(&s.write); err != nil {
				return done, err
			}
			continue
		}
		n := min(room, len(p)-done)
		c.compact()
		c.out = append(c.out, p[done:done+n]...)
		done += n
		if c.state != StreamConnecting {
			c.dev.enqueue(c)
		}
	}
	return done, nil
}

// CloseWrite tells the guest that no more will be sent.
func (s *Stream) CloseWrite() error { return s.c.CloseWrite() }

// Close implements net.Conn. What was written is still delivered.
func (s *Stream) Close() error {
	s.c.Close()
	s.c.dev.mu.Lock()
	defer s.c.dev.mu.Unlock()
	s.c.changed.Broadcast()
	return nil
}

// LocalAddr implements net.Conn.
func (s *Stream) LocalAddr() net.Addr { return Addr{CID: hostCID, Port: s.c.key.host} }

// RemoteAddr implements net.Conn.
func (s *Stream) RemoteAddr() net.Addr { return Addr{CID: s.c.dev.CID(), Port: s.c.key.guest} }

// SetDeadline implements net.Conn.
func (s *Stream) SetDeadline(t time.Time) error {
	s.setDeadline(t, &s.read, &s.write)
	return nil
}

// SetReadDeadline implements net.Conn.
func (s *Stream) SetReadDeadline(t time.Time) error {
	s.setDeadline(t, &s.read)
	return nil
}

// SetWriteDeadline implements net.Conn.
func (s *Stream) SetWriteDeadline(t time.Time) error {
	s.setDeadline(t, &s.write)
	return nil
}

func (s *Stream) setDeadline(t time.Time, which ...*streamDeadline) {
	s.c.dev.mu.Lock()
	defer s.c.dev.mu.Unlock()
	for _, d := range which {
		if d.timer != nil {
			d.timer.Stop()
			d.timer = nil
		}
		d.at = t
		if !t.IsZero() {
			d.timer = time.AfterFunc(time.Until(t), func() {
				s.c.dev.mu.Lock()
				defer s.c.dev.mu.Unlock()
				s.c.changed.Broadcast()
			})
		}
	}
	s.c.changed.Broadcast()
}
