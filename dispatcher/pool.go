package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"seuss/lineage"
)

// pool keeps the shells of one image. A shell that stands ready on the node
// that a request wants is preferred, then any free one, then a new one while
// there is room; beyond that requests wait for their turn. How many there are is
// decided in poolsize.go.
type pool struct {
	d     *Dispatcher
	image *image

	mu      sync.Mutex
	free    []*shell // in the order in which they were put back
	total   int      // shells that exist or are being made, busy ones included
	waiters []chan *shell
	closed  bool
	demand  demand
	counts  poolCounts
}

func newPool(d *Dispatcher, img *image) *pool {
	return &pool{d: d, image: img, demand: newDemand(d.opts.PoolWindow)}
}

// take returns a shell, ready on t if there is one. The shell may have to be
// brought to t first: its field at says where it is. A machine is made here only
// if none is free.
func (p *pool) take(ctx context.Context, t *target) (*shell, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, ErrClosed
	}
	p.demand.asked(time.Now(), p.total-len(p.free)+len(p.waiters)+1)
	if s, rank := p.pick(t); s != nil {
		grow := rank < rankReady && p.demand.missed(t) && p.room()
		if rank == rankReady {
			p.counts.ready++
		} else {
			p.counts.moved++
		}
		p.mu.Unlock()
		if grow {
			p.grow(t)
		}
		return s, nil
	}
	if p.room() {
		p.total++
		p.counts.madeOnPath++
		p.mu.Unlock()
		return p.create(t)
	}
	turn := make(chan *shell, 1)
	p.waiters = append(p.waiters, turn)
	p.counts.waited++
	p.mu.Unlock()
	select {
	case s := <-turn:
		if s == nil {
			return p.retry(ctx, t)
		}
		return s, nil
	case <-ctx.Done():
		p.forsake(turn)
		return nil, fmt.Errorf("wait for a machine: %w", context.Cause(ctx))
	}
}

// takeAlive is take, past machines that have died while they stood in the pool:
// no request has to fail for those.
func (p *pool) takeAlive(ctx context.Context, t *target) (*shell, error) {
	for {
		s, err := p.take(ctx, t)
		if err != nil || s.m.VM().Alive() {
			return s, err
		}
		p.d.log.Warn("a machine died while nothing ran on it and is replaced", "image", p.image.name)
		p.discard(s)
	}
}

// How well a free shell fits a request.
const (
	rankOther = iota + 1 // it stands ready on another node
	rankRan              // it has run something else and waits for its reset
	rankSame             // it has run the same and waits for its reset
	rankReady            // it stands ready on the node
)

// pick takes the best free shell for t, nil if none is free. p.mu is held.
func (p *pool) pick(t *target) (*shell, int) {
	best, rank := -1, 0
	for i, s := range p.free {
		r := rankOther
		switch {
		case s.at == t:
			r = rankReady
		case s.at == nil && s.last == t:
			r = rankSame
		case s.at == nil:
			r = rankRan
		}
		// Of equals the last put back is warm in the caches; but of those that
		// stand ready for others the first is missed the least.
		if r > rank || r == rank && r > rankOther {
			best, rank = i, r
		}
	}
	if best < 0 {
		return nil, 0
	}
	s := p.free[best]
	p.free = append(p.free[:best], p.free[best+1:]...)
	return s, rank
}

func (p *pool) create(t *target) (*shell, error) {
	s, err := p.d.newShell(p.image, t.view)
	if err != nil {
		p.lost()
		return nil, err
	}
	return s, nil
}

// retry runs after a shell was lost: there is room for a new one.
func (p *pool) retry(ctx context.Context, t *target) (*shell, error) { return p.take(ctx, t) }

// forsake takes a waiter out of the queue; a shell that came meanwhile goes back.
func (p *pool) forsake(turn chan *shell) {
	p.mu.Lock()
	for i, w := range p.waiters {
		if w == turn {
			p.waiters = append(p.waiters[:i], p.waiters[i+1:]...)
			p.mu.Unlock()
			return
		}
	}
	p.mu.Unlock()
	if s := <-turn; s != nil {
		p.put(s)
	}
}

// put gives a shell back, to the one who waits longest or to the free list.
func (p *pool) put(s *shell) {
	s.freed = time.Now()
	s.footprint = s.layout.private.Len() * lineage.PageSize
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		s.close()
		return
	}
	if len(p.waiters) > 0 {
		turn := p.waiters[0]
		p.waiters = p.waiters[1:]
		p.mu.Unlock()
		turn <- s
		return
	}
	p.free = append(p.free, s)
	p.mu.Unlock()
}

// lost accounts for a shell that is gone; who waits longest may make a new one.
func (p *pool) lost() {
	p.mu.Lock()
	p.total--
	var turn chan *shell
	if len(p.waiters) > 0 {
		turn = p.waiters[0]
		p.waiters = p.waiters[1:]
	}
	p.mu.Unlock()
	if turn != nil {
		turn <- nil
	}
}

// recycle puts back a shell that has run, and has it reset: here, or off the
// caller's path. Whoever needs a shell before that happens takes it as it is and
// brings it straight to the node that he wants.
func (p *pool) recycle(s *shell, here bool) {
	if s.last == nil || s.last.state == nil {
		p.discard(s)
		return
	}
	p.put(s)
	do := p.d.background
	if here {
		do = p.d.foreground
	}
	do(func() { p.reset(s) }) // or Close takes it as it is
}

// reset brings a free shell that has run back to its node, unless somebody took
// it meanwhile.
func (p *pool) reset(s *shell) {
	p.mu.Lock()
	i := slices.Index(p.free, s)
	if i < 0 || s.at != nil {
		p.mu.Unlock()
		return
	}
	p.free = slices.Delete(p.free, i, i+1)
	last := s.last
	last.users.Add(1) // it stands at the node, and is in no list
	defer last.users.Add(-1)
	p.mu.Unlock()
	began := time.Now()
	m, err := s.bring(last)
	if err != nil {
		p.d.log.Error("a machine could not be reset and is thrown away", "image", p.image.name, "error", err)
		p.discard(s)
		return
	}
	onReset, took := s.onReset, time.Since(began)
	s.onReset = nil
	p.put(s)
	if onReset != nil {
		onReset(Reset{Began: began, Took: took, PagesCopied: m.copied, PagesMapped: m.mapped})
	}
}

// discard destroys a shell.
func (p *pool) discard(s *shell) {
	if err := s.close(); err != nil {
		p.d.log.Error("a machine could not be destroyed cleanly", "image", p.image.name, "error", err)
	}
	p.lost()
}

func (p *pool) close() error {
	p.mu.Lock()
	p.closed = true
	free := p.free
	p.free = nil
	for _, turn := range p.waiters {
		close(turn)
	}
	p.waiters = nil
	p.mu.Unlock()
	var errs []error
	for _, s := range free {
		errs = append(errs, s.close())
	}
	return errors.Join(errs...)
}
