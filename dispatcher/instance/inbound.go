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

// Dial opens a connection from 127.0.0.1 to a TCP port of the guest. The guest decides of
// it while it runs; where nobody listens, or the listener's queue is full, the connection
// ends with vsock.ErrReset.
func (i *Instance) Dial(port uint16) (*vsock.Conn, error) {
	c, err := i.vm.m.Vsock().Dial(guest.InboundPort + uint32(port))
	if err != nil {
		return nil, fmt.Errorf("connect to port %d of the guest: %w", port, err)
	}
	return c, nil
}
