package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"seuss/dispatcher/freelist"
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
	total   int // machines that exist or are being made, busy ones included
	waiters []chan slot
	closed  bool
	demand  demand
	counts  poolCounts
}

func newPool(ps *pools, img *image) *pool {
	return &pool{ps: ps, image: img, demand: newDemand(ps.sizes.window)}
}

// take returns a machine, ready on t if there is one. It may have to be brought to t
// first. A machine is made here only if none is free. Machines that have died while
// they stood in the pool are passed by: no request has to fail for those.
func (p *pool) take(ctx context.Context, t *instance.Snapshot) (*instance.VM, error) {
	for {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return nil, ErrClosed
		}
		p.demand.asked(time.Now(), p.total-p.free.Len()+len(p.waiters)+1)
		s, rank := p.free.Pick(t)
		switch {
		case rank > 0:
			grow := rank < freelist.Ready && p.demand.miss(t) && p.room()
			if rank == freelist.Ready {
				p.counts.ready++
			} else {
				p.counts.moved++
			}
			p.mu.Unlock()
			if grow {
				p.grow(t)
			}
		case p.room():
			p.total++
			p.counts.madeOnPath++
			p.mu.Unlock()
			return p.create(t)
		default:
			turn := make(chan slot, 1)
			p.waiters = append(p.waiters, turn)
			p.counts.waited++
			p.mu.Unlock()
			select {
			case s = <-turn:
			case <-ctx.Done():
				p.forsake(turn)
				return nil, fmt.Errorf("wait for a machine: %w", context.Cause(ctx))
			}
			if s.VM == nil {
				continue // a machine was lost: there is room for a new one
			}
		}
		if s.VM.Alive() {
			return s.VM, nil
		}
		p.ps.log.Warn("a machine died while nothing ran on it and is replaced", "image", p.image.Name)
		p.discard(s.VM)
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
	do := p.ps.tasks.background
	if here {
		do = p.ps.tasks.foreground
	}
	do(func() { p.reset(vm) }) // or Close takes it as it is
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
