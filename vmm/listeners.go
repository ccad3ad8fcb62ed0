package vmm

import (
	"iter"

	"seuss/guest"
)

// Input is what the guest said of its standard input when it last rested, or read some.
type Input struct {
	Taken  uint32 // bytes that were read, of which the bits of guest.InputTaken are left
	Open   bool   // what is sent is read some time
	Waited bool   // there is none, and a thread waits for some
}

// InputOf is for whoever has the machine while the guest does not run.
func InputOf(m *Memory) Input {
	is := le32(m.backing.Page(guest.ControlGPA / pageSize)[guest.ControlGPA%pageSize+guest.ControlInput:])
	return Input{Taken: is & guest.InputTaken, Open: is&guest.InputOpen != 0, Waited: is&guest.InputWaited != 0}
}

// Listeners yields what the guest said of its TCP listeners when it last rested, at most
// guest.ListenersMax of them. It is for whoever has the machine while the guest does not
// run.
func Listeners(m *Memory) iter.Seq[guest.Listener] {
	control := m.backing.Page(guest.ControlGPA / pageSize)[guest.ControlGPA%pageSize:]
	return func(yield func(guest.Listener) bool) {
		n := min(le32(control[guest.ControlListenerCount:]), guest.ListenersMax)
		for i := range n {
			at := control[guest.ControlListeners+i*guest.ListenerSize:]
			l := guest.Listener{
				Port:   uint16(at[guest.ListenerPort]) | uint16(at[guest.ListenerPort+1])<<8,
				Flags:  uint16(at[guest.ListenerFlags]) | uint16(at[guest.ListenerFlags+1])<<8,
				Queued: le32(at[guest.ListenerQueued:]),
			}
			if !yield(l) {
				return
			}
		}
	}
}
