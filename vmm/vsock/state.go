package vsock

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"

	"seuss/guest"
)

// State is the device as a snapshot has it: registers, queues, and every
// stream with its ports and credit, so that a stream that is open at capture
// is open after restore.
type State struct {
	CID             uint64
	DriverFeatures  uint64
	Status          uint32
	DeviceSel       uint32
	DriverSel       uint32
	QueueSel        uint32
	InterruptStatus uint32
	NextPort        uint32
	Queues          [queueCount]QueueState
	Streams         []StreamSnapshot // ascending by host port, then guest port
}

// StreamSnapshot is one stream.
type StreamSnapshot struct {
	HostPort, GuestPort            uint32
	State                          StreamState
	Pending, PeerShut, Shut        uint8
	PeerAlloc, PeerForwarded, Sent uint32
	Received, Forwarded, Told      uint32
	In, Out                        []byte // not taken by the host, not delivered to the guest
}

// Equal reports whether two states are the same.
func (s *State) Equal(o *State) bool {
	return s.CID == o.CID && s.DriverFeatures == o.DriverFeatures && s.Status == o.Status &&
		s.DeviceSel == o.DeviceSel && s.DriverSel == o.DriverSel && s.QueueSel == o.QueueSel &&
		s.InterruptStatus == o.InterruptStatus && s.NextPort == o.NextPort && s.Queues == o.Queues &&
		slices.EqualFunc(s.Streams, o.Streams, func(a, b StreamSnapshot) bool {
			in, out := bytes.Equal(a.In, b.In), bytes.Equal(a.Out, b.Out)
			a.In, a.Out, b.In, b.Out = nil, nil, nil, nil
			return in && out && a.fixed() == b.fixed()
		})
}

// fixed is the part of a stream of constant size, in encoding order.
func (s *StreamSnapshot) fixed() [streamBytes]byte {
	var b [streamBytes]byte
	for i, v := range []uint32{s.HostPort, s.GuestPort,
		uint32(s.State) | uint32(s.Pending)<<8 | uint32(s.PeerShut)<<16 | uint32(s.Shut)<<24,
		s.PeerAlloc, s.PeerForwarded, s.Sent, s.Received, s.Forwarded, s.Told,
		uint32(len(s.In)), uint32(len(s.Out))} {
		le.PutUint32(b[i*4:], v)
	}
	return b
}

const (
	streamBytes     = 11 * 4
	queueStateBytes = 32
	vsockFixedBytes = 2*8 + 6*4 + queueCount*queueStateBytes + 4

	maxStreamOut = 16 << 20 // undelivered bytes that a snapshot takes
)

// Append adds the encoding to b. Its version is that of the machine state.
func (s *State) Append(b []byte) []byte {
	var fixed [vsockFixedBytes]byte
	le.PutUint64(fixed[0:], s.CID)
	le.PutUint64(fixed[8:], s.DriverFeatures)
	for i, v := range []uint32{s.Status, s.DeviceSel, s.DriverSel, s.QueueSel, s.InterruptStatus, s.NextPort} {
		le.PutUint32(fixed[16+4*i:], v)
	}
	for i, q := range s.Queues {
		e := fixed[40+queueStateBytes*i:]
		le.PutUint64(e[0:], uint64(q.Desc))
		le.PutUint64(e[8:], uint64(q.Avail))
		le.PutUint64(e[16:], uint64(q.Used))
		le.PutUint16(e[24:], q.Size)
		le.PutUint16(e[26:], q.NextAvail)
		le.PutUint16(e[28:], q.NextUsed)
		if q.Ready {
			e[30] = 1
		}
	}
	le.PutUint32(fixed[vsockFixedBytes-4:], uint32(len(s.Streams)))
	b = append(b, fixed[:]...)
	for i := range s.Streams {
		f := s.Streams[i].fixed()
		b = append(b, f[:]...)
		b = append(b, s.Streams[i].In...)
		b = append(b, s.Streams[i].Out...)
	}
	return b
}

// Decode reads what Append wrote and nothing else.
func (s *State) Decode(b []byte) error {
	if len(b) < vsockFixedBytes {
		return fmt.Errorf("%d bytes are too short", len(b))
	}
	s.CID, s.DriverFeatures, s.Status, s.DeviceSel, s.DriverSel = le.Uint64(b[0:]), le.Uint64(b[8:]), le.Uint32(b[16:]), le.Uint32(b[20:]), le.Uint32(b[24:])
	s.QueueSel, s.InterruptStatus, s.NextPort = le.Uint32(b[28:]), le.Uint32(b[32:]), le.Uint32(b[36:])
	for i := range s.Queues {
		e := b[40+queueStateBytes*i:]
		s.Queues[i] = QueueState{Desc: guest.GPA(le.Uint64(e[0:])), Avail: guest.GPA(le.Uint64(e[8:])), Used: guest.GPA(le.Uint64(e[16:])),
			Size: le.Uint16(e[24:]), NextAvail: le.Uint16(e[26:]), NextUsed: le.Uint16(e[28:]), Ready: e[30] == 1}
		if e[30] > 1 || e[31] != 0 {
			return fmt.Errorf("queue %d: flags %d, %d", i, e[30], e[31])
		}
	}
	count := le.Uint32(b[vsockFixedBytes-4:])
	b = b[vsockFixedBytes:]
	if uint64(count)*streamBytes > uint64(len(b)) || count > maxConns {
		return fmt.Errorf("%d streams in %d bytes", count, len(b))
	}
	s.Streams = make([]StreamSnapshot, count)
	for i := range s.Streams {
		var err error
		if b, err = s.Streams[i].decode(b); err != nil {
			return fmt.Errorf("stream %d of %d: %w", i, count, err)
		}
	}
	if len(b) != 0 {
		return fmt.Errorf("%d bytes too many", len(b))
	}
	if !slices.IsSortedFunc(s.Streams, compareStreams) {
		return errors.New("streams are not in order")
	}
	for i := 1; i < len(s.Streams); i++ {
		if compareStreams(s.Streams[i-1], s.Streams[i]) == 0 {
			return fmt.Errorf("stream %d is there twice", i)
		}
	}
	return nil
}

func (s *StreamSnapshot) decode(b []byte) ([]byte, error) {
	if len(b) < streamBytes {
		return nil, io.ErrUnexpectedEOF
	}
	*s = StreamSnapshot{
		HostPort: le.Uint32(b[0:]), GuestPort: le.Uint32(b[4:]),
		State: StreamState(b[8]), Pending: b[9], PeerShut: b[10], Shut: b[11],
		PeerAlloc: le.Uint32(b[12:]), PeerForwarded: le.Uint32(b[16:]), Sent: le.Uint32(b[20:]),
		Received: le.Uint32(b[24:]), Forwarded: le.Uint32(b[28:]), Told: le.Uint32(b[32:]),
	}
	in, out := uint64(le.Uint32(b[36:])), uint64(le.Uint32(b[40:]))
	b = b[streamBytes:]
	switch {
	case s.State < StreamConnecting || s.State >= StreamClosed, s.Pending >= pendShutdown<<1, s.PeerShut > shutBoth, s.Shut > shutBoth:
		return nil, fmt.Errorf("state %d, pending %#x, shutdown %d, %d", s.State, s.Pending, s.PeerShut, s.Shut)
	case in > recvWindow || out > maxStreamOut || in+out > uint64(len(b)):
		return nil, fmt.Errorf("%d and %d bytes of data in %d", in, out, len(b))
	case s.State != StreamClosing && s.Received-s.Forwarded != uint32(in):
		return nil, fmt.Errorf("%d bytes received and not taken, but %d are there", s.Received-s.Forwarded, in)
	}
	s.In, s.Out = bytes.Clone(b[:in]), bytes.Clone(b[in:in+out])
	return b[in+out:], nil
}

func compareStreams(a, b StreamSnapshot) int {
	return cmp.Or(cmp.Compare(a.HostPort, b.HostPort), cmp.Compare(a.GuestPort, b.GuestPort))
}

// Save copies the device's state.
func (d *Device) Save(s *State) {
	d.mu.Lock()
	defer d.mu.Unlock()
	*s = State{
		CID: d.cid, DriverFeatures: d.driverFeatures, Status: d.status, DeviceSel: d.deviceSel, DriverSel: d.driverSel,
		QueueSel: d.queueSel, InterruptStatus: d.interruptStatus, NextPort: d.nextPort,
		Streams: make([]StreamSnapshot, 0, len(d.conns)),
	}
	for i := range d.queues {
		s.Queues[i] = d.queues[i].QueueState
	}
	for _, c := range d.conns {
		s.Streams = append(s.Streams, StreamSnapshot{
			HostPort: c.key.host, GuestPort: c.key.guest, State: c.state, Pending: c.pending, PeerShut: c.peerShut, Shut: c.shut,
			PeerAlloc: c.peerAlloc, PeerForwarded: c.peerForwarded, Sent: c.sent,
			Received: c.received, Forwarded: c.forwarded, Told: c.told,
			In: bytes.Clone(c.in), Out: bytes.Clone(c.out[c.outAt:]),
		})
	}
	slices.SortFunc(s.Streams, compareStreams)
}

// Restore replaces the device's state. Streams that exist here and in the
// state keep their Conn, handlers included, so that a pooled machine which is
// put back to the same snapshot allocates nothing; others of before are over.
func (d *Device) Restore(s *State) error {
	d.status, d.deviceSel, d.driverSel, d.driverFeatures = s.Status, s.DeviceSel, s.DriverSel, s.DriverFeatures
	d.queueSel, d.interruptStatus, d.interrupt = s.QueueSel, s.InterruptStatus, false
	for i := range d.queues {
		d.queues[i].QueueState = s.Queues[i]
	}
	if err := reopen(d.queues[:]); err != nil {
		return fmt.Errorf("restore vsock: %w", err)
	}
	d.mu.Lock()
	d.cid, d.nextPort = s.CID, max(s.NextPort, firstHostPort)
	d.sending, d.resets = d.sending[:0], d.resets[:0]
	d.waiting.Store(false)
	for key, c := range d.conns {
		_, kept := slices.BinarySearchFunc(s.Streams, StreamSnapshot{HostPort: key.host, GuestPort: key.guest}, compareStreams)
		if !kept {
			d.drop(c, ErrReset)
		}
	}
	for i := range s.Streams {
		d.restoreStream(&s.Streams[i])
	}
	d.mu.Unlock()
	d.callHandlers()
	return nil
}

// restoreStream gives a stream its saved state. The lock is held.
func (d *Device) restoreStream(s *StreamSnapshot) {
	key := connKey{host: s.HostPort, guest: s.GuestPort}
	c := d.conns[key]
	if c == nil {
		c = newConn(d, key)
		d.conns[key] = c
	}
	c.state, c.pending, c.peerShut, c.shut, c.err, c.queued = s.State, s.Pending, s.PeerShut, s.Shut, nil, false
	c.peerAlloc, c.peerForwarded, c.sent = s.PeerAlloc, s.PeerForwarded, s.Sent
	c.received, c.forwarded, c.told = s.Received, s.Forwarded, s.Told
	c.in = append(c.in[:0], s.In...)
	c.out, c.outAt = append(c.out[:0], s.Out...), 0
	if c.due() != 0 {
		d.enqueue(c)
	}
}
