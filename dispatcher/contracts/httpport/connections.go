package httpport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"seuss/dispatcher/instance"
	"seuss/vmm/vsock"
)

// connections are those to a program that an exchange has open.
type connections struct {
	to       instance.Inbound
	port     uint16
	deadline time.Time

	mu    sync.Mutex
	ended bool
	open  []*connection // that the device had not forgotten at the last dial

	once    sync.Once
	written chan struct{} // closed: the guest has something to do
}

// maxConnections is how many an exchange may have at a time: one that is closed counts until
// the guest has agreed, and what it has sent takes memory until then.
const maxConnections = 64

func newConnections(to instance.Inbound, port uint16, deadline time.Time) *connections {
	return &connections{to: to, port: port, deadline: deadline, written: make(chan struct{})}
}

// dial opens a connection without waiting for the guest's consent: what is written meanwhile
// goes with the guest's consent to it, so that the program finds its request when it accepts,
// and neither side waits for the other in between. Where nobody listens, the first read or
// write after the refusal says so.
func (c *connections) dial(ctx context.Context) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return nil, net.ErrClosed
	}
	c.forget()
	if len(c.open) >= maxConnections {
		return nil, fmt.Errorf("%d connections to the program are open already", maxConnections)
	}
	conn, err := c.to.Dial(c.port)
	if err != nil {
		return nil, err
	}
	s := &connection{vsock.NewStream(conn), conn, c}
	s.SetDeadline(c.deadline.Add(time.Second)) // the guest's own end comes first, and is told
	c.open = append(c.open, s)
	return s, nil
}

// forget leaves out those that are over, for a program is asked for its ready path as often as
// it takes. c.mu is held.
func (c *connections) forget() {
	c.open = slices.DeleteFunc(c.open, func(s *connection) bool {
		over := s.conn.State() == vsock.StreamClosed
		if over { // nobody waits for it, and its timers would keep it
			s.SetDeadline(time.Time{})
		}
		return over
	})
}

// end ends what is open: the guest does not run any more.
func (c *connections) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	for _, s := range c.open {
		s.SetDeadline(time.Unix(1, 0))
	}
}

// begin says that there is something for the guest to do, or nobody who will give it any.
func (c *connections) begin() { c.once.Do(func() { close(c.written) }) }

// unwritten is how long the guest is kept from running while nothing is written to it: a
// guest that runs without a request only comes to rest again, and costs an entry, an exit and a
// wake-up. Who takes longer, as a client does that sends its body slowly, finds it running,
// so that it can leave its machine to others.
const unwritten = 2 * time.Millisecond

// begun waits until the guest has something to do.
func (c *connections) begun() {
	late := time.NewTimer(unwritten)
	defer late.Stop()
	select {
	case <-c.written:
	case <-late.C:
	}
}

// connection is a stream to the program that says why it was refused.
type connection struct {
	*vsock.Stream
	conn *vsock.Conn // the stream's, for its state
	of   *connections
}

func (s *connection) Read(p []byte) (int, error) {
	n, err := s.Stream.Read(p)
	return n, s.of.refusal(err)
}

func (s *connection) Write(p []byte) (int, error) {
	n, err := s.Stream.Write(p)
	s.of.begin()
	return n, s.of.refusal(err)
}

func (c *connections) refusal(err error) error {
	if errors.Is(err, vsock.ErrRefused) {
		return fmt.Errorf("port %d of the program takes no connection: nobody listens there any more, or its queue is full: %w", c.port, err)
	}
	return err
}
