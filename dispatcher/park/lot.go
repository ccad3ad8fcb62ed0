package park

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// Options configure a Lot.
type Options struct {
	// Instances is how many may be parked, Bytes how much memory they may take in all; 0:
	// any number, any amount.
	Instances int
	Bytes     uint64
	// Host is the owner whose the host is: he may have all of that, others three quarters
	// each.
	Host string
	// Whole is how much memory of them may be whole, beyond which who parks squeezes;
	// DefaultWhole if it is 0.
	Whole uint64
	// Age is from when on what is whole is squeezed; DefaultAge if it is 0.
	Age time.Duration
	// Failed, if it is not nil, is told what could not be squeezed: it stays whole.
	Failed func(error)
}

// DefaultAge is after what time what is parked is squeezed: what is not back by then waits
// for something that is slow.
const DefaultAge = time.Second

// DefaultWhole is little of what a host has, and what hundreds of small instances take.
const DefaultWhole = 32 << 20

// lateBy is from when on a deadline was missed: a guest that has a machine to itself finds
// its timers less exact.
const lateBy = 10 * time.Millisecond

// Content is what is parked. Its methods but Woken are called by one goroutine at a time.
type Content interface {
	// Woken has something when something has come for it.
	Woken() <-chan struct{}
	// Bytes is how much memory it takes.
	Bytes() uint64
	// Squeeze has it take less.
	Squeeze() error
}

// Lot is where instances are parked. Its methods may be called from any goroutine.
type Lot struct {
	o Options

	mu      sync.Mutex
	resting list.List // *Stay: on their machines, who has waited longest first
	timers  timers    // of those that are parked and have one
	shares  map[string]*share
	crowded bool      // somebody has stayed on his machine for want of room
	whole   list.List // *Stay: parked and not squeezed yet, the oldest first
	stats   Stats
	pending uint64 // bytes of whole
	running bool   // the goroutine exists
	busy    bool   // the one that squeezes does
	closed  bool
	helpers sync.WaitGroup
	kick    chan struct{} // it is to look again
	done    chan struct{} // it has ended
}

// Stats are a Lot's counts.
type Stats struct {
	Instances int    `json:"instances"` // that are parked
	Resting   int    `json:"resting"`   // that wait on their machines
	Bytes     uint64 `json:"bytes"`     // that the parked ones take
	Whole     int    `json:"whole"`     // parked ones that are not squeezed

	Parks    uint64        `json:"parks"`
	Late     uint64        `json:"late"`    // deadlines that were missed
	LateTime time.Duration `json:"late_ns"` // by how much, in all
	Refused  uint64        `json:"refused"` // that stayed on their machines because there was no room
	Limit    int           `json:"limit"`   // 0: none
	Budget   uint64        `json:"budget_bytes"`
}

// share is what an owner has of a Lot; it is forgotten with his last instance.
type share struct {
	instances int
	bytes     uint64
}

// most is how much of a Lot an owner may have, three quarters, rounded up: of four and more
// there is always some left for another.
func most[T int | uint64](of T) T { return of - of/4 }

// New makes a Lot.
func New(o Options) *Lot {
	if o.Age <= 0 {
		o.Age = DefaultAge
	}
	if o.Whole == 0 {
		o.Whole = DefaultWhole
	}
	return &Lot{o: o, shares: map[string]*share{}, kick: make(chan struct{}, 1), done: make(chan struct{})}
}

// Stay is an instance's, for all its life. The zero value is of one that does not wait.
type Stay struct {
	Owner string // whose the instance is; set before all else
	// Keeps says that the instance keeps what room it has taken until Free: it rests nowhere
	// else. What it takes anew is all that it has.
	Keeps bool

	rest  *list.Element // in Lot.resting
	nudge func()
	asked bool   // it was nudged
	needs uint64 // bytes that there was no room for; 0: it was not refused

	content Content
	taken   bool // it is counted in Lot.stats, with bytes
	bytes   uint64
	due     time.Time
	at      int           // in Lot.timers, plus one; 0: it is not there
	whole   *list.Element // in Lot.whole
	busy    chan struct{} // closed when it has been squeezed; nil: nobody does
	turn    chan struct{} // its timer is due
}

// Rest notes that an instance waits on its machine, and reports whether it is to leave it:
// somebody wants one, and there is room. Else nudge is called when somebody does, with the
// Lot's lock held: it must not block; then Rest is to be called again.
func (l *Lot) Rest(s *Stay, nudge func(), wanted func() bool) (leave bool) {
	l.mu.Lock()
	if s.rest == nil {
		s.nudge = nudge
		s.rest = l.resting.PushBack(s)
	}
	asked := s.asked
	s.asked = false
	full := !l.fits(s, s.needs)
	l.mu.Unlock()
	// It is in the list before it looks: who comes to want one later finds it there.
	if leave = asked || wanted(); leave && full {
		l.mu.Lock()
		l.refused()
		if asked {
			l.ask() // another one in its place
		}
		l.mu.Unlock()
		return false
	}
	return leave
}

// Take takes room for an instance that is to leave its machine, which Wait then has, or Work
// gives back. False: there is none, nor is what was taken before.
func (l *Lot) Take(s *Stay, bytes uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.keeps(bytes) {
		l.count(s, bytes)
		return true
	}
	l.give(s)
	if !l.room(s.Owner, bytes) {
		s.needs = bytes
		l.refused()
		l.ask() // another one in its place
		return false
	}
	l.count(s, bytes)
	return true
}

// Grow takes as much room as one is to have that keeps it and has some, or leaves it what it has:
// false.
func (l *Lot) Grow(s *Stay, bytes uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !s.taken || !s.Keeps || bytes > s.bytes && !l.holds(s.Owner, bytes-s.bytes) {
		return false
	}
	l.count(s, bytes)
	return true
}

// refused notes that somebody stays on his machine. mu is held.
func (l *Lot) refused() {
	l.stats.Refused++
	l.crowded = true
}

// keeps reports whether it has kept room for so many bytes: it is its own.
func (s *Stay) keeps(bytes uint64) bool { return s.taken && s.Keeps && bytes <= s.bytes }

// fits reports whether an instance that rests may be parked with so many bytes. mu is held.
func (l *Lot) fits(s *Stay, bytes uint64) bool { return s.keeps(bytes) || l.room(s.Owner, bytes) }

// room reports whether an owner may park one instance more, of so many bytes. mu is held.
func (l *Lot) room(owner string, bytes uint64) bool {
	if l.closed || l.o.Instances > 0 && l.stats.Instances >= l.o.Instances {
		return false
	}
	own := l.shares[owner]
	if own != nil && owner != l.o.Host && l.o.Instances > 0 && own.instances >= most(l.o.Instances) {
		return false
	}
	return l.holds(owner, max(bytes, 1))
}

// holds reports whether what an owner has parked may take so many bytes more. mu is held.
func (l *Lot) holds(owner string, bytes uint64) bool {
	if l.o.Bytes == 0 {
		return true
	}
	has := uint64(0)
	if own := l.shares[owner]; own != nil {
		has = own.bytes
	}
	return l.stats.Bytes+bytes <= l.o.Bytes && (owner == l.o.Host || has+bytes <= most(l.o.Bytes))
}

// count counts an instance in, or what it takes anew. mu is held.
func (l *Lot) count(s *Stay, bytes uint64) {
	own := l.shares[s.Owner]
	if own == nil {
		own = &share{}
		l.shares[s.Owner] = own
	}
	if !s.taken {
		s.taken = true
		l.stats.Instances++
		own.instances++
	}
	l.stats.Bytes += bytes - s.bytes
	own.bytes += bytes - s.bytes
	less := bytes < s.bytes
	if s.bytes = bytes; less {
		l.freed()
	}
}

// recount is count, but for one that keeps its room and has none: it is nothing any more. mu is
// held.
func (l *Lot) recount(s *Stay, bytes uint64) {
	if s.taken || !s.Keeps {
		l.count(s, bytes)
	}
}

// freed has those asked again who stay on their machines for want of room, where there is
// some more. mu is held.
func (l *Lot) freed() {
	if !l.crowded {
		return
	}
	l.crowded = false
	for e := l.resting.Front(); e != nil; e = e.Next() {
		e.Value.(*Stay).nudge()
	}
}

// give counts it out, if it is counted. mu is held.
func (l *Lot) give(s *Stay) {
	if !s.taken {
		return
	}
	l.count(s, 0)
	s.taken = false
	l.stats.Instances--
	if own := l.shares[s.Owner]; own.instances > 1 {
		own.instances--
	} else {
		delete(l.shares, s.Owner)
	}
	l.freed()
}

// Work notes that an instance that rested works again, or leaves its machine.
func (l *Lot) Work(s *Stay) {
	l.mu.Lock()
	asked := s.asked
	l.takeRest(s)
	if !s.Keeps {
		l.give(s)
	}
	s.needs = 0
	l.mu.Unlock()
	if asked { // it had not heard of it yet
		l.Want()
	}
}

// Free gives back what room an instance has that keeps it.
func (l *Lot) Free(s *Stay) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.give(s)
}

// takeRest takes it off the list. mu is held.
func (l *Lot) takeRest(s *Stay) {
	if s.rest != nil {
		l.resting.Remove(s.rest)
		s.rest, s.asked = nil, false
	}
}

// Want asks an instance that waits on its machine to leave it, if there is one that was not
// asked yet and for which there is room.
func (l *Lot) Want() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ask()
}

// ask is Want; mu is held. Those of an owner who has all that he may have are passed over:
// they keep nobody from a machine that another's instance can leave.
func (l *Lot) ask() {
	for e := l.resting.Front(); e != nil; e = e.Next() {
		switch s := e.Value.(*Stay); {
		case s.asked:
		case l.fits(s, s.needs):
			s.asked = true
			l.resting.MoveToBack(e)
			s.nudge()
			return
		default:
			l.crowded = true
		}
	}
}

// Full reports whether there is no room for one instance more of an owner.
func (l *Lot) Full(owner string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.room(owner, 0)
}

// End is why a wait has ended.
type End int

// The ends.
const (
	Due       End = iota // its time has come, or something for it
	Ended                // it was ended
	Cancelled            // its context has
	Closed               // the Lot was closed
)

// Wait keeps a parked instance until it is due: at a time, unless that is zero, or when
// something comes for it; or until ctx, or ended, is over. It does not wait for room: Take
// has seen to that.
func (l *Lot) Wait(ctx context.Context, s *Stay, c Content, due time.Time, ended <-chan struct{}) End {
	if !l.enter(s, c, due) {
		return Closed
	}
	defer l.leave(s)
	select {
	case <-s.turn:
		return Due
	case <-c.Woken():
		return Due
	case <-ended:
		return Ended
	case <-ctx.Done():
		return Cancelled
	case <-l.done:
		return Closed
	}
}

// enter counts what is parked, and squeezes it where much is whole.
func (l *Lot) enter(s *Stay, c Content, due time.Time) bool {
	bytes := c.Bytes()
	l.mu.Lock()
	l.takeRest(s)
	if l.closed {
		l.give(s)
		l.mu.Unlock()
		return false
	}
	if !l.running {
		l.running = true
		go l.loop()
	}
	if s.turn == nil {
		s.turn = make(chan struct{}, 1)
	}
	s.content, s.due, s.needs = c, due, 0
	l.recount(s, bytes)
	bytes = s.bytes
	l.stats.Parks++
	first := false
	if !due.IsZero() {
		l.timers.push(s)
		first = l.timers[0] == s
	}
	if l.pending+bytes > l.o.Whole {
		l.mu.Unlock()
		l.squeeze(s)
		l.mu.Lock()
	} else {
		s.whole = l.whole.PushBack(waiting{s, time.Now()})
		l.pending += bytes
		first = first || l.whole.Len() == 1
	}
	l.mu.Unlock()
	if first {
		l.look()
	}
	return true
}

// waiting is who waits to be squeezed, since when.
type waiting struct {
	s     *Stay
	since time.Time
}

// leave is the end of its stay.
func (l *Lot) leave(s *Stay) {
	l.mu.Lock()
	l.timers.remove(s)
	l.takeWhole(s)
	busy := s.busy
	l.mu.Unlock()
	if busy != nil {
		<-busy
	}
	l.mu.Lock()
	if !s.Keeps {
		l.give(s)
	}
	s.content, s.busy = nil, nil
	l.mu.Unlock()
	select {
	case <-s.turn:
	default:
	}
}

// takeWhole takes it off the list of what is whole. mu is held.
func (l *Lot) takeWhole(s *Stay) {
	if s.whole != nil {
		l.whole.Remove(s.whole)
		s.whole = nil
		l.pending -= s.bytes
	}
}

// squeeze does so, and counts what it takes then.
func (l *Lot) squeeze(s *Stay) {
	if err := s.content.Squeeze(); err != nil && l.o.Failed != nil {
		l.o.Failed(err)
	}
	bytes := s.content.Bytes()
	l.mu.Lock()
	l.recount(s, bytes)
	l.mu.Unlock()
}

// Back notes that an instance that was due goes on only now.
func (l *Lot) Back(due time.Time) {
	if late := time.Since(due); !due.IsZero() && late >= lateBy {
		l.mu.Lock()
		l.stats.Late++
		l.stats.LateTime += late
		l.mu.Unlock()
	}
}

// Stats returns the counts.
func (l *Lot) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	st := l.stats
	st.Resting, st.Whole, st.Limit, st.Budget = l.resting.Len(), l.whole.Len(), l.o.Instances, l.o.Bytes
	return st
}

// Close ends all waits with Closed, and what is parked from then on.
func (l *Lot) Close() {
	l.mu.Lock()
	running, closed := l.running, l.closed
	l.closed = true
	l.mu.Unlock()
	if !running {
		if !closed {
			close(l.done)
		}
		return
	}
	l.look()
	<-l.done
}
