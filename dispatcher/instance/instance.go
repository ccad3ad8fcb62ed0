package instance

import (
	"context"
	"fmt"
	"time"

	"seuss/dispatcher/inflight"
	"seuss/guest"
	"seuss/vmm"
	"seuss/vmm/platform"
	"seuss/vmm/vsock"
)

// Instance is one life: what a guest is from the moment a snapshot is given an identity
// of its own until End. It lives on a VM, or is parked.
type Instance struct {
	// MemoryPages bounds the pages that it may write; 0: its guest's memory is limit
	// enough.
	MemoryPages uint64
	// Pooled says that its VM stood ready for it, else Moved says what was moved there.
	Pooled bool
	Moved  Moved
	// Restored is how long it took to make a fresh instance of the VM.
	Restored time.Duration
	// Progress is asked before its runs, and ends them with ErrKilled; nil: nobody looks.
	Progress *inflight.Progress
	// Parking is asked where the instance waits; nil: it stays on its VM.
	Parking Parking

	vm      *VM       // nil: it is parked
	parked  *Parked   // nil: it is not
	start   *Snapshot // that it began as
	parent  *Snapshot // against which the next capture is a difference
	outside Outside
	regions vmm.Regions
	met     vsock.AcceptFunc // see Meet
	// contract is what its guest's program speaks: its snapshot's, or what As has said; "": a
	// driver's.
	contract string
}

// Outside takes the streams with which a guest wants to leave its machine: to guest.NetPort and
// guest.FunctionApiPort. Answer is a vmm.APIFunc, for what its function asks in one exit.
type Outside interface {
	Accept(*vsock.Conn) error
	Answer(request, answer []byte) (int, bool)
}

// Begin makes the VM a fresh instance of s. It brings it there, unless it stands ready,
// and gives it an identity. Where that fails the VM can only be closed.
func (vm *VM) Begin(s *Snapshot) (*Instance, error) {
	began := time.Now()
	i := &Instance{vm: vm, start: s, parent: s, Pooled: vm.ReadyOn(s), contract: s.Node.Key.Contract}
	if vm.snapshot == nil {
		vm.record(s)
	}
	if !i.Pooled {
		var err error
		if i.Moved, err = vm.Restore(s); err != nil {
			return nil, err
		}
	}
	if err := vm.m.WriteIdentity(vmm.Identity{}); err != nil {
		return nil, err
	}
	vm.unobserved, vm.before = true, vm.faults
	vm.enter(Running)
	vm.instance = i
	i.Restored = time.Since(began)
	return i, nil
}

// End is the end of the instance's life. It returns the VM, as the instance left it; nil: it
// was parked.
func (i *Instance) End() *VM {
	if i.parked != nil {
		i.parked.drop()
		i.parked = nil
		return nil
	}
	return i.leave()
}

// leave takes the instance off its VM, which is returned.
func (i *Instance) leave() *VM {
	vm := i.vm
	i.vm = nil
	if vm.recording != nil {
		vm.recorded()
	}
	vm.enter(Ran)
	vm.instance = nil
	if vm.logs.output != nil {
		vm.logs.output = nil
		vm.m.LimitConsole(maxLogBytes)
	}
	return vm
}

// Destroy is End for an instance whose VM is not to be used again.
func (i *Instance) Destroy() error {
	if vm := i.End(); vm != nil {
		return vm.Close()
	}
	return nil
}

// Start is the snapshot that the instance began as.
func (i *Instance) Start() *Snapshot { return i.start }

// VM is what it lives on; nil: it is parked.
func (i *Instance) VM() *VM { return i.vm }

// Leave gives the guest a way out of its machine, or takes it back with nil.
func (i *Instance) Leave(o Outside) { i.outside = o }

// Share gives an instance the memory that it shares with others, and maps what its
// snapshot had mapped of that. It has to be on a VM. An error names what is not there any
// more, or not for it, or that it was not done by the deadline (ErrTimeout) or when ctx ended:
// the instance cannot go on then.
func Share(ctx context.Context, i *Instance, r vmm.Regions, deadline time.Time) error {
	i.regions = r
	return vmm.Share(i.vm.m, r, func() error {
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("cancelled: %w", context.Cause(ctx))
		case i.Progress.Killed():
			return ErrKilled
		case !deadline.IsZero() && time.Now().After(deadline):
			return fmt.Errorf("take the memory of regions: %w", ErrTimeout)
		}
		return nil
	})
}

// Vsock is the device by which host programs reach the guest.
func (i *Instance) Vsock() *vsock.Device { return i.vm.m.Vsock() }

// Report is what is known of an instance without looking for it.
type Report struct {
	Logs    []LogLine // what the guest has printed since the last report
	LogsCut bool      // some of it was dropped
	// Unsupported names the system calls that the instance made and the kernel library
	// has not, with how often; nil where there are none.
	Unsupported map[string]uint32
	// PagedIn is how many pages were brought from the disk since the last report,
	// because the guest touched them.
	PagedIn uint64
	// Exits is how often the guest was left.
	Exits uint64
}

// Report tells what is known of the instance.
func (i *Instance) Report() Report {
	if p := i.parked; p != nil {
		r := Report{LogsCut: p.cut, PagedIn: p.paged, Exits: p.exits, Unsupported: p.calls}
		if !p.logs.empty() {
			r.Logs = p.logs.take()
		}
		p.paged, p.exits = 0, 0
		return r
	}
	r := i.look()
	i.vm.paged += r.PagedIn
	i.vm.exits += r.Exits
	if !i.vm.logs.empty() {
		r.Logs = i.vm.logs.take()
	}
	return r
}

// look is Report without what the guest has printed, and as if nobody had asked.
func (i *Instance) look() Report {
	vm := i.vm
	_, paged := vm.m.Memory().Paging().Counts()
	stats := vm.m.Stats()
	r := Report{LogsCut: vm.logs.cut || stats.ConsoleDropped > 0, PagedIn: paged - vm.paged, Exits: stats.Entries - vm.exits}
	// An error is a guest's that has forged the table's address.
	if calls, err := vm.m.UnsupportedCalls(); err == nil && len(calls) > 0 {
		r.Unsupported = nameCalls(calls, i.start.unsupported())
	}
	return r
}

// nameCalls names the unsupported system calls that were made since before.
func nameCalls(counts, before map[int]uint32) map[string]uint32 {
	named := map[string]uint32{}
	for number, n := range counts {
		if n > before[number] {
			named[guest.SyscallName(number)] = n - before[number]
		}
	}
	return named
}

// PrivatePages is how many pages are its VM's own, as far as that is known without
// looking; Usage looks.
func (i *Instance) PrivatePages() uint64 { return i.vm.plan.private.Len() }

// Usage looks at how many page faults of the host the instance has taken on its VM, and how
// many pages are its own now. That takes as long as there are pages.
func (i *Instance) Usage() (faults, private uint64, err error) {
	if p := i.parked; p != nil {
		return 0, uint64(len(p.delta.pages) + len(p.delta.zeros)), nil
	}
	vm := i.vm
	err = vm.collect()
	faults, private = vm.faults-vm.before, vm.plan.private.Len()
	vm.observe()
	return faults, private, err
}

// Page is what the guest has in a page of its memory, for looking at.
func (i *Instance) Page(page uint64) []byte { return i.vm.m.Memory().Page(page) }

// Resident is what the instance takes of the host's memory, as the kernel counts it; parked,
// as it counts itself.
func (i *Instance) Resident() (platform.Resident, error) {
	if i.parked != nil {
		return platform.Resident{Private: i.parked.Bytes()}, nil
	}
	return i.vm.Resident()
}
