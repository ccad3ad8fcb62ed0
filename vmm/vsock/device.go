package vsock

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"seuss/guest"
)

const (
	// recvWindow is how many bytes of a stream the guest may have sent that
	// the host has not taken: our buf_alloc.
	recvWindow = 256 << 10

	// maxConns bounds the streams that a guest can open.
	maxConns = 4096

	// maxResets bounds the RST packets for streams that do not exist which
	// wait for a receive buffer. The guest cannot send while they are full.
	maxResets = 64

	// firstHostPort is where the ports begin from which the host connects.
	firstHostPort = 1 << 30
)

var (
	// ErrReset means that the other side ended a stream with a reset.
	ErrReset = errors.New("vsock: stream was reset")
	// ErrRefused means that no program in the guest listens on the port.
	ErrRefused = errors.New("vsock: connection refused")
	// ErrPortInUse means that there is a listener on the port already.
	ErrPortInUse = errors.New("vsock: port in use")
	// ErrClosed means that the stream, or its machine, has been closed.
	ErrClosed = errors.New("closed")
)

// AcceptFunc is asked for every stream that the guest opens to a port on which
// the host listens. An error resets the stream. It is called by the goroutine
// inside Run, with no lock held, and must not block.
type AcceptFunc func(*Conn) error

// connKey names a stream: there is one guest and one host on the link.
type connKey struct{ host, guest uint32 }

// Memory is the guest's memory as the device needs it.
type Memory interface {
	// Slice returns n bytes at gpa as a window, valid for as long as the memory is,
	// or an error if they are not all the guest's.
	Slice(gpa guest.GPA, n uint64) ([]byte, error)
	// MarkWritten says that the device wrote n bytes at gpa, a range that Slice
	// has accepted.
	MarkWritten(gpa guest.GPA, n uint64)
}

// Device is the device side of a virtio socket device: byte streams between
// programs in the guest and the host. Listen, Dial, Lookup and all methods of
// Conn may be called from any goroutine; bytes move when the machine is inside
// Run. The other methods are its monitor's: see the package comment.
type Device struct {
	mem    Memory
	notify func() // see New

	// waiting tells that something waits to be put into the guest's receive
	// queue.
	waiting atomic.Bool

	// Used by the goroutine inside Run only.
	status          uint32
	deviceSel       uint32
	driverSel       uint32
	driverFeatures  uint64
	queueSel        uint32
	interruptStatus uint32
	queues          [queueCount]virtqueue
	interrupt       bool // used buffers that the driver wants to hear of
	more            bool // the last service left something to do
	budget          int  // of deliver, in bytes
	chain           []segment
	called          []*Conn

	mu        sync.Mutex
	cid       uint64
	conns     map[connKey]*Conn
	listeners map[uint32]AcceptFunc
	sending   []*Conn        // streams with something for the guest, first come first served
	resets    []packetHeader // RSTs for streams that do not exist
	events    []*Conn        // streams whose handler has to be called
	nextPort  uint32
	down      bool
}

// New returns a device in its state after power-on, with the guest's context id.
// notify is called whenever something begins to wait for the guest, from any
// goroutine and with the device's lock held: it wakes a Run that sleeps, and must
// neither block nor call the device.
func New(mem Memory, cid uint32, notify func()) *Device {
	d := &Device{
		mem: mem, notify: notify, cid: uint64(cid),
		conns: map[connKey]*Conn{}, listeners: map[uint32]AcceptFunc{},
		chain: make([]segment, 0, queueMax), nextPort: firstHostPort,
	}
	for i := range d.queues {
		d.queues[i] = virtqueue{mem: mem, index: i}
	}
	return d
}

// Listen makes accept be called for every stream that the guest opens to the
// host's port.
func (d *Device) Listen(port uint32, accept AcceptFunc) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, taken := d.listeners[port]; taken {
		return fmt.Errorf("listen on port %d: %w", port, ErrPortInUse)
	}
	d.listeners[port] = accept
	return nil
}

// Unlisten ends Listen. Open streams stay.
func (d *Device) Unlisten(port uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.listeners, port)
}

// Dial opens a stream to a port in the guest. It does not wait: bytes may be
// sent at once, and Conn.State tells when the guest has answered.
func (d *Device) Dial(guestPort uint32) (*Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down {
		return nil, fmt.Errorf("connect to guest port %d: %w", guestPort, ErrClosed)
	}
	if len(d.conns) >= maxConns {
		return nil, fmt.Errorf("connect to guest port %d: %d streams are open already", guestPort, len(d.conns))
	}
	key := connKey{host: d.nextPort, guest: guestPort}
	for d.conns[key] != nil { // ends: there are more ports than streams
		key.host = max(key.host+1, firstHostPort)
	}
	d.nextPort = max(key.host+1, firstHostPort)
	c := newConn(d, key)
	c.state = StreamConnecting
	c.pending = pendRequest
	d.conns[key] = c
	d.enqueue(c)
	return c, nil
}

// Lookup returns the open stream between two ports, nil if there is none.
func (d *Device) Lookup(hostPort, guestPort uint32) *Conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.conns[connKey{hostPort, guestPort}]
}

// Conns returns the streams that are open, in no particular order.
func (d *Device) Conns() []*Conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]*Conn, 0, len(d.conns))
	for _, c := range d.conns {
		out = append(out, c)
	}
	return out
}

// CID returns the guest's context id.
func (d *Device) CID() uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return uint32(d.cid)
}

// SetCID changes the guest's context id.
func (d *Device) SetCID(cid uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cid = uint64(cid)
}

// PowerOn puts the device into its state after power-on: no queues, no
// streams. Listeners belong to the host and stay.
func (d *Device) PowerOn() {
	d.status, d.deviceSel, d.driverSel, d.driverFeatures = 0, 0, 0, 0
	d.queueSel, d.interruptStatus, d.interrupt = 0, 0, false
	for i := range d.queues {
		d.queues[i].reset()
	}
	d.dropConns(ErrReset)
	d.callHandlers()
}

// ShutDown ends every stream for good: the machine is going away.
func (d *Device) ShutDown() {
	d.mu.Lock()
	d.down = true
	d.mu.Unlock()
	d.dropConns(ErrClosed)
	d.callHandlers()
}

// dropConns forgets all streams.
func (d *Device) dropConns(reason error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.conns {
		d.drop(c, reason)
	}
	d.sending = d.sending[:0]
	d.resets = d.resets[:0]
	d.waiting.Store(false)
}

// drop forgets one stream. The lock is held.
func (d *Device) drop(c *Conn, reason error) {
	delete(d.conns, c.key)
	c.state, c.pending, c.queued = StreamClosed, 0, false
	c.out, c.outAt = c.out[:0], 0
	if c.err == nil {
		c.err = reason
	}
	d.happened(c)
}

// enqueue notes that a stream has something for the guest, and wakes the
// machine. The lock is held.
func (d *Device) enqueue(c *Conn) {
	if !c.queued {
		c.queued = true
		d.sending = append(d.sending, c)
	}
	d.waiting.Store(true)
	d.notify()
}

// happened notes that a stream's handler has to be called. The lock is held.
func (d *Device) happened(c *Conn) {
	if c.changed != nil {
		c.changed.Broadcast()
	}
	if c.handler != nil && !c.noted {
		c.noted = true
		d.events = append(d.events, c)
	}
}

// callHandlers calls the handlers of the streams to which something happened.
// It must be called without the lock.
func (d *Device) callHandlers() {
	d.mu.Lock()
	if len(d.events) == 0 {
		d.mu.Unlock()
		return
	}
	d.called, d.events = d.events, d.called[:0]
	for _, c := range d.called {
		c.noted = false
	}
	d.mu.Unlock()
	for _, c := range d.called {
		d.mu.Lock()
		handler := c.handler // it may have been taken away meanwhile
		d.mu.Unlock()
		if handler != nil {
			handler(c)
		}
	}
	d.called = d.called[:0]
}

// TakeInterrupt reports, and forgets, that the driver has to look at its
// queues.
func (d *Device) TakeInterrupt() bool {
	i := d.interrupt
	d.interrupt = false
	return i
}

// More reports whether the last Service, by itself or for a register, has left
// something that the next one can do.
func (d *Device) More() bool { return d.more }

// Waiting reports whether something waits for the guest. It may be called from any
// goroutine, and takes no lock.
func (d *Device) Waiting() bool { return d.waiting.Load() }

// Service moves what waits in either direction, as far as its budget goes. It is
// called by the goroutine inside Run while the guest does not run, again for as long
// as More says so. A guest that broke a queue gets a RingError, and the device stays
// broken until the driver resets it.
func (d *Device) Service() error {
	d.more = false
	if d.status&statusDriverOK == 0 || d.status&statusNeedsReset != 0 {
		return nil
	}
	if err := d.transmit(); err != nil {
		return d.fail(err)
	}
	d.callHandlers()
	if d.waiting.Load() {
		if err := d.deliver(); err != nil {
			return d.fail(err)
		}
		d.callHandlers()
	}
	return nil
}

// fail marks the device broken, VIRTIO 2.1.1.
func (d *Device) fail(err error) error {
	d.status |= statusNeedsReset
	return err
}
