package vmm

import (
	"errors"
	"fmt"
	"time"

	"seuss/guest"
	"seuss/vmm/vsock"
)

// Parked is all that an instance has which has left its machine, but for its memory. It can
// go on on any machine of the same shape, once, or ends with Drop. To the guest nothing
// has happened but time: its clock went on, its timers are due when they were, and it keeps
// its identity.
type Parked struct {
	// Due is when the guest's earliest timer is; zero: it has none.
	Due time.Time
	// Woken: something has come for the guest while it was parked.
	Woken bool

	state  State // but for the device's, which is the device itself
	device vsock.Moving
	clock  guestClock
	output output
}

// errAway is why a machine cannot run whose instance was parked.
var errAway = errors.New("its instance has left the machine")

// Park takes what rests at its idle doorbell off the machine, which has to be restored or
// closed then. The memory is the caller's to read before, as for Capture. wake is called
// when something comes for the guest, from any goroutine, with a lock of the device held: it
// must neither block nor call the device.
func Park(m *Machine, wake func()) (*Parked, error) {
	if err := m.usable(); err != nil {
		return nil, fmt.Errorf("park: %w", err)
	}
	if !m.quiescent {
		return nil, fmt.Errorf("park: %w", ErrNotQuiescent)
	}
	p := &Parked{clock: m.clock}
	if err := m.read(&p.state); err != nil {
		return nil, fmt.Errorf("park: %w", err)
	}
	p.Due = dueAt(m, p.state.MonoNS)
	p.output = m.console.leave()
	p.device, m.vsock = vsock.Detach(m.vsock, wake)
	select {
	case <-m.wake: // for this one
		p.Woken = true
	default:
	}
	m.quiescent = false
	m.missing.Store(&errAway)
	return p, nil
}

// dueAt is when the guest's earliest timer is, whose monotonic time is now; zero: it has none.
func dueAt(m *Machine, now uint64) time.Time {
	timer := m.guestDeadline()
	if timer == 0 {
		return time.Time{}
	}
	left := int64(timer - now)
	return time.Now().Add(time.Duration(min(max(left, 0), int64(maxDeadlineNS))))
}

// Rests says when a guest that rests at its idle doorbell has something to do: when its
// earliest timer is due (zero: it has none), and when woken has something. It is the only
// one who reads from that until the next Run.
func Rests(m *Machine) (due time.Time, woken <-chan struct{}) {
	return dueAt(m, m.clock.now()), m.wake
}

// Resume brings an instance to the machine whose memory, which the caller has put in place,
// is what it was when it was parked. It is like Restore, but no identity is to be written:
// it is the same instance. After an error the machine has to be restored or closed.
func (p *Parked) Resume(m *Machine) error {
	err := m.become(&p.state, func() (err error) {
		m.vsock, err = p.device.Attach(m.vsock)
		return err
	})
	if err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	m.console.enter(p.output)
	offset := m.clock.offset
	m.clock = p.clock
	if err := m.clock.moved(offset, m.mem); err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	return nil
}

// moved has the identity page say how a machine's time-stamp counter gives the same time, if
// its offset from the host's is another than that of the machine before.
func (c *guestClock) moved(offset int64, mem *Memory) error {
	if offset == c.offset {
		return nil
	}
	c.baseTSC += uint64(offset - c.offset)
	c.offset = offset
	return mem.WriteU64(guest.IdentityGPA+guest.IdentityTSC, c.baseTSC)
}

// Capture is what Machine.Capture would have returned before: whatever is restored to it,
// with memory as it was, is another instance, with an identity of its own. It goes on being
// parked.
func (p *Parked) Capture() *State {
	s := p.state
	p.device.Save(&s.Vsock)
	return &s
}

// Drop ends an instance that is parked: its streams are over.
func (p *Parked) Drop() { p.device.Drop() }

// output is how much an instance has printed, and the end of it.
type output struct {
	limit, used int
	dropped     uint64
	tail        []byte
}

// leave returns it, and forgets it.
func (c *console) leave() output {
	o := output{limit: c.limit, used: c.used, dropped: c.dropped}
	if c.lastNext > 0 {
		o.tail = c.tail()
	}
	c.reset()
	return o
}

// enter is the other direction.
func (c *console) enter(o output) {
	c.limit, c.used, c.dropped = o.limit, o.used, o.dropped
	c.lastNext = uint64(copy(c.last[:], o.tail))
}
