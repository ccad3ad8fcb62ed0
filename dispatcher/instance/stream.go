package instance

import (
	"errors"
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

// arrived takes what the guest sent and reports whether a frame is complete.
func (s *Stream) arrived() bool {
	if s.conn == nil {
		return false
	}
	s.reply = append(s.reply, s.conn.Take()...)
	f, _, ok, err := decodeFrame(s.reply)
	if err != nil {
		s.err = err
		return true
	}
	if ok {
		s.frame = f
	}
	return ok
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
