package vsock

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// connectTimeout bounds how long a client may take for its handshake, and the
// guest for accepting the stream.
const connectTimeout = 10 * time.Second

// maxConnectLine is the longest handshake: "CONNECT 4294967295\n".
const maxConnectLine = 19

// UnixSockets makes a guest's vsock reachable for programs on the host, in the
// way that users of Firecracker know: a client connects to the Unix socket and
// writes "CONNECT <port>\n"; it reads "OK <host port>\n" once the guest has
// accepted, and then the bytes are the stream's. In the other direction, a
// port that is forwarded leads from the guest to the Unix socket
// "<path>_<port>".
//
// Bytes move only while some goroutine is inside the machine's Run.
type UnixSockets struct {
	dev    *Device
	path   string
	l      *net.UnixListener
	places Places
	wg     sync.WaitGroup

	mu    sync.Mutex
	ports []uint32               // forwarded
	open  map[io.Closer]struct{} // what Close has to end
	done  bool
}

// Places bound the connections to host programs that guests may open, each of which
// takes a descriptor. Take's error refuses one; Give ends one.
type Places interface {
	Take() error
	Give()
}

// NewUnixSockets listens on a Unix socket, which must not exist yet. Forwarded streams take
// places; nil: they are as many as the guest may have streams.
func NewUnixSockets(dev *Device, path string, places Places) (*UnixSockets, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("vsock socket %s: %w", path, err)
	}
	f := &UnixSockets{dev: dev, path: path, l: l, places: places, open: map[io.Closer]struct{}{}}
	f.wg.Go(f.serve)
	return f, nil
}

// Forward lets the guest connect to port; the stream continues to the Unix
// socket "<path>_<port>". If nothing listens there the stream is reset.
func (f *UnixSockets) Forward(port uint32) error {
	return f.ForwardTo(port, fmt.Sprintf("%s_%d", f.path, port))
}

// ForwardTo is Forward to another Unix socket.
func (f *UnixSockets) ForwardTo(port uint32, socket string) error {
	err := f.dev.Listen(port, func(c *Conn) error {
		if f.places != nil {
			if err := f.places.Take(); err != nil {
				return err
			}
		}
		s := NewStream(c)
		if !f.track(s) {
			f.leave()
			return ErrClosed
		}
		f.wg.Go(func() {
			defer f.leave()
			defer f.untrack(s)
			u, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
			if err != nil {
				c.Reset()
				return
			}
			if !f.track(u) {
				u.Close()
				return
			}
			defer f.untrack(u)
			f.join(u, s)
		})
		return nil
	})
	if err != nil {
		return fmt.Errorf("vsock socket %s: forward: %w", f.path, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ports = append(f.ports, port)
	return nil
}

// leave gives back the place of a forwarded stream.
func (f *UnixSockets) leave() {
	if f.places != nil {
		f.places.Give()
	}
}

// flushTimeout bounds how long Close waits for a client to take what the guest
// had sent.
const flushTimeout = time.Second

// Close ends all connections, removes the socket and waits for everything that
// it has started. What the guest has sent is still passed on.
func (f *UnixSockets) Close() error {
	f.mu.Lock()
	f.done = true
	for _, port := range f.ports {
		f.dev.Unlisten(port)
	}
	f.ports = nil
	open := f.open
	f.open = map[io.Closer]struct{}{}
	f.mu.Unlock()
	err := f.l.Close()
	for c := range open {
		switch c := c.(type) {
		case *Stream:
			c.c.Reset() // reading goes on to the end of what has arrived
			err = errors.Join(err, c.Close())
		case *net.UnixConn:
			err = errors.Join(err, ignoreClosed(c.SetReadDeadline(time.Now())), ignoreClosed(c.SetWriteDeadline(time.Now().Add(flushTimeout))))
		}
	}
	f.wg.Wait()
	if err != nil {
		return fmt.Errorf("vsock socket %s: close: %w", f.path, err)
	}
	return nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// track notes something that Close has to end; false means that it is too late.
func (f *UnixSockets) track(c io.Closer) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.done {
		return false
	}
	f.open[c] = struct{}{}
	return true
}

func (f *UnixSockets) untrack(c io.Closer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.open, c)
}

func (f *UnixSockets) serve() {
	for {
		u, err := f.l.AcceptUnix()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			time.Sleep(10 * time.Millisecond) // out of descriptors, for instance: let some go
			continue
		}
		if !f.track(u) {
			u.Close()
			return
		}
		f.wg.Go(func() {
			defer f.untrack(u)
			if err := f.client(u); err != nil {
				u.Close()
			}
		})
	}
}

// client serves one connection: the handshake, then the stream.
func (f *UnixSockets) client(u *net.UnixConn) error {
	if err := u.SetReadDeadline(time.Now().Add(connectTimeout)); err != nil {
		return err
	}
	r := bufio.NewReaderSize(u, 16) // the smallest there is; what it holds beyond the line belongs to the stream
	port, err := readConnect(r)
	if err != nil {
		return err
	}
	if err := u.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	c, err := f.dev.Dial(port)
	if err != nil {
		return err
	}
	s := NewStream(c)
	if !f.track(s) {
		c.Reset()
		return ErrClosed
	}
	defer f.untrack(s)
	if err := s.SetReadDeadline(time.Now().Add(connectTimeout)); err != nil {
		return err
	}
	if err := s.WaitOpen(); err != nil {
		c.Reset()
		return err
	}
	if err := s.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(u, "OK %d\n", c.HostPort()); err != nil {
		c.Reset()
		return err
	}
	early, err := r.Peek(r.Buffered())
	if err == nil && len(early) > 0 {
		_, err = s.Write(early)
	}
	if err != nil {
		c.Reset()
		return err
	}
	f.join(u, s)
	return nil
}

// readConnect reads the line "CONNECT <port>\n".
func readConnect(r io.ByteReader) (uint32, error) {
	var line strings.Builder
	for {
		b, err := r.ReadByte()
		if err != nil {
			return 0, fmt.Errorf("read handshake: %w", err)
		}
		if b == '\n' {
			break
		}
		if line.Len() >= maxConnectLine {
			return 0, fmt.Errorf("handshake %.24q: longer than %d bytes", line.String(), maxConnectLine)
		}
		line.WriteByte(b)
	}
	text, ok := strings.CutPrefix(line.String(), "CONNECT ")
	port, err := strconv.ParseUint(text, 10, 32)
	if !ok || err != nil {
		return 0, fmt.Errorf("handshake %q: expected CONNECT and a port number", line.String())
	}
	return uint32(port), nil
}

// join copies in both directions until both have ended.
func (f *UnixSockets) join(u *net.UnixConn, s *Stream) {
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := io.Copy(s, u); err != nil {
			s.c.Reset() // which ends the other direction, after what has arrived
			return
		}
		_ = s.CloseWrite() // an error means that the stream is over anyway
	})
	wg.Go(func() {
		if _, err := io.Copy(u, s); err != nil && !errors.Is(err, io.EOF) {
			u.Close()
			return
		}
		_ = u.CloseWrite()
	})
	wg.Wait()
	s.Close()
	u.Close()
}
