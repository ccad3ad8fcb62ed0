package vsock

import "fmt"

// Moving is a device that has left its machine, with all that it is, to go on on another
// one: streams keep their Conn, whoever holds one reads and writes as before, within the
// same bounds, and bytes move again when it has a machine.
type Moving struct{ d *Device }

// Detach takes a device off its machine, which is not inside Run, and returns a new one for
// the machine. wake is called, in place of what New was given, until it has one again.
func Detach(d *Device, wake func()) (_ Moving, fresh *Device) {
	fresh = New(d.mem, uint32(d.cid), d.notify)
	fresh.called, d.called = d.called[:0], nil
	d.chain = nil
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mem, d.notify = nil, wake
	for i := range d.queues {
		q := &d.queues[i]
		q.mem, q.desc, q.avail, q.used = nil, nil, nil, nil
	}
	return Moving{d}, fresh
}

// Attach gives the device the machine of another one, which ends. The machine's memory must
// be what it was when the device was detached.
func (m Moving) Attach(instead *Device) (*Device, error) {
	d := m.d
	instead.ShutDown()
	d.chain, d.called = instead.chain, instead.called[:0]
	d.mu.Lock()
	d.mem, d.notify = instead.mem, instead.notify
	d.mu.Unlock()
	for i := range d.queues {
		d.queues[i].mem = d.mem
	}
	if err := reopen(d.queues[:]); err != nil {
		return d, fmt.Errorf("attach vsock: %w", err)
	}
	return d, nil
}

// Save is that of the device.
func (m Moving) Save(s *State) { m.d.Save(s) }

// Drop ends it: its streams are over.
func (m Moving) Drop() { m.d.ShutDown() }

// reopen claims the memory of queues that are ready: it is another machine's, or another
// instance's, now.
func reopen(queues []virtqueue) error {
	for i := range queues {
		if q := &queues[i]; q.Ready {
			q.Ready = false
			if err := q.open(); err != nil {
				return err
			}
		}
	}
	return nil
}
