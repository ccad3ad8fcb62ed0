package vsock

import "fmt"

// A device can leave its machine and go on on another, with all that it is: streams keep
// their Conn, whoever holds one reads and writes as before, within the same bounds, and
// bytes move again when it has a machine.

// Detach takes the device off its machine, which is not inside Run, and returns a new one
// for the machine. From then on wake is called in place of what New was given.
func (d *Device) Detach(wake func()) (fresh *Device) {
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
	return fresh
}

// Attach gives a device that was detached the machine of another one, which ends. The
// machine's memory must be what it was when the device was detached.
func (d *Device) Attach(instead *Device) error {
	instead.ShutDown()
	d.chain, d.called = instead.chain, instead.called[:0]
	d.mu.Lock()
	d.mem, d.notify = instead.mem, instead.notify
	d.mu.Unlock()
	for i := range d.queues {
		d.queues[i].mem = d.mem
	}
	if err := d.reopen(); err != nil {
		return fmt.Errorf("attach vsock: %w", err)
	}
	return nil
}

// reopen claims the memory of queues that are ready: it is another machine's, or another
// instance's, now.
func (d *Device) reopen() error {
	for i := range d.queues {
		if q := &d.queues[i]; q.Ready {
			q.Ready = false
			if err := q.open(); err != nil {
				return err
			}
		}
	}
	return nil
}
