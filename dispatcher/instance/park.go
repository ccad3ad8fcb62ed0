package instance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"seuss/lineage"
	"seuss/vmm"
)

// An instance that waits needs no machine. What differs of it from the snapshot that it is
// of is copied out, by the code that makes nodes, and its VM is somebody else's; when it
// has something to do it is brought to any VM of its image, by the code that brings one to
// a node. To the guest nothing happens but time.

// Parking says whether an instance that waits leaves its VM, and where it goes on. Its
// methods are called by the goroutine that converses with the instance.
type Parking interface {
	vmm.Leaver
	// Room is asked before the instance leaves its VM, to take so much memory. False: there
	// is none, and it stays.
	Room(bytes uint64) bool
	// Park is given an instance that was parked, and the VM that it has left, which is
	// Ran. It returns when the instance is due to go on, with a VM of its image; or when
	// it is over, with the reason: until has passed, unless it is zero, ctx has ended, or
	// whatever else ends it.
	Park(ctx context.Context, p *Parked, vm *VM, until time.Time) (*VM, error)
	// Discard is given a VM that can only be closed.
	Discard(vm *VM)
}

// Parked is an instance without a VM. It belongs to one goroutine, but for Woken.
type Parked struct {
	// Due is when the guest's earliest timer is; zero: it has none.
	Due time.Time

	m      *vmm.Parked
	delta  *delta
	parent *Snapshot // that delta differs from; held
	stream Stream
	held   uint64 // by its connections, at most
	logs   logBuffer
	cut    bool              // some of what it has printed was dropped
	paged  uint64            // pages that were paged in since the last report
	exits  uint64            // how often the guest was left since then
	calls  map[string]uint32 // that the kernel library has not
	woken  chan struct{}
}

// Woken has something when something has come for the guest: bytes on one of its streams,
// or room there.
func (p *Parked) Woken() <-chan struct{} { return p.woken }

// Snapshot is the one that it differs least from: a VM that stands there is the best to
// bring it to.
func (p *Parked) Snapshot() *Snapshot { return p.parent }

// ownBytes is what registers, the extended state and the device take.
const ownBytes = 8 << 10

// Bytes is how much memory it takes beside the streams that it has opened itself.
func (p *Parked) Bytes() uint64 {
	return ownBytes + p.held + p.delta.bytes() + uint64(cap(p.logs.text)+cap(p.stream.reply)+cap(p.stream.piece.kept))
}

// Memory is the guest's. It takes a page for each that differs from its snapshot's.
func (p *Parked) Memory() (lineage.Memory, error) { return p.delta.memory(p.parent.Node) }

// Squeeze has it take less memory and a little more time to bring back.
func (p *Parked) Squeeze() error {
	p.delta.squeeze()
	return nil
}

// Nudge has Parking asked again where the instance waits on its VM. It may be called from
// any goroutine between Waits and Works.
func (i *Instance) Nudge() { i.vm.m.Nudge() }

// away parks the instance until it is to go on, if it is, and if there is room for it.
func (i *Instance) away(ctx context.Context, until time.Time) error {
	vm := i.vm
	p, err := i.park(i.Parking.Room)
	if errors.Is(err, errNoRoom) {
		return nil
	} else if err != nil {
		i.Parking.Works()
		return fmt.Errorf("park: %w", err)
	}
	if vm, err = i.Parking.Park(ctx, p, vm, until); err != nil {
		return err
	}
	if err := i.resume(vm); err != nil {
		i.Parking.Discard(vm)
		return fmt.Errorf("bring a parked instance back: %w", err)
	}
	return nil
}

// errNoRoom: there is no room for it where it was to be parked.
var errNoRoom = errors.New("no room")

// park takes the instance off its VM, if there is room for so many bytes. After an error it
// is there still.
func (i *Instance) park(room func(bytes uint64) bool) (*Parked, error) {
	vm, began := i.vm, time.Now()
	if err := vm.collect(); err != nil {
		return nil, err
	}
	if !room(vm.parkedBytes()) {
		return nil, errNoRoom
	}
	d, err := gather(i)
	if err != nil {
		return nil, err
	}
	r := i.look()
	p := &Parked{delta: d, parent: i.parent, held: vm.inboundBytes(), cut: r.LogsCut, paged: r.PagedIn, exits: r.Exits, calls: r.Unsupported, woken: make(chan struct{}, 1)}
	if p.m, err = vmm.Park(vm.m, p.wake); err != nil {
		return nil, err
	}
	if err := vm.listen(); err != nil { // on the device that it has now
		p.m.Drop()
		return nil, err
	}
	p.Due = p.m.Due
	if p.m.Woken {
		p.wake()
	}
	p.parent.Hold()
	p.logs, vm.logs = vm.logs, logBuffer{}
	vm.m.LimitConsole(maxLogBytes)
	p.stream = Stream{conn: vm.stream.conn, err: vm.stream.err, piece: vm.stream.piece}
	if len(vm.stream.reply) > 0 {
		p.stream.reply = bytes.Clone(vm.stream.reply)
	}
	i.parked = p
	i.leave()
	vm.host.Observer.Parked(time.Since(began))
	return p, nil
}

// gather takes what its guest's memory differs in from its snapshot's. collect must have been
// called.
func gather(i *Instance) (*delta, error) {
	candidates, err := i.vm.plan.candidates(i.parent.View)
	if err != nil {
		return nil, err
	}
	return i.vm.plan.gather(i.parent.View, candidates)
}

// parkedBytes is how much memory its instance takes at most when it is parked. collect must
// have been called.
func (vm *VM) parkedBytes() uint64 {
	return ownBytes + vm.inboundBytes() + vm.plan.private.Len()*lineage.PageSize
}

// wake does not wait: see vmm.Park.
func (p *Parked) wake() {
	select {
	case p.woken <- struct{}{}:
	default:
	}
}

// resume brings the instance to a VM. After an error that can only be closed, and the
// instance is over.
func (i *Instance) resume(vm *VM) error {
	p, began := i.parked, time.Now()
	err := vm.place(p)
	if err == nil {
		err = vmm.Share(vm.m, i.regions, nil) // what it has mapped it still has, and its memory is there
	}
	if err != nil {
		vm.enter(Dead)
		return err
	}
	i.vm, i.parked = vm, nil
	vm.snapshot = p.parent
	p.parent.Release()
	_, paged := vm.m.Memory().Paging().Counts()
	vm.paged, vm.exits = paged-p.paged, vm.m.Stats().Entries-p.exits
	vm.unobserved, vm.before = true, vm.faults
	vm.enter(Running)
	vm.instance = i
	vm.host.Observer.Resumed(time.Since(began))
	return nil
}

func (vm *VM) place(p *Parked) error {
	vm.enter(Placing)
	if _, err := vm.show(p.parent); err != nil {
		return err
	}
	if err := vm.plan.place(p.delta); err != nil {
		return err
	}
	if err := p.m.Resume(vm.m); err != nil {
		return err
	}
	s := &vm.stream
	*s = Stream{conn: p.stream.conn, err: p.stream.err, piece: p.stream.piece, out: s.out[:0], reply: append(s.reply[:0], p.stream.reply...)}
	if vm.logs = p.logs; vm.logs.output != nil {
		vm.m.LimitConsole(unlimited)
	}
	return vm.listen()
}

// drop ends an instance that is parked.
func (p *Parked) drop() {
	p.m.Drop()
	p.parent.Release()
}
