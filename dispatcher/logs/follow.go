package logs

import (
	"errors"
	"fmt"
	"slices"

	"seuss/dispatcher/functions"
)

// Bounds of followers.
const (
	maxFollowers     = 64 // of all logs
	maxOfOne         = 8  // of one log
	followerEntries  = 256
	maxFollowerBytes = 8 << 20
)

var (
	// ErrSlow: a follower did not take its entries as fast as they came.
	ErrSlow = errors.New("the follower is too slow: it was left behind")
	// ErrClosed: the service ends.
	ErrClosed = errors.New("logs are closed")
	// ErrFollowers: there are as many followers as there may be.
	ErrFollowers = errors.New("too many follow logs")
)

// Follower gets the entries of a log as they are written.
type Follower struct {
	// C has the entries; closed when the follower is over, and Err says why.
	C     <-chan Entry
	s     *Store
	key   Key
	c     chan Entry
	bytes int // in c, as of what was put in; under s.mu
	err   error
	over  bool
}

// Follow begins to follow a log: what is written after it returns is in C.
func (s *Store) Follow(k Key) (*Follower, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	owner := functions.OwnerOf(k.Function)
	switch {
	case s.closed:
		return nil, ErrClosed
	case s.following >= maxFollowers:
		return nil, fmt.Errorf("%w: %d in all", ErrFollowers, maxFollowers)
	case len(s.followers[k]) >= maxOfOne:
		return nil, fmt.Errorf("%w: %d of this function's", ErrFollowers, maxOfOne)
	case s.followersOf[owner] >= maxFollowers-s.following: // as many as are free beside
		return nil, fmt.Errorf("%w: %d of this owner's", ErrFollowers, s.followersOf[owner])
	}
	c := make(chan Entry, followerEntries)
	f := &Follower{C: c, s: s, key: k, c: c}
	s.followers[k] = append(s.followers[k], f)
	s.following++
	s.followersOf[owner]++
	return f, nil
}

// Taken is called for each entry that came out of C, when it is not held any more.
func (f *Follower) Taken(e *Entry) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.bytes -= e.size()
}

// Err says why C was closed.
func (f *Follower) Err() error {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	return f.err
}

// Close ends following. It may be called more than once.
func (f *Follower) Close() { f.end(nil) }

func (f *Follower) end(err error) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.endLocked(err)
}

func (f *Follower) endLocked(err error) {
	if f.over {
		return
	}
	f.over, f.err = true, err
	close(f.c)
	f.s.following--
	owner := functions.OwnerOf(f.key.Function)
	if f.s.followersOf[owner]--; f.s.followersOf[owner] == 0 {
		delete(f.s.followersOf, owner)
	}
	list := slices.DeleteFunc(f.s.followers[f.key], func(other *Follower) bool { return other == f })
	if len(list) == 0 {
		delete(f.s.followers, f.key)
	} else {
		f.s.followers[f.key] = list
	}
}

// tell gives entries to a log's followers. Who has no room for them is cut off.
func (s *Store) tell(k Key, batch []Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range slices.Clone(s.followers[k]) {
		for i := range batch {
			n := batch[i].size()
			if len(f.c) == cap(f.c) || f.bytes+n > maxFollowerBytes && f.bytes > 0 {
				f.endLocked(ErrSlow)
				break
			}
			f.bytes += n
			f.c <- batch[i] // it has room, and only tell puts in
		}
	}
}
