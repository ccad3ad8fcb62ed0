package state

import (
	"container/list"
	"context"
	"fmt"
	"time"
)

// Leases, in which who holds a lock renews it or loses it.
const (
	DefaultLease = 30 * time.Second
	MinLease     = 10 * time.Millisecond
	MaxLease     = 5 * time.Minute
)

// lock is one that somebody holds or waits for. Who has waited longest has it next; shared
// ones that wait one behind the other have it together.
type lock struct {
	t       *tenant
	key     string
	holders map[uint64]*holder // by token
	shared  bool               // how they hold it
	queue   list.List          // of *Turn
}

// party is who holds or waits: a thread of a session, which others of it go on beside.
type party struct {
	s      *Session
	thread uint64
}

// holder is who holds a lock.
type holder struct {
	party
	l     *lock
	token uint64
	until time.Time
	timer *time.Timer
}

// Grant is a lock that is held.
type Grant struct {
	// Token is larger than those of all who have held a lock of the owner before: who keeps
	// something elsewhere can refuse those that are late, and writes can be bound to it
	// (If.Fence).
	Token uint64
	// Until is when the lease ends.
	Until time.Time
}

// Turn is a lock that was asked for.
type Turn struct {
	party
	l      *lock
	shared bool
	lease  time.Duration
	place  *list.Element // in the queue, while it waits

	done  chan struct{} // closed when it is granted, or never will be
	grant Grant
	err   error
}

// Done is closed when the lock is granted, or never will be: Grant says which.
func (t *Turn) Done() <-chan struct{} { return t.done }

// Grant returns what has become of it, once it is done.
func (t *Turn) Grant() (Grant, error) { return t.grant, t.err }

// Lock waits for a key's lock; there need be no value. A lock that cannot be had because all
// who hold it wait for this session is ErrDeadlock, which names them.
func (s *Session) Lock(ctx context.Context, key string, shared bool, lease time.Duration) (Grant, error) {
	turn, err := s.Ask(key, shared, lease, 0)
	if err != nil {
		return Grant{}, err
	}
	return turn.Wait(ctx)
}

// Wait waits for it until ctx ends.
func (t *Turn) Wait(ctx context.Context) (Grant, error) {
	select {
	case <-t.done:
		return t.Grant()
	case <-ctx.Done():
	}
	t.s.t.mu.Lock()
	defer t.s.t.mu.Unlock()
	select {
	case <-t.done: // it was granted all the same
	default:
		t.drop(fmt.Errorf("it is held by %s: %w", t.l.names(), context.Cause(ctx)))
	}
	return t.grant, ofKey(t.l.key, t.err)
}

// Ask asks for a lock, without waiting; lease 0: DefaultLease. The Turn is done at once where
// the lock is free, and has to be waited for otherwise. thread tells apart, where deadlocks are
// looked for, who of the session's waits while others go on; what says 0 is one.
func (s *Session) Ask(key string, shared bool, lease time.Duration, thread uint64) (*Turn, error) {
	turn, err := s.ask(key, shared, lease, thread)
	return turn, ofKey(key, err)
}

func (s *Session) ask(key string, shared bool, lease time.Duration, thread uint64) (*Turn, error) {
	need := Write
	if shared {
		need = Read
	}
	if err := s.reach(key, need); err != nil {
		return nil, err
	}
	lease, err := checkLease(lease)
	if err != nil {
		return nil, err
	}
	t := s.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(s.held) >= maxHeld {
		return nil, fmt.Errorf("it holds %d locks: %w", maxHeld, ErrTooMany)
	}
	l := t.locks[key]
	if l == nil {
		l = &lock{t: t, key: key, holders: map[uint64]*holder{}}
	}
	turn := &Turn{party: party{s, thread}, l: l, shared: shared, lease: lease, done: make(chan struct{})}
	if l.queue.Len() == 0 && l.free(shared) {
		if s.ended {
			return nil, ErrEnded
		}
		t.locks[key] = l
		turn.hold()
		return turn, nil
	}
	if err := turn.circle(); err != nil {
		t.stats.Deadlocks++
		return nil, err
	}
	if err := s.wait(); err != nil {
		return nil, err
	}
	turn.place = l.queue.PushBack(turn)
	s.turns[turn] = struct{}{}
	return turn, nil
}

func checkLease(lease time.Duration) (time.Duration, error) {
	switch {
	case lease == 0:
		return DefaultLease, nil
	case lease < MinLease || lease > MaxLease:
		return 0, fmt.Errorf("a lease of %v is not %v to %v: %w", lease, MinLease, MaxLease, ErrRange)
	}
	return lease, nil
}

// free reports whether one more may hold it. mu is held.
func (l *lock) free(shared bool) bool {
	return len(l.holders) == 0 || shared && l.shared
}

// heldBy reports whether the exclusive lock is held with a token; nil: nobody holds it. mu is
// held.
func (l *lock) heldBy(token uint64) bool {
	return l != nil && !l.shared && l.holders[token] != nil
}

// hold gives a turn its lock. mu is held.
func (t *Turn) hold() {
	tenant := t.l.t
	tenant.clock++
	tenant.stats.Locks++
	h := &holder{party: t.party, l: t.l, token: tenant.clock, until: time.Now().Add(t.lease)}
	h.timer = time.AfterFunc(t.lease, h.expire)
	t.l.holders[h.token], t.l.shared = h, t.shared
	t.s.held[h] = struct{}{}
	t.grant = Grant{h.token, h.until}
	close(t.done)
}

// drop ends a turn without its lock. mu is held.
func (t *Turn) drop(err error) {
	t.err = err
	t.leave()
	close(t.done)
	t.l.next()
}

// leave takes it off the queue. mu is held.
func (t *Turn) leave() {
	t.l.queue.Remove(t.place)
	delete(t.s.turns, t)
	t.s.waited()
}

// next gives the lock to who is next. mu is held.
func (l *lock) next() {
	for l.queue.Len() > 0 {
		turn := l.queue.Front().Value.(*Turn)
		if !l.free(turn.shared) {
			break
		}
		turn.leave()
		turn.hold()
	}
	if len(l.holders) == 0 && l.queue.Len() == 0 && l.t.locks[l.key] == l {
		delete(l.t.locks, l.key)
	}
}

// release ends a hold. mu is held.
func (h *holder) release() {
	if _, held := h.s.held[h]; !held {
		return
	}
	h.timer.Stop()
	delete(h.s.held, h)
	delete(h.l.holders, h.token)
	h.l.next()
}

// expire ends a hold whose lease was not renewed.
func (h *holder) expire() {
	h.l.t.mu.Lock()
	defer h.l.t.mu.Unlock()
	if _, held := h.s.held[h]; !held {
		return
	}
	if left := time.Until(h.until); left > 0 { // it was renewed meanwhile
		h.timer.Reset(left)
		return
	}
	h.l.t.stats.Expired++
	h.release()
}

// Unlock gives back the lock that was granted with a token.
func (s *Session) Unlock(key string, token uint64) error {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	h := s.holds(key, token)
	if h == nil {
		return ofKey(key, fmt.Errorf("token %d: %w: its lease may have ended", token, ErrNotHeld))
	}
	h.release()
	return nil
}

// Renew begins a lease anew.
func (s *Session) Renew(key string, token uint64, lease time.Duration) (Grant, error) {
	lease, err := checkLease(lease)
	if err != nil {
		return Grant{}, ofKey(key, err)
	}
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	h := s.holds(key, token)
	if h == nil {
		return Grant{}, ofKey(key, fmt.Errorf("token %d: %w: its lease may have ended", token, ErrNotHeld))
	}
	h.until = time.Now().Add(lease)
	h.timer.Reset(lease)
	return Grant{h.token, h.until}, nil
}

// holds is what the session holds. mu is held.
func (s *Session) holds(key string, token uint64) *holder {
	if l := s.t.locks[key]; l != nil {
		if h := l.holders[token]; h != nil && h.s == s {
			return h
		}
	}
	return nil
}
