package instance

import (
	"fmt"
	"time"

	"seuss/dirtytrack"
	"seuss/guest"
	"seuss/lineage"
	"seuss/vmm"
)

// What an instance has that lives on between its uses: it leaves its VM when it rests, and
// others begin as what it is then.

// Park takes an instance off its VM, which is Ran then, once its guest has done what there
// is to do, and all its threads wait. A guest that computes on is an error that matches
// ErrTimeout; after an error the instance is on its VM still, and over. One that has left its
// VM already, as it waited, has none: nil.
func Park(i *Instance, deadline time.Time) (*VM, error) {
	if p := i.parked; p != nil {
		p.wake() // it may have heard that something had come, and not have gone on
		return nil, nil
	}
	if err := Settle(i, deadline); err != nil {
		return nil, err
	}
	return Leave(i)
}

// Settle has the guest of an instance do what there is to do, until all its threads wait. One
// that computes on is an error that matches ErrTimeout, and the instance is over after any.
func Settle(i *Instance, deadline time.Time) error { return i.vm.settle(deadline) }

// Leave takes an instance that has settled, and done nothing since, off its VM, which is Ran
// then. After an error it is on it still, and over.
func Leave(i *Instance) (*VM, error) {
	vm := i.vm
	if _, err := i.park(func(uint64) bool { return true }); err != nil {
		return nil, fmt.Errorf("park: %w", err)
	}
	return vm, nil
}

// Rests says when an instance that has settled on its VM has something to do again, as
// vmm.Rests does, and how much memory it takes at most, parked. Who has read from woken when
// the VM was another's already calls nudge, which has that one look what there is for it.
func Rests(i *Instance) (due time.Time, woken <-chan struct{}, nudge func(), bytes uint64, err error) {
	if err := i.vm.collect(); err != nil {
		return due, nil, nil, 0, err
	}
	due, woken = vmm.Rests(i.vm.m)
	return due, woken, i.vm.m.Nudge, i.vm.parkedBytes(), nil
}

// Parked is the instance without a VM; nil: it has one.
func (i *Instance) Parked() *Parked { return i.parked }

// Resume brings an instance that is parked to a VM. After an error that can only be
// closed, and the instance is over.
func Resume(i *Instance, vm *VM) error {
	if err := i.resume(vm); err != nil {
		return fmt.Errorf("bring a parked instance back: %w", err)
	}
	return nil
}

// Copy is what an instance was when it was copied: any number can begin as it, each with an
// identity of its own. Of its streams they have the driver's only.
type Copy struct {
	start, parent *Snapshot // parent is held
	delta         delta
	state         *vmm.State
	contract      string
	due           time.Time
}

// NewCopy copies an instance that is parked, or has settled on its VM, where it stays. The pages
// of one that is parked are shared until the one or the other is squeezed. Drop is to be called.
func NewCopy(i *Instance) (*Copy, error) {
	p := i.parked
	if p == nil {
		return newCopy(i)
	}
	p.parent.Hold()
	return &Copy{start: i.start, parent: p.parent, delta: *p.delta, state: p.m.Capture(), contract: i.contract, due: p.Due}, nil
}

// newCopy is NewCopy on its VM.
func newCopy(i *Instance) (*Copy, error) {
	vm := i.vm
	err := vm.collect()
	var d *delta
	if err == nil {
		d, err = gather(i)
	}
	var state *vmm.State
	if err == nil {
		state, err = vm.m.Capture()
	}
	if err != nil {
		return nil, fmt.Errorf("copy an instance: %w", err)
	}
	i.parent.Hold()
	due, _ := vmm.Rests(vm.m)
	return &Copy{start: i.start, parent: i.parent, delta: *d, state: state, contract: i.contract, due: due}, nil
}

// Clone returns another Copy of the same.
func (c *Copy) Clone() *Copy {
	d := *c
	d.parent.Hold()
	return &d
}

// Due is when the guest's earliest timer is; zero: it has none.
func (c *Copy) Due() time.Time { return c.due }

// Snapshot is the one that it differs least from.
func (c *Copy) Snapshot() *Snapshot { return c.parent }

// Bytes is how much memory it takes.
func (c *Copy) Bytes() uint64 { return ownBytes + c.delta.bytes() }

// Memory is the guest's, as of Parked.
func (c *Copy) Memory() (lineage.Memory, error) { return c.delta.memory(c.parent.Node) }

// Squeeze has it take less memory, and a little more time to begin.
func (c *Copy) Squeeze() error {
	c.delta.squeeze()
	return nil
}

// Woken has nothing, ever: nobody can reach what has not begun.
func (c *Copy) Woken() <-chan struct{} { return nil }

// Seal makes a node of it, below the one that it differs from. That takes no VM, and leaves
// the instance as it is.
func (c *Copy) Seal(h *Host, k Capture) (*lineage.Node, error) {
	m, err := c.Memory()
	if err != nil {
		return nil, err
	}
	encoded, err := c.state.MarshalBinary()
	if err != nil {
		return nil, err
	}
	pages := dirtytrack.NewPageSet(m.Pages())
	for page := range m.Own {
		pages.Add(page)
	}
	spec := lineage.NodeSpec{Kind: k.Kind, Key: k.Key, State: encoded, CPUFeatures: h.cpuFeatures(), ABIVersion: guest.KernelVersion}
	return h.Store.Capture(spec, c.parent.Node, pages, m.Bytes)
}

// Drop lets go of it.
func (c *Copy) Drop() { c.parent.Release() }

// BeginCopy makes the VM a fresh instance of a copy. Where that fails the VM can only be
// closed.
func (vm *VM) BeginCopy(c *Copy) (*Instance, error) {
	began := time.Now()
	i := &Instance{vm: vm, start: c.start, parent: c.parent, contract: c.contract}
	if err := vm.placeCopy(c); err != nil {
		vm.enter(Dead)
		return nil, fmt.Errorf("begin as a copy: %w", err)
	}
	vm.snapshot = c.parent
	vm.unobserved, vm.before = true, vm.faults
	vm.enter(Running)
	vm.instance = i
	i.Restored = time.Since(began)
	return i, nil
}

func (vm *VM) placeCopy(c *Copy) error {
	vm.enter(Placing)
	if _, err := vm.show(c.parent); err != nil {
		return err
	}
	if err := vm.plan.place(&c.delta); err != nil {
		return err
	}
	if err := vm.m.Restore(c.state); err != nil {
		return err
	}
	if err := vm.stream.attach(vm.m, c.contract); err != nil {
		return err
	}
	vm.logs.reset()
	vm.m.ResetConsole()
	return vm.m.WriteIdentity(vmm.Identity{})
}
