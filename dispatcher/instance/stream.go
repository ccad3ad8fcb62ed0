package dispatcher

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"seuss/guest"
	"seuss/vmm"
)

var (
	// errInterrupted: the caller's context ended while the guest ran.
	errInterrupted = errors.New("interrupted")
	// errStream: the guest has ended the stream that only its driver may use.
	errStream = errors.New("the guest's driver has closed its stream")
)

// link is the host's end of the driver's stream.
type link struct {
	conn  *vmm.Conn
	reply []byte // bytes that came, not yet consumed
	frame frame
	err   error
	out   []byte // frame being sent, reused
}

// await prepares for a guest that has yet to connect.
func (l *link) await(m *vmm.Machine) error {
	*l = link{out: l.out[:0], reply: l.reply[:0]}
	return m.Vsock().Listen(guest.DriverPort, func(c *vmm.Conn) error {
		if l.conn != nil {
			return errors.New("the driver has its stream: nobody else speaks for it")
		}
		l.conn = c
		return nil
	})
}

// attach finds the stream again that was open at capture.
func (l *link) attach(m *vmm.Machine) error {
	*l = link{out: l.out[:0], reply: l.reply[:0]}
	for _, c := range m.Vsock().Conns() {
		if c.HostPort() == guest.DriverPort {
			l.conn = c
		} else {
			c.Reset() // whoever was at the other end when it was captured is not now
		}
	}
	if l.conn != nil {
		return nil
	}
	return errors.New("the snapshot has no open driver stream")
}

// arrived takes what the guest sent and reports whether a frame is complete.
func (l *link) arrived() bool {
	if l.conn == nil {
		return false
	}
	l.reply = append(l.reply, l.conn.Take()...)
	f, _, ok, err := decodeFrame(l.reply)
	if err != nil {
		l.err = err
		return true
	}
	if ok {
		l.frame = f
	}
	return ok
}

// send sends one frame made of parts.
func (l *link) send(kind uint8, parts ...[]byte) error {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	l.out = appendHeader(l.out[:0], kind, n)
	for _, p := range parts {
		l.out = append(l.out, p...)
	}
	l.reply = l.reply[:0]
	if err := l.conn.Send(l.out); err != nil {
		return fmt.Errorf("%w: %w", errStream, err)
	}
	return nil
}

// exchange sends a frame and runs the guest until it answers with one. The
// answer's payload is valid until the next exchange.
func (s *shell) exchange(deadline time.Time, kind uint8, parts ...[]byte) (frame, error) {
	if err := s.link.send(kind, parts...); err != nil {
		return frame{}, err
	}
	return s.runToFrame(deadline)
}

// runToFrame runs the guest until the driver's next frame is complete.
func (s *shell) runToFrame(deadline time.Time) (frame, error) {
	s.at = nil // whatever happens now, it is no fresh instance any more
	var stop vmm.Stop
	var err error
	for {
		until := s.nextLook(deadline)
		if stop, err = s.m.Run(vmm.RunOptions{Deadline: until, Wait: vmm.WaitEvents, Done: s.link.arrived}); err != nil {
			return frame{}, err
		}
		if stop.Kind != vmm.StopTimeout || until.Equal(deadline) {
			break
		}
		if err := s.checkMemory(); err != nil {
			return frame{}, err
		}
	}
	switch stop.Kind {
	case vmm.StopDone:
		if s.link.err != nil {
			return frame{}, s.crash(stop, s.link.err.Error())
		}
		return s.link.frame, nil
	case vmm.StopTimeout:
		return frame{}, ErrTimeout
	case vmm.StopInterrupted:
		return frame{}, errInterrupted
	case vmm.StopExit:
		return frame{}, fmt.Errorf("%w: exit status %d", ErrGuestExit, int32(stop.Code))
	}
	return frame{}, s.crash(stop, "")
}

// crash makes the error for a guest that died.
func (s *shell) crash(stop vmm.Stop, summary string) error {
	report := s.m.CrashReport(stop, nil)
	text := report.String()
	if summary == "" {
		summary, _, _ = strings.Cut(text, "\n")
	}
	return &CrashError{Summary: summary, Report: text}
}
