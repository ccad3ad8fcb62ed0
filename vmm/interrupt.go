package vmm

import (
	"seuss/guest"
	"seuss/vmm/platform"
)

// interrupted decides after a kick. Messages are delivered, then the guest is
// made to look at them: a program is diverted to the kernel library's upcall
// entry; the kernel library itself, which is never interrupted, finds a word
// set that it reads before it returns to the program.
func (m *runLoop) interrupted() (Stop, error) {
	if stop := m.due(m.until); stop.Kind != 0 {
		return stop, nil
	}
	if stop, err := m.service(m.until); stop.Kind != 0 || err != nil {
		return stop, err
	}
	if m.options.Done != nil && m.options.Done() {
		return Stop{Kind: StopDone, GuestDeadlineNS: m.guestDeadline()}, nil
	}
	m.learnUpcall()
	var r platform.Regs
	m.vcpu.Regs(&r)
	inKernel := r.RIP >= guest.KernelGPA && r.RIP < m.trusted.kernelEnd
	if inKernel || m.trusted.upcallEntry == 0 || m.vcpu.EventPending() {
		// An exception on its way saves RIP when it is delivered: changing RIP
		// now would make it return into the upcall. It enters the kernel
		// library, which is as good. The kernel library may have looked at its queues
		// already and be about to rest: the interrupt stays, so that it does not.
		storeU32(m.control[guest.ControlAttention:], 1)
		m.mem.MarkWritten(guest.ControlGPA+guest.ControlAttention, 4)
		return Stop{}, nil
	}
	m.vsock.TakeInterrupt() // the upcall looks at the queues
	m.stats.Upcalls++
	put64(m.control[guest.ControlUpcallRIP:], r.RIP)
	put64(m.control[guest.ControlUpcallRSP:], r.RSP)
	put64(m.control[guest.ControlUpcallRFLAGS:], r.RFLAGS)
	m.mem.MarkWritten(guest.ControlGPA+guest.ControlUpcallRIP, 24)
	r.RIP = m.trusted.upcallEntry
	r.RFLAGS &^= flagTF | flagDF | flagAC
	m.vcpu.SetRegs(&r)
	return Stop{}, nil
}

// Flags that an interrupt gate or the syscall mask clears as well: the kernel
// library must not run with them.
const (
	flagTF = 1 << 8
	flagDF = 1 << 10
	flagAC = 1 << 18
)

// learnUpcall takes over the upcall entry once the kernel library has set it.
// An address outside the kernel library is not believed.
func (m *Machine) learnUpcall() {
	if m.trusted.upcallEntry != 0 {
		return
	}
	entry := le64(m.control[guest.ControlUpcallEntry:])
	if entry >= guest.KernelGPA && entry < m.trusted.kernelEnd {
		m.trusted.upcallEntry = entry
	}
}

// tick is called by the ticker while the guest may be running. It kicks the
// guest where something waits for it, and reports whether it did.
func (m *Machine) tick(now int64) bool {
	m.ticking.Lock()
	defer m.ticking.Unlock()
	if !m.running.Load() {
		return false
	}
	if d := m.deadline.Load(); d != 0 && now >= d || m.stopAsked.Load() {
		m.vcpu.Kick() // if the guest does not run, it returns at once the next time
		return true
	}
	entries := m.entries.Load()
	if entries&1 == 0 { // the guest does not run
		m.tickSeen = entries
		return false
	}
	if entries != m.tickSeen { // entered since the last tick
		m.tickSeen = entries
		return false
	}
	timer := m.guestDeadline()
	if loadU32(m.control[guest.ControlRunnable:]) != 0 || loadU32(m.control[guest.ControlAttention:]) != 0 ||
		m.vsock.Waiting() || timer != 0 && timer <= m.clock.now() {
		m.vcpu.Kick()
		return true
	}
	return false
}
