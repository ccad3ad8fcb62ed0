package state

import (
	"fmt"
	"sync"
)

// Who is behind a session.
type Who struct {
	Owner string
	// Function is the name of the function, as its owner calls it; "": it is none.
	Function string
	// All: it reaches all shares of its owner, whatever Rights say.
	All bool
	// Request tells its instances apart, in errors.
	Request string
	Rights  Rights
}

func (w *Who) String() string {
	if w.Function == "" {
		return "a client"
	}
	return fmt.Sprintf("%s (request %s)", w.Function, w.Request)
}

// Bounds of a session.
const (
	maxHeld  = 1024 // locks
	maxWaits = 64   // for locks and for changes, at a time
	// maxOwnerWaits are those of all sessions of an owner.
	maxOwnerWaits = 100_000
)

// Session is one instance's way to its owner's state.
type Session struct {
	who Who
	t   *tenant

	done chan struct{} // closed at its end
	once sync.Once

	// Under t.mu.
	ended bool
	held  map[*holder]struct{}
	turns map[*Turn]struct{} // that wait for a lock
	waits int                // for locks and for changes
}

// Open makes a session. It is to be closed.
func (s *Store) Open(who Who) (*Session, error) {
	t, err := s.tenant(who.Owner)
	if err != nil {
		return nil, err
	}
	session := &Session{who: who, t: t, done: make(chan struct{}), held: map[*holder]struct{}{}, turns: map[*Turn]struct{}{}}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sessions[session] = struct{}{}
	return session, nil
}

// Close ends the session: its waits end with ErrEnded, and its locks are free at once.
func (s *Session) Close() {
	s.once.Do(func() {
		close(s.done)
		t := s.t
		t.mu.Lock()
		defer t.mu.Unlock()
		s.ended = true
		for turn := range s.turns {
			turn.drop(ErrEnded)
		}
		for h := range s.held {
			h.release()
		}
		delete(t.sessions, s)
	})
}

// Done is closed when the session ends.
func (s *Session) Done() <-chan struct{} { return s.done }

// reach checks a key, and that the session may do so much with its share.
func (s *Session) reach(key string, need Right) error {
	share, err := splitKey(key)
	if err != nil || s.who.All {
		return err
	}
	return s.who.Rights.allows(s.who.Function, share, need)
}

// Reach refuses a key that the session may not use so: for who gives out memory of it.
func (s *Session) Reach(key string, need Right) error { return s.reach(key, need) }

// Charge takes so many bytes of what the session's function and its owner may have, or,
// negative, gives them back: for who keeps memory of a key beside its value.
func (s *Session) Charge(bytes int64) error {
	from := s.who.Function
	if bytes < 0 {
		return s.t.s.budget.move(s.who.Owner, from, -bytes, from, 0)
	}
	return s.t.s.budget.move(s.who.Owner, from, 0, from, bytes)
}

// wait counts a wait in. t.mu is held.
func (s *Session) wait() error {
	switch {
	case s.ended:
		return ErrEnded
	case s.waits >= maxWaits:
		return fmt.Errorf("it waits %d times already: %w", maxWaits, ErrTooMany)
	case s.t.waits >= maxOwnerWaits:
		return fmt.Errorf("the sessions of its owner wait %d times already: %w", maxOwnerWaits, ErrTooMany)
	}
	s.waits++
	s.t.waits++
	return nil
}

// waited counts it out. t.mu is held.
func (s *Session) waited() {
	s.waits--
	s.t.waits--
}
