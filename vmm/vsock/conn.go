package vsock

import (
	"fmt"
	"io"
	"sync"
)

// StreamState is where a stream stands.
type StreamState uint8

const (
	// StreamConnecting: the guest has not answered yet.
	StreamConnecting StreamState = iota + 1
	// StreamOpen: both sides have agreed.
	StreamOpen
	// StreamClosing: the host has closed; what it had sent is still delivered.
	StreamClosing
	// StreamClosed: the stream is over.
	StreamClosed
)

// Packets that a stream owes the guest besides data.
const (
	pendRequest = 1 << iota
	pendResponse
	pendReset
	pendCredit
	pendShutdown
)

// Conn is one stream between a port of the host and a port of the guest. Its
// methods may be called from any goroutine and never block.
type Conn struct {
	dev *Device
	key connKey

	// All below is protected by dev.mu.
	state   StreamState
	pending uint8 // pend* packets
	queued  bool  // in dev.sending
	noted   bool  // in dev.events
	err     error

	out   []byte // for the guest, from outAt on
	outAt int
	in    []byte // from the guest, not taken yet
	spare []byte // what Take handed out last

	// Credit, VIRTIO 5.10.6.3: free-running counters of bytes.
	peerAlloc, peerForwarded, sent uint32
	received, forwarded, told      uint32

	peerShut uint8 // shut* flags that the guest has sent
	shut     uint8 // shut* flags that we have sent or will send

	handler func(*Conn)
	changed *sync.Cond // for Stream
}

func newConn(d *Device, key connKey) *Conn { return &Conn{dev: d, key: key} }

// HostPort returns the host's port.
func (c *Conn) HostPort() uint32 { return c.key.host }

// GuestPort returns the guest's port.
func (c *Conn) GuestPort() uint32 { return c.key.guest }

// State returns where the stream stands.
func (c *Conn) State() StreamState {
	c.dev.mu.Lock()
	defer c.dev.mu.Unlock()
	return c.state
}

// Err returns why a stream is closed: nil while it is not, io.EOF if both
// sides have ended it, else ErrReset, ErrRefused or ErrClosed.
func (c *Conn) Err() error {
	c.dev.mu.Lock()
	defer c.dev.mu.Unlock()
	return c.err
}

// Handle makes fn be called whenever bytes have arrived or the state has
// changed. It is called by the goroutine inside Run, with no lock held, and
// must not block.
func (c *Conn) Handle(fn func(*Conn)) {
	c.dev.mu.Lock()
	defer c.dev.mu.Unlock()
	c.handler = fn
}

// Send queues a copy of p for the guest. It is delivered as far as the guest's
// receive window allows, by the machine's Run.
func (c *Conn) Send(p []byte) error {
	c.dev.mu.Lock()
	defer c.dev.mu.Unlock()
	if err := c.sendable(); err != nil {
		return fmt.Errorf("send %d bytes to guest port %d: %w", len(p), c.key.guest, err)
	}
	if len(p) == 0 {
		return nil
	}
	c.compact()
	c.out = append(c.out, p...)
	if c.state != StreamConnecting {
		c.dev.enqueue(c)
	}
	return nil
}

// sendable reports why nothing can be sent. The lock is held.
func (c *Conn) sendable() error {
	switch {
	case c.err != nil:
		return c.err
	case c.shut&shutSend != 0 || c.state == StreamClosing:
		return ErrClosed
	case c.peerShut&shutReceive != 0:
		return io.ErrClosedPipe
	}
	return nil
}

// compact makes room at the end of out.
func (c *Conn) compact() {
	if c.outAt == len(c.out) {
		c.out, c.outAt = c.out[:0], 0
	} else if c.outAt > len(c.out)/2 {
		n := copy(c.out, c.out[c.outAt:])
		c.out, c.outAt = c.out[:n], 0
	}
}

// Take returns the bytes that have arrived since the last Take, nil if none
// have. They are valid until the next Take. Taking them lets the guest send
// more.
func (c *Conn) Take() []byte {
	c.dev.mu.Lock()
	defer c.dev.mu.Unlock()
	if len(c.in) == 0 {
		return nil
	}
	p := c.in
	c.in, c.spare = c.spare[:0], p
	c.consumed(uint32(len(p)))
	return p
}

// consumed accounts for bytes that the host has taken. The guest learns of it
// with every packet; a packet of its own is due when its window is half used
// up. The lock is held.
func (c *Conn) consumed(n uint32) {
	c.forwarded += n
	if c.forwarded-c.told >= recvWindow/2 && c.state == StreamOpen && c.peerShut&shutSend == 0 {
		c.pending |= pendCredit
		c.dev.enqueue(c)
	}
}

// Buffered returns how many bytes wait to be taken, and how many to be
// delivered to the guest.
func (c *Conn) Buffered() (in, out int) {
	c.dev.mu.Lock()
	defer c.dev.mu.Unlock()
	return len(c.in), len(c.out) - c.outAt
}

// Ended reports whether the guest will send no more: it has shut down its side,
// or the stream is closed. Bytes that arrived before can still be taken.
func (c *Conn) Ended() bool {
	c.dev.mu.Lock()
	defer c.dev.mu.Unlock()
	return c.peerShut&shutSend != 0 || c.state == StreamClosed
}

// CloseWrite tells the guest that no more will be sent, after what was sent.
func (c *Conn) CloseWrite() error {
	c.dev.mu.Lock()
	defer c.dev.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	c.shut |= shutSend
	c.pending |= pendShutdown
	c.dev.enqueue(c)
	return nil
}

// Close ends the stream after what was sent has been delivered. Closing a
// stream that is over does nothing.
func (c *Conn) Close() {
	c.dev.mu.Lock()
	defer c.dev.mu.Unlock()
	switch c.state {
	case StreamClosed, StreamClosing:
		return
	case StreamConnecting:
		c.out, c.outAt = c.out[:0], 0
		if c.pending&pendRequest != 0 { // the guest has not heard of it
			c.dev.drop(c, ErrClosed)
			return
		}
		c.pending = pendReset
	default:
		c.pending |= pendShutdown
	}
	c.state, c.shut = StreamClosing, shutBoth
	c.dev.enqueue(c)
}

// Reset ends the stream at once, without delivering what was sent.
func (c *Conn) Reset() {
	c.dev.mu.Lock()
	defer c.dev.mu.Unlock()
	if c.state == StreamClosed {
		return
	}
	c.out, c.outAt = c.out[:0], 0
	c.state, c.pending = StreamClosing, pendReset
	c.dev.enqueue(c)
}

// credit returns how many bytes the guest has room for. Hostile counters make
// it at most the buffer size that the guest claims, never more. The lock is
// held.
func (c *Conn) credit() uint32 {
	inFlight := c.sent - c.peerForwarded
	if inFlight > c.peerAlloc {
		return 0
	}
	return c.peerAlloc - inFlight
}
