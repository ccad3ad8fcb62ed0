package instance

import (
	"fmt"

	"seuss/guest"
	"seuss/vmm"
	"seuss/vmm/vsock"
)

// What the guest's TCP listeners are, and connections to them.

// Listener is a TCP socket of the guest that listens.
type Listener struct {
	Port uint16
	// Waited: a thread waits for its connections, in accept or for it to be readable.
	Waited bool
	// Reachable: Dial to its port reaches it, and no other.
	Reachable bool
}

// Listeners are those of the guest when it last came to rest, at most
// guest.ListenersMax, in no order. A guest can say of them what it likes.
func (i *Instance) Listeners() []Listener { return i.AppendListeners(nil) }

// AppendListeners is Listeners without an allocation, if list has room.
func (i *Instance) AppendListeners(list []Listener) []Listener {
	for l := range vmm.Listeners(i.vm.m.Memory()) {
		list = append(list, Listener{l.Port, l.Flags&guest.ListenerWaited != 0, l.Flags&guest.ListenerInbound != 0})
	}
	return list
}

// Inbound is the way to the guest's ports. Whoever has it may use it from any goroutine,
// wherever the instance is meanwhile, until the instance ends.
type Inbound struct{ device *vsock.Device }

// Inbound returns the way to the guest's ports. The instance is on a VM.
func (i *Instance) Inbound() Inbound { return Inbound{i.vm.m.Vsock()} }

// Dial opens a connection from 127.0.0.1 to a TCP port of the guest. The guest decides of
// it while it runs; where nobody listens, or the listener's queue is full, the connection
// ends with vsock.ErrReset.
func (in Inbound) Dial(port uint16) (*vsock.Conn, error) {
	c, err := in.device.Dial(guest.InboundPort + uint32(port))
	if err != nil {
		return nil, fmt.Errorf("connect to port %d of the guest: %w", port, err)
	}
	return c, nil
}

// inboundBytes is what the connections take at most that were dialled into a guest: what
// each side has written and the other has not taken.
func (vm *VM) inboundBytes() (bytes uint64) {
	for _, c := range vm.m.Vsock().Conns() {
		if c.GuestPort() >= guest.InboundPort {
			bytes += vsock.StreamBytes
		}
	}
	return bytes
}
