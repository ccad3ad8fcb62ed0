package instance

import (
	"errors"
	"fmt"

	"seuss/guest"
	"seuss/vmm"
	"seuss/vmm/platform"
	"seuss/vmm/vsock"
)

// VM is a machine that instances live on, one after the other, each from a snapshot of
// its image: between two of them memory, registers and devices are put back.
type VM struct {
	host  *Host
	image *Image
	m     *vmm.Machine
	plan  memoryPlan
	room  Room // that it takes

	number uint64

	state    State
	snapshot *Snapshot // Ready: that it stands on; Running, Ran: that its instance is of; nil: none yet
	instance *Instance // while it is Running

	stream Stream
	logs   logBuffer

	// Made once, because a function value is allocated.
	arrived     func() bool // the stream's
	interrupt   func()      // see interruption
	interrupted <-chan struct{}

	paged      uint64    // pages that were paged in, as of the last instance
	exits      uint64    // how often the guest was left, as of the last report
	recording  *Snapshot // whose loading set its first instance gives
	first      bool      // no snapshot was ever shown
	learning   *Snapshot // whose written pages its first instance gives
	faults     uint64    // host page faults whose pages are accounted for
	before     uint64    // the same when the last instance began
	unobserved bool      // there was an instance since the Observer was last told
}

// NewVM makes a machine that is going to be brought to s: its memory shows s, or what s has
// in common with many. It is to be closed.
func NewVM(h *Host, img *Image, s *Snapshot) (*VM, error) {
	vm := &VM{host: h, image: img, first: true, room: h.Room, number: h.machines.Add(1)}
	if vm.room == nil {
		vm.room = plenty{}
	}
	if err := vm.room.Take(); err != nil {
		return nil, err
	}
	if err := vm.make(s, false); err != nil {
		vm.room.Give()
		return nil, fmt.Errorf("machine for image %q: %w", img.Name, err)
	}
	return vm, nil
}

func (vm *VM) make(s *Snapshot, logDirty bool) (err error) {
	l, err := vm.host.layout(s)
	if err != nil {
		return err
	}
	vm.m, err = vmm.NewMachine(vm.host.Platform, vmm.Config{
		RAMBytes: vm.image.MemoryBytes, ImageBytes: vm.image.ImageBytes, Content: vm.image.Content,
		Console: vm.logs.write, ConsoleLimit: maxLogBytes, LogDirty: logDirty, API: vm.answer,
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoMachine, err)
	}
	vm.arrived = vm.stream.arrived
	vm.interrupt, vm.interrupted = interruption(vm.m)
	if err = vm.listen(); err == nil {
		if vm.plan, err = newMemoryPlan(vm.host, vm.m.Memory(), vm.room); err == nil {
			if err = vm.plan.lay(l, true); err == nil {
				return nil
			}
			err = errors.Join(err, vm.plan.tracker.Close())
		}
	}
	return errors.Join(err, vm.m.Close())
}

// listen takes the streams that the guest opens, other than a driver's, for its instance.
func (vm *VM) listen() error {
	device := vm.m.Vsock()
	var err error
	for _, port := range outwardPorts {
		device.Unlisten(port)
		err = errors.Join(err, device.Listen(port, vm.outward))
	}
	for _, port := range contractPorts {
		device.Unlisten(port)
		err = errors.Join(err, device.Listen(port, vm.met))
	}
	return err
}

// outwardPorts are those whose streams leave the machine: see Outside.
var outwardPorts = []uint32{guest.NetPort, guest.FunctionApiPort}

// outward takes a stream that wants to leave the machine.
func (vm *VM) outward(c *vsock.Conn) error {
	if vm.instance == nil || vm.instance.outside == nil { // what is captured before a function runs comes from the machine alone
		return errNoWay
	}
	return vm.instance.outside.Accept(c)
}

// answer answers what the function of the VM's instance asks in one exit: it is a vmm.APIFunc.
func (vm *VM) answer(request, answer []byte) (int, bool) {
	if vm.instance == nil || vm.instance.outside == nil { // as for outward
		return 0, false
	}
	return vm.instance.outside.Answer(request, answer)
}

// Restore brings the VM to a snapshot: memory, registers, devices. It is Ready then, or
// Dead if that failed.
func (vm *VM) Restore(s *Snapshot) (Moved, error) {
	m, err := vm.restore(s)
	if err != nil {
		vm.enter(Dead)
		return m, fmt.Errorf("restore node %.12s: %w", s.Node.Info.ID, err)
	}
	vm.enter(Ready)
	vm.snapshot = s
	vm.host.Observer.Restored(m)
	return m, nil
}

func (vm *VM) restore(s *Snapshot) (m Moved, err error) {
	if m, err = vm.show(s); err != nil {
		return m, err
	}
	if err := vm.m.Restore(s.State); err != nil {
		return m, err
	}
	if err := vm.stream.attach(vm.m, s.Node.Key.Contract); err != nil {
		return m, err
	}
	vm.logs.reset()
	vm.m.ResetConsole()
	return m, nil
}

// show has memory show a snapshot.
func (vm *VM) show(s *Snapshot) (m Moved, err error) {
	if err := vm.m.Settle(); err != nil {
		return m, err
	}
	if err := vm.collect(); err != nil {
		return m, err
	}
	vm.observe()
	vm.plan.snapshot = s
	if m, err = vm.plan.deploy(s.View); err != nil {
		return m, err
	}
	return m, vm.makeWritten(s)
}

// observe tells what the last instance did. collect must have been called since.
func (vm *VM) observe() {
	if vm.unobserved {
		vm.unobserved = false
		vm.learnWritten()
		vm.host.Observer.Ran(vm.faults-vm.before, vm.plan.private.Len())
	}
}

// collect notes the pages that became private since the last call.
func (vm *VM) collect() error {
	now := vm.m.HostFaults()
	faulted := now != vm.faults
	vm.faults = now
	return vm.plan.collect(faulted)
}

// State says where the VM is in its life.
func (vm *VM) State() State { return vm.state }

// Snapshot is the one that a Ready VM stands on, and of which the last instance of
// another was; nil before the first.
func (vm *VM) Snapshot() *Snapshot { return vm.snapshot }

// ReadyOn reports whether whoever begins on the VM is a fresh instance of s.
func (vm *VM) ReadyOn(s *Snapshot) bool { return vm.state == Ready && vm.snapshot == s }

// Restorable reports whether there is a snapshot to bring the VM back to.
func (vm *VM) Restorable() bool { return vm.snapshot != nil && vm.snapshot.State != nil }

// Number tells it from all other machines that the Host has had.
func (vm *VM) Number() uint64 { return vm.number }

// Interrupt ends the current run of the guest, or the next one. It may be called from any
// goroutine, also when the VM is closed.
func (vm *VM) Interrupt() { vm.m.Interrupt() }

// Alive reports whether the machine still is: one may die while nothing runs on it.
func (vm *VM) Alive() bool { return vm.m.VM().Alive() }

// PrivatePages is how many pages are its own, as of the last restore or collection.
func (vm *VM) PrivatePages() uint64 { return vm.plan.private.Len() }

// Resident is what the VM takes of the host's memory, as the kernel counts it.
func (vm *VM) Resident() (platform.Resident, error) { return vm.m.Memory().Resident() }

// Close ends the machine.
func (vm *VM) Close() error {
	vm.enter(Dead)
	err := errors.Join(vm.plan.tracker.Close(), vm.m.Close())
	vm.plan.giveMappings() // now that there are none any more
	if vm.room != nil {
		vm.room.Give()
		vm.room = nil
	}
	return err
}
