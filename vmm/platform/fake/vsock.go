package fake

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"

	"seuss/guest"
)

// Vsock is the guest's driver of its virtio socket device (VIRTIO 1.2, 5.10): streams to
// ports of the host. What it knows lies in the guest's memory whenever the guest rests,
// so that a stream that is open in a snapshot is open after restore.
type Vsock struct {
	c *CPU
	s vsockState
}

type vsockState struct {
	Avail, Used [3]uint16 // offered, and looked at
	Listening   []uint32
	NextPort    uint32
	Streams     []*Stream
}

// Stream is one stream. Its fields are for the encoding.
type Stream struct {
	Host, Guest                    uint32
	Open, Ended, Taken             bool // agreed; the host sends no more; Accept returned it
	PeerAlloc, PeerForwarded, Sent uint32
	Forwarded, Told                uint32
	In                             []byte

	v *Vsock
}

// Where rings and buffers lie, from vsockGPA on.
const (
	ringsStride = 0x1000 // descriptors, at 0x400 the available ring, at 0x800 the used one
	slots       = 16
	receiveGPA  = vsockGPA + 0x10000
	transmitGPA = vsockGPA + 0x20000
	slotBytes   = 0x1000
	savedGPA    = 0x700000 // the state: uint32 length, JSON
	savedBytes  = wordsGPA - savedGPA

	window = 256 << 10 // what the host may send before it is taken: our buf_alloc
)

const (
	receive, transmit = 0, 1 // queues; the third, of events, stays empty

	packetBytes = 44 // struct virtio_vsock_hdr

	request, response, reset, shutdown, data, credit, wantCredit = 1, 2, 3, 4, 5, 6, 7 // enum virtio_vsock_op
)

// Registers of virtio-mmio, VIRTIO 1.2, 4.2.2.
const (
	mmio         = guest.VsockMMIOGPA
	mmioFeatures = mmio + 0x020
	mmioWhich    = mmio + 0x024
	mmioQueue    = mmio + 0x030
	mmioSize     = mmio + 0x038
	mmioEnable   = mmio + 0x044
	mmioNotify   = mmio + 0x050
	mmioState    = mmio + 0x070
	mmioRings    = mmio + 0x080 // descriptors, available, used: low and high half, 16 bytes apart
)

// Vsock returns the driver. The first time it initialises the device.
func (c *CPU) Vsock() *Vsock {
	if c.vsock != nil {
		return c.vsock
	}
	v := &Vsock{c: c}
	c.vsock = v
	if n := binary.LittleEndian.Uint32(c.mem[savedGPA:]); n != 0 {
		if err := json.Unmarshal(c.mem[savedGPA+4:savedGPA+4+n], &v.s); err != nil {
			panic(fmt.Sprintf("fake guest: its streams: %v", err))
		}
		for _, s := range v.s.Streams {
			s.v = v
		}
		v.poll()
		return v
	}
	v.setUp()
	return v
}

// save writes what the driver knows to memory.
func (v *Vsock) save() {
	b, err := json.Marshal(&v.s)
	if err != nil || len(b)+4 > savedBytes {
		panic(fmt.Sprintf("fake guest: %d bytes of streams: %v", len(b), err))
	}
	v.c.Write(savedGPA, append(binary.LittleEndian.AppendUint32(nil, uint32(len(b))), b...))
}

func rings(queue int) guest.GPA { return guest.GPA(vsockGPA + queue*ringsStride) }

// setUp follows VIRTIO 3.1.1.
func (v *Vsock) setUp() {
	c := v.c
	v.s.NextPort = 1024
	c.Store(mmioState, 0)
	c.Store(mmioState, 3)
	c.Store(mmioWhich, 1)
	c.Store(mmioFeatures, 1)
	c.Store(mmioState, 11)
	for q := range 3 {
		c.Store(mmioQueue, uint32(q))
		c.Store(mmioSize, slots)
		for i, at := range []guest.GPA{rings(q), rings(q) + 0x400, rings(q) + 0x800} {
			c.Store(guest.GPA(mmioRings+16*i), uint32(at))
			c.Store(guest.GPA(mmioRings+16*i+4), 0)
		}
		c.Store(mmioEnable, 1)
	}
	c.Store(mmioState, 15)
	for i := range uint16(slots) {
		v.describe(receive, i, guest.GPA(receiveGPA+int(i)*slotBytes), slotBytes, 2)
		v.offer(receive, i)
	}
}

func (v *Vsock) describe(queue int, slot uint16, gpa guest.GPA, n int, flags uint16) {
	d := binary.LittleEndian.AppendUint64(nil, uint64(gpa))
	d = binary.LittleEndian.AppendUint32(d, uint32(n))
	d = binary.LittleEndian.AppendUint16(d, flags)
	v.c.Write(rings(queue)+guest.GPA(16*slot), append(d, 0, 0))
}

func (v *Vsock) offer(queue int, slot uint16) {
	at, n := rings(queue)+0x400, &v.s.Avail[queue]
	v.c.Write(at+4+guest.GPA(2*(*n%slots)), binary.LittleEndian.AppendUint16(nil, slot))
	*n++
	v.c.Write(at+2, binary.LittleEndian.AppendUint16(nil, *n))
}

// used returns the next buffer that the device has used.
func (v *Vsock) used(queue int) (slot uint16, n uint32, ok bool) {
	b, seen := v.c.mem[rings(queue)+0x800:], &v.s.Used[queue]
	if binary.LittleEndian.Uint16(b[2:]) == *seen {
		return 0, 0, false
	}
	e := b[4+8*int(*seen%slots):]
	*seen++
	return uint16(binary.LittleEndian.Uint32(e)), binary.LittleEndian.Uint32(e[4:]), true
}

// send queues one packet.
func (v *Vsock) send(s *Stream, op uint16, flags uint32, payload []byte) {
	for _, _, ok := v.used(transmit); ok; _, _, ok = v.used(transmit) {
	}
	for v.s.Avail[transmit]-v.s.Used[transmit] == slots {
		v.c.Store(mmioNotify, transmit)
		for _, _, ok := v.used(transmit); ok; _, _, ok = v.used(transmit) {
		}
	}
	le := binary.LittleEndian
	p := le.AppendUint64(nil, uint64(v.c.Identity().CID))
	p = le.AppendUint64(p, 2) // the host
	p = le.AppendUint32(le.AppendUint32(p, s.Guest), s.Host)
	p = le.AppendUint32(p, uint32(len(payload)))
	p = le.AppendUint16(le.AppendUint16(p, 1), op) // a stream's
	p = le.AppendUint32(le.AppendUint32(p, flags), window)
	p = append(le.AppendUint32(p, s.Forwarded), payload...)
	s.Told = s.Forwarded
	slot := v.s.Avail[transmit] % slots
	at := guest.GPA(transmitGPA + int(slot)*slotBytes)
	v.c.Write(at, p)
	v.describe(transmit, slot, at, len(p), 0)
	v.offer(transmit, slot)
}

// poll takes what the device has delivered.
func (v *Vsock) poll() {
	for {
		slot, n, ok := v.used(receive)
		if !ok {
			return
		}
		p := v.c.Read(guest.GPA(receiveGPA+int(slot)*slotBytes), int(n))
		v.offer(receive, slot)
		v.packet(p)
	}
}

func (v *Vsock) packet(p []byte) {
	le := binary.LittleEndian
	host, port, op := le.Uint32(p[16:]), le.Uint32(p[20:]), le.Uint16(p[30:])
	s := v.find(func(s *Stream) bool { return s.Host == host && s.Guest == port })
	if s == nil && op != request {
		return // of a stream that is over
	}
	if s == nil {
		s = &Stream{Host: host, Guest: port, v: v}
		if !slices.Contains(v.s.Listening, port) {
			v.send(s, reset, 0, nil)
			return
		}
		v.s.Streams = append(v.s.Streams, s)
		s.Open = true
		v.send(s, response, 0, nil)
	}
	s.PeerAlloc, s.PeerForwarded = le.Uint32(p[36:]), le.Uint32(p[40:])
	switch op {
	case response:
		s.Open = true
	case reset:
		s.Open, s.Ended = false, true
	case shutdown:
		s.Ended = s.Ended || le.Uint32(p[32:])&2 != 0
		if le.Uint32(p[32:])&3 == 3 {
			s.Open = false
			v.send(s, reset, 0, nil)
		}
	case data:
		s.In = append(s.In, p[packetBytes:]...)
	case wantCredit:
		v.send(s, credit, 0, nil)
	}
}

func (v *Vsock) find(is func(*Stream) bool) *Stream {
	if i := slices.IndexFunc(v.s.Streams, is); i >= 0 {
		return v.s.Streams[i]
	}
	return nil
}

// wait rests until there is something to do.
func (v *Vsock) wait() {
	v.c.Wait()
	v.poll()
}

// Stream returns the stream to a port of the host: the one that is open, or a new one.
// Where nobody listens it is at its end.
func (v *Vsock) Stream(hostPort uint32) *Stream {
	v.poll()
	if s := v.find(func(s *Stream) bool { return s.Host == hostPort && !s.Ended }); s != nil {
		return s
	}
	s := &Stream{Host: hostPort, Guest: v.s.NextPort, v: v}
	v.s.NextPort++
	v.s.Streams = append(v.s.Streams, s)
	v.send(s, request, 0, nil)
	for !s.Open && !s.Ended {
		v.wait()
	}
	return s
}

// Listen lets the host connect to a port.
func (v *Vsock) Listen(port uint32) {
	if !slices.Contains(v.s.Listening, port) {
		v.s.Listening = append(v.s.Listening, port)
	}
}

// Accept waits for the next stream that the host has opened to a port.
func (v *Vsock) Accept(port uint32) *Stream {
	for {
		if s := v.find(func(s *Stream) bool { return s.Guest == port && s.Open && !s.Taken }); s != nil {
			s.Taken = true
			return s
		}
		v.wait()
	}
}

// Read waits for bytes from the host and takes at most n of them; none: the end.
func (s *Stream) Read(n int) []byte {
	s.v.c.Poll()
	for len(s.In) == 0 {
		if s.Ended {
			return nil
		}
		s.v.wait()
	}
	p := s.In[:min(n, len(s.In))]
	s.take(len(p))
	return p
}

// Write sends bytes to the host, and waits where it takes no more. It reports whether
// the stream was still open.
func (s *Stream) Write(p []byte) bool {
	for len(p) > 0 {
		s.v.poll()
		if !s.Open {
			return false
		}
		n := min(len(p), slotBytes-packetBytes, int(s.PeerAlloc-(s.Sent-s.PeerForwarded)))
		if n <= 0 {
			s.v.wait()
			continue
		}
		s.v.send(s, data, 0, p[:n])
		s.Sent += uint32(n)
		p = p[n:]
	}
	return s.Open
}

// Close ends the stream.
func (s *Stream) Close() {
	if s.Open {
		s.v.send(s, shutdown, 3, nil)
	}
}

// WriteFrame sends a frame of the driver's protocol.
func (s *Stream) WriteFrame(kind uint8, payload []byte) bool {
	head := binary.LittleEndian.AppendUint32(nil, uint32(len(payload)))
	return s.Write(append(append(head, kind), payload...))
}

// ReadFrame waits for a whole frame; kind 0 is the end of the stream. What has come of
// one that is not whole stays in the guest's memory.
func (s *Stream) ReadFrame() (kind uint8, payload []byte) {
	s.v.c.Poll()
	for {
		if len(s.In) >= guest.FrameHeader {
			if n := int(binary.LittleEndian.Uint32(s.In)); len(s.In) >= guest.FrameHeader+n {
				kind, payload = s.In[4], s.In[guest.FrameHeader:][:n]
				s.take(guest.FrameHeader + n)
				return kind, payload
			}
		}
		if s.Ended {
			return 0, nil
		}
		s.v.wait()
	}
}

func (s *Stream) take(n int) {
	s.In = s.In[n:]
	s.Forwarded += uint32(n)
	if s.Forwarded-s.Told >= window/2 && s.Open {
		s.v.send(s, credit, 0, nil)
	}
}
