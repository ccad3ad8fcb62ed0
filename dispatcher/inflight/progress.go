package inflight

import (
	"errors"
	"sync/atomic"
	"time"

	"seuss/lineage"
)

// ErrKilled: somebody who may has ended it.
var ErrKilled = errors.New("killed")

// State is what something under way is at.
type State uint32

// The states.
const (
	Waiting   State = iota // for its turn, or then for a machine
	Running                // on a machine
	Capturing              // a snapshot is being made of it, or for it
	Parked                 // on none: it waits for something outside, or to go on
)

func (s State) String() string { return [...]string{"waiting", "running", "capturing", "parked"}[s] }

// Progress is how far something under way is. Its zero value is of something that waits.
// A nil one is nobody's: what it is told is forgotten, and nobody ends it.
type Progress struct {
	state    atomic.Uint32
	began    atomic.Int64
	deadline atomic.Int64
	machine  atomic.Uint64
	node     atomic.Pointer[lineage.Node]
	pages    atomic.Uint64 // plus one; 0: not known

	life      atomic.Uint32
	interrupt func() // of the guest's run; set before life is inside
	done      atomic.Pointer[chan struct{}]
	closed    atomic.Bool
}

// The values of Progress.life.
const (
	outside uint32 = iota // no guest runs now
	inside                // a guest runs, and interrupt ends that
	killing               // interrupt is being called
	killed
	over
)

// Seen is what a Progress shows of itself.
type Seen struct {
	State    State
	Began    time.Time     // its turn; zero: not yet
	Deadline time.Time     // zero: not known yet
	Node     *lineage.Node // that it started from; nil: none yet
	Machine  uint64        // number of the machine that it is on; 0: none yet
	Pages    uint64        // pages that it has changed, at most, as of the last look at its memory
	Looked   bool          // else Pages is not known
}

// Look says how far it is. What changes meanwhile may be seen before or after the change.
func (p *Progress) Look() Seen {
	s := Seen{State: State(p.state.Load()), Began: timeOf(p.began.Load()), Deadline: timeOf(p.deadline.Load()), Node: p.node.Load(), Machine: p.machine.Load()}
	if pages := p.pages.Load(); pages > 0 {
		s.Pages, s.Looked = pages-1, true
	}
	return s
}

func timeOf(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}

// Begin notes that its turn has come. It still waits, for a machine.
func (p *Progress) Begin(at time.Time) {
	if p != nil {
		p.began.Store(at.UnixNano())
	}
}

// Enter moves it to another state.
func (p *Progress) Enter(s State) {
	if p != nil {
		p.state.Store(uint32(s))
	}
}

// Place notes on which machine it is, from which node, and until when.
func (p *Progress) Place(machine uint64, node *lineage.Node, deadline time.Time) {
	if p != nil {
		p.machine.Store(machine)
		p.node.Store(node)
		p.deadline.Store(deadline.UnixNano())
		p.Enter(Running)
	}
}

// Leave notes that it is parked.
func (p *Progress) Leave() {
	if p != nil {
		p.machine.Store(0)
		p.Enter(Parked)
	}
}

// Move notes that what was parked goes on, on which machine.
func (p *Progress) Move(machine uint64) {
	if p != nil {
		p.machine.Store(machine)
		p.Enter(Running)
	}
}

// Changed notes how many pages it has changed.
func (p *Progress) Changed(pages uint64) {
	if p != nil {
		p.pages.Store(pages + 1)
	}
}

// Run notes that a guest is about to run, and how that is ended: interrupt may be called
// once, from another goroutine, until Stopped. False: it was killed.
func (p *Progress) Run(interrupt func()) bool {
	if p == nil {
		return true
	}
	if p.life.Load() != outside {
		return false
	}
	p.interrupt = interrupt
	return p.life.CompareAndSwap(outside, inside)
}

// Stopped notes that the guest runs no more. False: it was killed, and what interrupt has
// sent was received.
func (p *Progress) Stopped(interrupted <-chan struct{}) bool {
	if p == nil || p.life.CompareAndSwap(inside, outside) {
		return true
	}
	<-interrupted
	p.life.Store(killed)
	return false
}

// Killed reports whether it was killed.
func (p *Progress) Killed() bool {
	if p == nil {
		return false
	}
	life := p.life.Load()
	return life == killing || life == killed
}

// End notes that it is over: nobody can kill it any more. It reports whether it was.
func (p *Progress) End() (wasKilled bool) {
	return p != nil && !p.life.CompareAndSwap(outside, over) && p.life.Load() == killed
}

// Kill ends it. False: it is over already.
func (p *Progress) Kill() bool {
	for {
		switch p.life.Load() {
		case outside:
			if p.life.CompareAndSwap(outside, killed) {
				p.tell()
				return true
			}
		case inside:
			if p.life.CompareAndSwap(inside, killing) {
				p.interrupt()
				p.tell()
				return true
			}
		case over:
			return false
		default:
			return true
		}
	}
}

// Done returns a channel that is closed when it is killed; nil for a nil Progress. The
// channel is made when it is first asked for: whoever need not wait does not ask.
func (p *Progress) Done() <-chan struct{} {
	if p == nil {
		return nil
	}
	made := make(chan struct{})
	p.done.CompareAndSwap(nil, &made)
	if p.Killed() {
		p.tell()
	}
	return *p.done.Load()
}

// tell closes what Done returns.
func (p *Progress) tell() {
	if done := p.done.Load(); done != nil && p.closed.CompareAndSwap(false, true) {
		close(*done)
	}
}
