package instance

import (
	"errors"
	"fmt"
	"slices"

	"seuss/guest"
	"seuss/vmm"
	"seuss/vmm/vsock"
)

// Stream is the host's end of the driver's stream: it makes frames of the bytes there.
type Stream struct {
	conn  *vsock.Conn
	reply []byte // bytes that came, not yet consumed
	frame frame
	err   error
	out   []byte // frame being sent, reused
	piece pieces
}

// pieces is an answer that its driver may give in pieces.
type pieces struct {
	allowed bool
	begun   bool
	give    func(contentType string, p []byte) // nil: they are kept
	kind    string
	bytes   int
	kept    []byte
}

// maxContentType bounds what a driver says of its answer, in bytes.
const maxContentType = 256

// take takes a frame that is a part of the answer; false: it is none.
func (p *pieces) take(f frame) (bool, error) {
	switch {
	case f.kind != guest.MsgStream && f.kind != guest.MsgPiece:
		return false, nil
	case !p.allowed || p.begun != (f.kind == guest.MsgPiece):
		return false, fmt.Errorf("%w: message %d where no answer is streamed, or one is already", ErrProtocol, f.kind)
	case f.kind == guest.MsgStream && len(f.payload) > maxContentType:
		return false, fmt.Errorf("%w: a content type of %d bytes", ErrProtocol, len(f.payload))
	case f.kind == guest.MsgStream:
		p.begun, p.kind = true, string(f.payload)
		return true, nil
	}
	if p.bytes += len(f.payload); p.bytes > guest.ResultBytes {
		return false, fmt.Errorf("%w: it streams more than %d bytes", ErrProtocol, guest.ResultBytes)
	}
	if p.give != nil {
		p.give(p.kind, f.payload)
	} else {
		p.kept = append(p.kept, f.payload...)
	}
	return true, nil
}

// await prepares for a guest that has yet to connect.
func (s *Stream) await(m *vmm.Machine) error {
	*s = Stream{out: s.out[:0], reply: s.reply[:0]}
	return m.Vsock().Listen(guest.DriverPort, func(c *vsock.Conn) error {
		if s.conn != nil {
			return errors.New("the driver has its stream: nobody else speaks for it")
		}
		s.conn = c
		return nil
	})
}

// contractPorts are those to which programs of contracts other than a driver's open their
// stream, each a contract's.
var contractPorts = []uint32{guest.StdinPort, guest.RuntimeApiPort}

// attach finds the stream again that was open at capture: the driver's, or that of the
// contract, which may have none.
func (s *Stream) attach(m *vmm.Machine, contract string) error {
	*s = Stream{out: s.out[:0], reply: s.reply[:0]}
	for _, c := range m.Vsock().Conns() {
		if port := c.HostPort(); port == guest.DriverPort && contract == "" || contract != "" && slices.Contains(contractPorts, port) {
			s.conn = c
		} else {
			c.Reset() // whoever was at the other end when it was captured is not now
		}
	}
	if s.conn != nil || contract != "" {
		return nil
	}
	return errors.New("the snapshot has no open driver stream")
}

// open reports whether the guest's driver is at the other end.
func (s *Stream) open() bool { return s.conn.State() == vsock.StreamOpen && !s.conn.Ended() }

// arrived takes what the guest sent and reports whether a frame is complete that is no part
// of a streamed answer.
func (s *Stream) arrived() bool {
	if s.conn == nil {
		return false
	}
	s.reply = append(s.reply, s.conn.Take()...)
	left := s.reply
	for {
		f, rest, ok, err := decodeFrame(left)
		if err == nil && ok {
			var part bool
			if part, err = s.piece.take(f); part {
				left = rest
				continue
			}
		}
		if err != nil {
			s.err = err
			return true
		}
		if ok {
			s.frame = f
		} else if len(left) < len(s.reply) {
			s.reply = s.reply[:copy(s.reply, left)]
		}
		return ok
	}
}

// make makes a frame, which is valid until the next is made.
func (s *Stream) make(kind uint8, head []byte, parts ...[]byte) []byte {
	n := len(head)
	for _, p := range parts {
		n += len(p)
	}
	s.out = append(appendHeader(s.out[:0], kind, n), head...)
	for _, p := range parts {
		s.out = append(s.out, p...)
	}
	return s.out
}
