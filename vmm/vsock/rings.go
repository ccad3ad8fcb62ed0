package vsock

import "io"

// serviceBytes bounds what one service moves in either direction, so that Run can
// look whether it has to stop: it takes well below a millisecond. A descriptor counts
// as descriptorCost bytes.
const (
	serviceBytes   = 1 << 20
	descriptorCost = 256
)

// cost is what a chain takes of the budget of a service.
func cost(chain []segment) int { return chainBytes(chain) + len(chain)*descriptorCost }

// transmit takes the packets that the guest has put into its transmit queue, as far
// as the budget goes. The guest does not run, so there are at most as many as the
// queue is long.
func (d *Device) transmit() error {
	q := &d.queues[queueTX]
	n, err := q.available()
	if n == 0 || err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	taken := false
	for budget := serviceBytes; n > 0 && len(d.resets) < maxResets; n-- {
		if budget <= 0 {
			d.more = true
			break
		}
		head, chain, err := q.pop(d.chain[:0])
		if err != nil {
			return err
		}
		budget -= cost(chain)
		if err := d.packet(q, chain); err != nil {
			return err
		}
		q.push(head, 0)
		taken = true
	}
	if taken && q.wantsInterrupt() {
		d.raise()
	}
	return nil
}

func (d *Device) raise() {
	d.interrupt = true
	d.interruptStatus |= interruptUsed
}

// packet handles one packet of the guest. The lock is held.
func (d *Device) packet(q *virtqueue, chain []segment) error {
	for _, s := range chain {
		if s.write {
			return q.broken("a transmit buffer at %#x is for the device to write", uint64(s.gpa))
		}
	}
	var raw [headerBytes]byte
	if n := copyFrom(chain, 0, raw[:]); n < headerBytes {
		return q.broken("a packet of %d bytes is shorter than its header", n)
	}
	var h packetHeader
	h.decode(&raw)
	if h.length > maxPayload || int(h.length) > chainBytes(chain)-headerBytes {
		return q.broken("a packet with %d bytes of payload in %d bytes of buffers", h.length, chainBytes(chain))
	}
	key := connKey{host: h.dstPort, guest: h.srcPort}
	if h.dstCID != hostCID || h.kind != typeStream {
		d.refuse(&h)
		return nil
	}
	c := d.conns[key]
	if c == nil {
		if h.op == opRequest && d.accept(key, &h) {
			return nil
		}
		d.refuse(&h)
		return nil
	}
	c.peerAlloc, c.peerForwarded = h.bufAlloc, h.fwdCnt
	d.receive(c, &h, chain)
	if c.due() != 0 {
		d.enqueue(c) // the packet may have brought credit
	}
	return nil
}

// refuse answers a packet for which there is no stream. The lock is held.
func (d *Device) refuse(h *packetHeader) {
	if h.op == opReset { // never answer a reset with a reset
		return
	}
	d.resets = append(d.resets, packetHeader{
		srcCID: h.dstCID, dstCID: h.srcCID, srcPort: h.dstPort, dstPort: h.srcPort, kind: h.kind, op: opReset,
	})
	d.waiting.Store(true)
}

// accept opens a stream that the guest asks for. The lock is held; it is given
// up while the listener is asked.
func (d *Device) accept(key connKey, h *packetHeader) bool {
	listener := d.listeners[key.host]
	if listener == nil || len(d.conns) >= maxConns {
		return false
	}
	c := newConn(d, key)
	c.state, c.pending = StreamOpen, pendResponse
	c.peerAlloc, c.peerForwarded = h.bufAlloc, h.fwdCnt
	d.conns[key] = c
	d.mu.Unlock()
	err := listener(c)
	d.mu.Lock()
	if err != nil {
		c.out, c.outAt = c.out[:0], 0
		c.state, c.pending = StreamClosing, pendReset
	}
	d.enqueue(c)
	return true
}

// receive handles a packet of an existing stream. The lock is held.
func (d *Device) receive(c *Conn, h *packetHeader, chain []segment) {
	switch h.op {
	case opReset:
		reason := ErrReset
		switch {
		case c.state == StreamConnecting:
			reason = ErrRefused
		case c.state == StreamClosing || c.peerShut == shutBoth || c.shut == shutBoth:
			reason = io.EOF
		}
		d.drop(c, reason)
	case opResponse:
		if c.state != StreamConnecting {
			d.abort(c)
			return
		}
		c.state = StreamOpen
		d.enqueue(c)
		d.happened(c)
	case opData:
		d.data(c, h, chain)
	case opShutdown:
		c.peerShut |= uint8(h.flags) & shutBoth
		if c.peerShut == shutBoth {
			// A clean end: the reset tells the guest that the port is free again.
			c.out, c.outAt = c.out[:0], 0
			c.state, c.pending, c.err = StreamClosing, pendReset, io.EOF
			d.enqueue(c)
		}
		d.happened(c)
	case opCreditUpdate:
		// Taken over from every packet already.
	case opCreditRequest:
		c.pending |= pendCredit
		d.enqueue(c)
	default: // a second request, or an operation that does not exist
		d.abort(c)
	}
}

// data appends a packet's payload to the stream. The lock is held.
func (d *Device) data(c *Conn, h *packetHeader, chain []segment) {
	unread := c.received - c.forwarded
	if c.state == StreamClosing {
		c.received += h.length
		c.forwarded += h.length // nobody reads it any more
		return
	}
	if c.state != StreamOpen || c.peerShut&shutSend != 0 || unread+h.length > recvWindow {
		d.abort(c)
		return
	}
	if h.length == 0 {
		return
	}
	at := len(c.in)
	c.in = grow(c.in, int(h.length))
	copyFrom(chain, headerBytes, c.in[at:])
	c.received += h.length
	d.happened(c)
}

// grow lengthens b by n bytes.
func grow(b []byte, n int) []byte {
	if need := len(b) + n; need > cap(b) {
		bigger := make([]byte, len(b), max(need, 2*cap(b), 4096))
		copy(bigger, b)
		b = bigger
	}
	return b[:len(b)+n]
}

// abort resets a stream whose guest side broke the protocol. The lock is held.
func (d *Device) abort(c *Conn) {
	c.out, c.outAt = c.out[:0], 0
	c.state, c.pending = StreamClosing, pendReset
	if c.err == nil {
		c.err = ErrReset
	}
	d.enqueue(c)
	d.happened(c)
}

// deliver fills the guest's receive buffers with what waits for it, as far as
// there are buffers and credit.
func (d *Device) deliver() error {
	q := &d.queues[queueRX]
	n, err := q.available()
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delivered := false
	d.budget = serviceBytes
	for n > 0 && (len(d.resets) > 0 || len(d.sending) > 0) {
		if d.budget <= 0 {
			d.more = true
			break
		}
		if len(d.resets) > 0 {
			if err := d.put(q, &d.resets[0], nil, nil); err != nil {
				return err
			}
			d.resets = d.resets[:copy(d.resets, d.resets[1:])]
			n--
			delivered = true
			continue
		}
		c := d.sending[0]
		if op := c.due(); op != 0 {
			if err := d.next(q, c, op); err != nil {
				return err
			}
			n--
			delivered = true
		}
		// One packet in turn: a busy stream does not starve the others.
		d.sending = d.sending[:copy(d.sending, d.sending[1:])]
		c.queued = false
		if c.due() != 0 {
			c.queued = true
			d.sending = append(d.sending, c)
		}
	}
	d.waiting.Store(len(d.resets) > 0 || len(d.sending) > 0)
	if delivered {
		d.raise()
	}
	return nil
}

// due returns the operation of the packet that a stream can send now, 0 if
// there is none. Shutdown comes after the data. The lock is held.
func (c *Conn) due() uint16 {
	left := len(c.out) - c.outAt
	switch {
	case c.state == StreamClosed:
		return 0
	case c.pending&pendReset != 0:
		return opReset
	case c.pending&pendRequest != 0:
		return opRequest
	case c.pending&pendResponse != 0:
		return opResponse
	case c.state == StreamConnecting:
		return 0
	case left > 0 && c.credit() > 0:
		return opData
	case c.pending&pendCredit != 0:
		return opCreditUpdate
	case left == 0 && c.pending&pendShutdown != 0:
		return opShutdown
	}
	return 0
}

// next sends the packet that is due on a stream. The lock is held.
func (d *Device) next(q *virtqueue, c *Conn, op uint16) error {
	h := packetHeader{
		srcCID: hostCID, dstCID: d.cid, srcPort: c.key.host, dstPort: c.key.guest, kind: typeStream, op: op,
		bufAlloc: recvWindow, fwdCnt: c.forwarded,
	}
	var payload []byte
	switch op {
	case opReset:
		if err := d.put(q, &h, nil, nil); err != nil {
			return err
		}
		d.drop(c, ErrReset)
		return nil
	case opRequest:
		c.pending &^= pendRequest
	case opResponse:
		c.pending &^= pendResponse
	case opShutdown:
		h.flags = uint32(c.shut)
		c.pending &^= pendShutdown
	case opData:
		payload = c.out[c.outAt:]
		payload = payload[:min(len(payload), int(min(c.credit(), maxPayload)))]
	}
	c.pending &^= pendCredit // every packet carries the credit
	c.told = c.forwarded
	return d.put(q, &h, payload, c)
}

// put writes one packet into the guest's next receive buffer. Of a payload
// that is larger than the buffer as much as fits is sent; the stream c is
// advanced by that. The lock is held.
func (d *Device) put(q *virtqueue, h *packetHeader, payload []byte, c *Conn) error {
	head, chain, err := q.pop(d.chain[:0])
	if err != nil {
		return err
	}
	d.budget -= cost(chain)
	for _, s := range chain {
		if !s.write {
			return q.broken("a receive buffer at %#x is not for the device to write", uint64(s.gpa))
		}
	}
	room := chainBytes(chain) - headerBytes
	if room < 0 || room == 0 && len(payload) > 0 {
		return q.broken("a receive buffer of %d bytes", room+headerBytes)
	}
	payload = payload[:min(len(payload), room)]
	h.length = uint32(len(payload))
	var raw [headerBytes]byte
	h.encode(&raw)
	d.scatter(chain, raw[:], payload)
	q.push(head, headerBytes+h.length)
	if c != nil && len(payload) > 0 {
		c.outAt += len(payload)
		c.sent += h.length
		c.compact()
		if c.changed != nil {
			c.changed.Broadcast()
		}
	}
	return nil
}

// scatter writes two byte strings one after the other over a chain and marks
// the pages.
func (d *Device) scatter(chain []segment, a, b []byte) {
	for _, s := range chain {
		n := copy(s.buf, a)
		a = a[n:]
		if len(a) == 0 && n < len(s.buf) {
			m := copy(s.buf[n:], b)
			b = b[m:]
			n += m
		}
		d.mem.MarkWritten(s.gpa, uint64(n))
		if len(a) == 0 && len(b) == 0 {
			return
		}
	}
}
