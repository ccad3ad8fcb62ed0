package outbound

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
)

// Budgets bound what the guests of a whole service take of the host beyond their
// machines.
type Budgets struct {
	// Streams are connections to other machines and to host ports, and sockets that ask
	// name servers: each takes a descriptor, or half a megabyte of buffers.
	Streams *Budget
	// Lookups are names that are being looked up: each takes up to three descriptors.
	Lookups *Budget
}

// What a service's guests may hold at a time, where the process has descriptors for it,
// and what of it each instance is sure of.
const (
	allStreams   = 1024
	streamsShare = 16
	allLookups   = 128
	lookupsShare = 2
	fewest       = 2 // times the shares of all instances, where these take more
)

// NewBudgets makes the budgets of a service that runs as many instances at a time as
// there are slots. They stay within half of the descriptors that the process may have.
func NewBudgets(slots int) *Budgets {
	most := uint64(allStreams * 64)
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil {
		most = min(most, limit.Cur)
	}
	slots = max(slots, 1)
	return &Budgets{
		Streams: NewBudget(min(max(allStreams, fewest*slots*streamsShare), int(most/4)), slots, streamsShare, maxStreams),
		Lookups: NewBudget(min(max(allLookups, fewest*slots*lookupsShare), int(most/12)), slots, lookupsShare, maxUnderWay),
	}
}

// Budget bounds what all instances hold of something at a time, fairly. Each of as many
// instances as there are slots is sure of its share, whatever others do. The rest is for
// whoever asks, but a function may have no more of it than is free after: so there is
// always some left for another, and one that floods cannot take it all.
type Budget struct {
	total, share, slots int
	each                int // most that one instance may hold
	common              int // what nobody is sure of
	refused             atomic.Uint64

	mu        sync.Mutex
	instances int            // that hold of their share
	taken     int            // of what is common
	functions map[string]int // of that, by function
}

// NewBudget makes one of total, at least 1, for slots instances, each of which is sure of
// share, or of what there is for it: half of total is for the shares at most, and one for
// each at least. Where total is less than slots, so many instances are sure of one. No
// instance may hold more than each.
func NewBudget(total, slots, share, each int) *Budget {
	total = max(total, 1)
	slots = min(max(slots, 1), total)
	share = max(min(share, total/(2*slots), each), 1)
	return &Budget{total: total, share: share, slots: slots, each: each, common: total - share*slots, functions: map[string]int{}}
}

// Refused is how often somebody asked for more than there was for him.
func (b *Budget) Refused() uint64 { return b.refused.Load() }

// Share is what one instance holds of a Budget. Its methods may be called from any
// goroutine.
type Share struct {
	b        *Budget
	function string

	// Under b.mu.
	own, common int          // held: something, while anybody waits
	waiters     []chan error // nil when a place is there, or why there is none; oldest first
}

// Share makes an instance's share. Nothing of it is the budget's until something is taken.
func (b *Budget) Share(function string) Share { return Share{b: b, function: function} }

// Take takes one. The error is an *ExhaustedError.
func (s *Share) Take() error {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	return s.take()
}

// take is Take with b.mu held.
func (s *Share) take() error {
	b := s.b
	switch {
	case s.own+s.common >= b.each:
		b.refused.Add(1)
		return &ExhaustedError{b.each, true}
	case s.own > 0 && s.own < b.share, s.own == 0 && b.instances < b.slots:
		if s.own++; s.own == 1 {
			b.instances++
		}
		return nil
	case b.functions[s.function] >= b.common-b.taken:
		b.refused.Add(1)
		return &ExhaustedError{b.total, false}
	}
	s.common++
	b.taken++
	b.functions[s.function]++
	return nil
}

// Wait takes one, when one of the instance's own is given back if there is none before.
// An instance that holds none waits for nothing. The error is an *ExhaustedError or that
// of ctx.
func (s *Share) Wait(ctx context.Context) error {
	turn, err := s.ask()
	if turn == nil {
		return err
	}
	select {
	case err := <-turn:
		return err
	case <-ctx.Done():
	}
	s.b.mu.Lock()
	i := slices.Index(s.waiters, turn)
	if i >= 0 {
		s.waiters = slices.Delete(s.waiters, i, i+1)
	}
	s.b.mu.Unlock()
	if i < 0 && <-turn == nil {
		s.Give() // its turn came all the same
	}
	return context.Cause(ctx)
}

// ask takes one, or returns what tells that its turn has come.
func (s *Share) ask() (turn chan error, err error) {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	if len(s.waiters) == 0 {
		if err := s.take(); err == nil || s.own+s.common == 0 {
			return nil, err
		}
	}
	turn = make(chan error, 1)
	s.waiters = append(s.waiters, turn)
	return turn, nil
}

// Give gives one back.
func (s *Share) Give() {
	b := s.b
	b.mu.Lock()
	defer b.mu.Unlock()
	// What is common goes back first, unless the function may keep that much for who of
	// it waits.
	if s.common > 0 && (len(s.waiters) == 0 || b.functions[s.function] > b.common-b.taken) {
		s.common--
		b.taken--
		if b.functions[s.function]--; b.functions[s.function] == 0 {
			delete(b.functions, s.function)
		}
		for s.own+s.common == 0 && len(s.waiters) > 0 { // nothing else wakes them
			s.next(s.take())
		}
		return
	}
	if len(s.waiters) > 0 {
		s.next(nil)
		return
	}
	if s.own--; s.own == 0 {
		b.instances--
	}
}

// next ends the wait of who has waited longest, with b.mu held.
func (s *Share) next(err error) {
	s.waiters[0] <- err
	s.waiters = s.waiters[1:]
}

// ExhaustedError: an instance, or the guests of the service together, hold all that there
// is for them.
type ExhaustedError struct {
	Limit int
	Own   bool // the instance's
}

func (e *ExhaustedError) Error() string {
	if e.Own {
		return fmt.Sprintf("an instance may have no more than %d at a time", e.Limit)
	}
	return fmt.Sprintf("the functions of this service have what there is of the %d for all of them", e.Limit)
}
