package inflight

import (
	"errors"
	"sync"
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

// Machine is what a guest runs on.
type Machine interface {
	// Number is one that no other machine has had.
	Number() uint64
	// Interrupt ends the run of the guest there, or else the next one. It waits for nothing.
	Interrupt()
}

// Progress is how far something under way is. Its zero value is of something that waits.
// A nil one is nobody's: what it is told is forgotten, and nobody ends it.
type Progress struct {
	state    atomic.Uint32
	began    atomic.Int64
	deadline atomic.Int64
	machine  atomic.Uint64
	node     atomic.Pointer[lineage.Node]
	pages    atomic.Uint64 // plus one; 0: not known
	killed   atomic.Bool   // changes under mu

	mu   sync.Mutex
	on   Machine // whose runs a kill ends; nil: it is on none
	over bool
	done chan struct{} // nil: nobody has asked for it
}

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

// Place notes on which machine it is, from which node, and until when. From here on a kill
// ends the guest's runs there, until Leave or End.
func (p *Progress) Place(on Machine, node *lineage.Node, deadline time.Time) {
	if p != nil {
		p.node.Store(node)
		p.deadline.Store(deadline.UnixNano())
		p.Move(on)
	}
}

// Leave notes that it is parked.
func (p *Progress) Leave() {
	if p != nil {
		p.machine.Store(0)
		p.put(nil)
		p.Enter(Parked)
	}
}

// Move notes that what was parked goes on, on which machine.
func (p *Progress) Move(on Machine) {
	if p != nil {
		p.machine.Store(on.Number())
		p.put(on)
		p.Enter(Running)
	}
}

func (p *Progress) put(on Machine) {
	p.mu.Lock()
	p.on = on
	p.mu.Unlock()
}

// Changed notes how many pages it has changed.
func (p *Progress) Changed(pages uint64) {
	if p != nil {
		p.pages.Store(pages + 1)
	}
}

// Killed reports whether it was killed. It is asked before each run of a guest, and after one
// that was interrupted.
func (p *Progress) Killed() bool { return p != nil && p.killed.Load() }

// End notes that it is over: nobody can kill it any more. It reports whether it was.
func (p *Progress) End() (wasKilled bool) {
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.on, p.over = nil, true
	return p.killed.Load()
}

// Kill ends it. False: it was over already.
func (p *Progress) Kill() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.killed.Load() || p.over {
		return p.killed.Load()
	}
	p.killed.Store(true)
	if p.on != nil {
		p.on.Interrupt()
	}
	if p.done != nil {
		close(p.done)
	}
	return true
}

// Done returns a channel that is closed when it is killed; nil for a nil Progress. The
// channel is made when it is first asked for: whoever need not wait does not ask.
func (p *Progress) Done() <-chan struct{} {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done == nil {
		p.done = make(chan struct{})
		if p.killed.Load() {
			close(p.done)
		}
	}
	return p.done
}
