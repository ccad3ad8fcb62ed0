package instance

import (
	"fmt"
	"time"

	"seuss/dirtytrack"
	"seuss/guest"
	"seuss/lineage"
	"seuss/vmm"
)

// restTimeout is how long a capture waits for the guest's threads to block. They
// were started by code that has answered already.
const restTimeout = 5 * time.Second

// Capture says what a new snapshot is to be.
type Capture struct {
	Kind   lineage.Kind
	Key    lineage.Key
	Saved  time.Duration // what it took to get there from its parent
	Purity lineage.Purity
}

// Capture makes a snapshot of what the instance is now, below the one that it began as
// or was captured as last. The instance goes on.
func (i *Instance) Capture(c Capture) (*Snapshot, error) {
	spec, candidates, err := i.prepareCapture(c)
	if err != nil {
		return nil, fmt.Errorf("capture %s node: %w", c.Kind, err)
	}
	n, err := i.vm.host.Store.Capture(spec, i.parent.Node, candidates, i.vm.m.Memory().Page)
	if err != nil {
		return nil, err
	}
	i.vm.host.Observer.Captured()
	s, err := i.vm.host.Snapshots(n.Info.ID)
	if err != nil {
		return nil, err
	}
	i.parent, i.vm.snapshot = s, s
	return s, nil
}

// prepareCapture lets the guest come to rest, and says what of it is to be kept: its
// state, and the pages that may differ from the parent's.
func (i *Instance) prepareCapture(c Capture) (spec lineage.NodeSpec, candidates *dirtytrack.PageSet, err error) {
	vm, began := i.vm, time.Now()
	if err := vm.rest(began.Add(restTimeout)); err != nil {
		return spec, nil, err
	}
	if (c.Key.Contract == "" || vm.stream.conn != nil) && !vm.stream.open() {
		return spec, nil, ErrStream
	}
	if _, err := trim(vm.m); err != nil {
		return spec, nil, err
	}
	state, err := vm.m.Capture()
	if err != nil {
		return spec, nil, err
	}
	encoded, err := state.MarshalBinary()
	if err != nil {
		return spec, nil, err
	}
	if err := vm.collect(); err != nil {
		return spec, nil, err
	}
	candidates, err = vm.plan.candidates(i.parent.View)
	return lineage.NodeSpec{
		Kind: c.Kind, Key: c.Key, State: encoded, CPUFeatures: vm.host.cpuFeatures(), ABIVersion: guest.KernelVersion,
		CaptureCost: time.Since(began), SavedTime: c.Saved, Purity: c.Purity,
	}, candidates, err
}

// rest lets the guest run until all its threads wait: only then is it whole in
// memory and registers.
func (vm *VM) rest(deadline time.Time) error {
	if vm.m.Quiescent() {
		return nil
	}
	return vm.settle(deadline)
}

// settle is rest for a guest that may rest already and have something to do: a timer that is
// due, or what has come for it while it was parked.
func (vm *VM) settle(deadline time.Time) error {
	options := vmm.RunOptions{Deadline: deadline, Wait: vmm.WaitNone}
	stop, err := vm.m.Run(options)
	if err == nil && stop.Kind == vmm.StopInterrupted { // it was for a run that had ended by itself
		stop, err = vm.m.Run(options)
	}
	switch {
	case err != nil:
		return err
	case stop.Kind == vmm.StopIdle:
		return nil
	case stop.Kind == vmm.StopTimeout:
		return fmt.Errorf("a thread of the guest computes on: no snapshot can be taken: %w", ErrTimeout)
	case stop.Kind == vmm.StopExit:
		return &ExitError{Status: int(int32(stop.Code))}
	}
	return vm.crash(stop, "")
}

// Purity says which outside input went into the instance's state at a question.
func (i *Instance) Purity(w Want) (lineage.Purity, error) {
	counts, err := i.vm.m.Purity()
	if err != nil {
		return lineage.Purity{}, fmt.Errorf("purity certificate: %w", err)
	}
	p := lineage.Purity{Entropy: counts.Entropy, Clock: counts.Clock, Socket: counts.Socket, Context: w.Context}
	regions := vmm.RegionsTaken(i.vm.m.Memory())
	for _, c := range []struct {
		n    uint64
		what string
	}{{p.Entropy, "random bytes (getrandom, /dev/urandom)"}, {p.Clock, "clock reads"}, {p.Socket, "receives from a socket"}, {regions, "uses of shared memory, which others write to"}} {
		if c.n > 0 {
			p.Reasons = append(p.Reasons, fmt.Sprintf("%d × %s", c.n, c.what))
		}
	}
	p.Socket += regions
	if w.Context {
		p.Reasons = append(p.Reasons, "the invocation context was read")
	}
	if w.Random {
		p.Entropy++
		p.Reasons = append(p.Reasons, "the runtime's random generators were used")
	}
	return p, nil
}
