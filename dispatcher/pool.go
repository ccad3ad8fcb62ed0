package dispatcher

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"seuss/dispatcher/freelist"
	"seuss/dispatcher/inflight"
	"seuss/dispatcher/instance"
	"seuss/lineage"
)

// slot is a machine that nobody has; with it, who is told of its reset, nil: nobody.
type slot = freelist.Machine[func(Reset)]

// pool keeps the machines of one image. A machine that stands ready on the node
// that a request wants is preferred, then any free one, then a new one while
// there is room; beyond that requests wait for their turn. How many there are is
// decided in poolsize.go.
type pool struct {
	ps    *pools
	image *image

	mu      sync.Mutex
	free    freelist.List[func(Reset)]
	seats   list.List // *seat, that which has stood the longest first
	total   int       // machines that exist or are being made, busy ones included
	waiters []chan slot
	closed  bool
	demand  demand
	counts  poolCounts
}

func newPool(ps *pools, img *image) *pool {
	return &pool{ps: ps, image: img, demand: newDemand(ps.sizes.window)}
}

// pick notes that a machine is asked for, and takes the free one that fits t best, none
// if none is free. It may have to be brought to t first; grow says that one more is
// wanted there. p.mu is held.
func (p *pool) pick(t *instance.Snapshot, now time.Time) (vm *instance.VM, grow bool) {
	d := &p.demand
	if now.Sub(d.since) >= d.slot {
		d.turn(now)
	}
	d.peaks[d.at] = max(d.peaks[d.at], p.used()+len(p.waiters)+1)
	s, rank := p.free.Pick(t)
	switch rank {
	case 0:
		return nil, false
	case freelist.Ready:
		p.counts.ready++
		return s.VM, false
	}
	p.counts.moved++
	return s.VM, d.miss(t) && p.room()
}

// used is how many machines somebody needs, or are being made. p.mu is held.
func (p *pool) used() int { return p.total - p.free.Len() - p.seats.Len() }

// wanted reports whether somebody waits for a machine.
func (p *pool) wanted() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiters) > 0
}

// take takes a machine for t: one that stands ready, or is brought there. One that has
// died while it stood in the pool is replaced: no request has to fail for it. A machine is
// made only if none is free. Where there is no room for one more, that of an instance is taken
// that stands on it and has nothing to do, and waited for if there is none.
func (p *pool) take(ctx context.Context, progress *inflight.Progress, t *instance.Snapshot) (vm *instance.VM, err error) {
	alone := false // no other pool gives room
	for {
		if vm != nil {
			if vm.Alive() {
				return vm, nil
			}
			p.ps.log.Warn("a machine died while nothing ran on it and is replaced", "image", p.image.Name)
			p.discard(vm)
		}
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return nil, ErrClosed
		}
		var grow bool
		if vm, grow = p.pick(t, time.Now()); vm != nil {
			p.mu.Unlock()
			if grow {
				p.grow(t)
			}
			continue
		}
		if p.room() {
			p.total++
			p.counts.madeOnPath++
			p.mu.Unlock()
			return p.create(t)
		}
		if s := p.vacate(); s != nil {
			p.counts.vacated++
			p.mu.Unlock()
			vm = p.empty(s)
			continue
		}
		if own := p.total; p.below() && !alone {
			p.mu.Unlock()
			alone = !p.ps.shrink(own + 2) // who has more machines, and does not need them all
			continue
		}
		turn := make(chan slot, 1)
		p.waiters = append(p.waiters, turn)
		p.counts.waited++
		p.mu.Unlock()
		p.ps.want()
		select {
		case s := <-turn:
			vm = s.VM // nil: a machine was lost, and there is room for a new one
		case <-progress.Done():
			p.forsake(turn)
			return nil, fmt.Errorf("wait for a machine: %w", ErrKilled)
		case <-ctx.Done():
			p.forsake(turn)
			return nil, fmt.Errorf("wait for a machine: %w", context.Cause(ctx))
		}
	}
}

func (p *pool) create(t *instance.Snapshot) (*instance.VM, error) {
	vm, err := p.ps.make(p.image, t)
	if err != nil {
		p.lost()
		return nil, err
	}
	return vm, nil
}

// forsake takes a waiter out of the queue; a machine that came meanwhile goes back.
func (p *pool) forsake(turn chan slot) {
	p.mu.Lock()
	for i, w := range p.waiters {
		if w == turn {
			p.waiters = append(p.waiters[:i], p.waiters[i+1:]...)
			p.mu.Unlock()
			return
		}
	}
	p.mu.Unlock()
	if s := <-turn; s.VM != nil {
		p.put(s)
	}
}

// put gives a machine back, to the one who waits longest or to the free list.
func (p *pool) put(s slot) {
	s.Ready, s.Snapshot = s.VM.State() == instance.Ready, s.VM.Snapshot()
	s.Freed = time.Now()
	s.Private = s.VM.PrivatePages() * lineage.PageSize
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		s.VM.Close()
		return
	}
	if len(p.waiters) > 0 {
		turn := p.waiters[0]
		p.waiters = p.waiters[1:]
		p.mu.Unlock()
		turn <- s
		return
	}
	p.free.Put(s)
	p.mu.Unlock()
}

// lost accounts for a machine that is gone; who waits longest may make a new one.
func (p *pool) lost() {
	p.mu.Lock()
	p.total--
	var turn chan slot
	if len(p.waiters) > 0 {
		turn = p.waiters[0]
		p.waiters = p.waiters[1:]
	}
	p.mu.Unlock()
	if turn != nil {
		turn <- slot{}
	}
}

// recycle puts back a machine that has run, and has it reset: here, or off the
// caller's path. Whoever needs a machine before that happens takes it as it is and
// brings it straight to the snapshot that he wants. onReset is told of the reset.
func (p *pool) recycle(vm *instance.VM, here bool, onReset func(Reset)) {
	if !vm.Restorable() {
		p.discard(vm)
		return
	}
	p.put(slot{VM: vm, With: onReset})
	tasks := p.ps.tasks // or Close takes it as it is
	if !here {
		tasks.Background(func() { p.reset(vm) })
	} else if tasks.Begin() {
		p.reset(vm)
		tasks.End()
	}
}

// reset brings a free machine that has run back to its snapshot, unless somebody took
// it meanwhile.
func (p *pool) reset(vm *instance.VM) {
	p.mu.Lock()
	s, ok := p.free.Take(vm)
	if !ok {
		p.mu.Unlock()
		return
	}
	last := vm.Snapshot()
	last.Hold() // it stands there, and is in no list
	defer last.Release()
	p.mu.Unlock()
	began := time.Now()
	m, err := vm.Restore(last)
	if err != nil {
		p.ps.log.Error("a machine could not be reset and is thrown away", "image", p.image.Name, "error", err)
		p.discard(vm)
		return
	}
	took := time.Since(began)
	p.put(slot{VM: vm})
	if s.With != nil {
		s.With(Reset{Began: began, Took: took, PagesCopied: m.Copied, PagesMapped: m.Mapped})
	}
}

// bring puts back a machine that has run, ready on a snapshot.
func (p *pool) bring(vm *instance.VM, s *instance.Snapshot) {
	if _, err := vm.Restore(s); err != nil {
		p.ps.log.Error("a machine could not be brought to a snapshot and is thrown away", "image", p.image.Name, "error", err)
		p.discard(vm)
		return
	}
	p.put(slot{VM: vm})
}

// discard destroys a machine.
func (p *pool) discard(vm *instance.VM) {
	if err := vm.Close(); err != nil {
		p.ps.log.Error("a machine could not be destroyed cleanly", "image", p.image.Name, "error", err)
	}
	p.lost()
}

func (p *pool) close() error {
	p.mu.Lock()
	p.closed = true
	free := p.free.TakeAll()
	for _, turn := range p.waiters {
		close(turn)
	}
	p.waiters = nil
	p.mu.Unlock()
	var errs []error
	for _, vm := range free {
		errs = append(errs, vm.Close())
	}
	return errors.Join(errs...)
}
