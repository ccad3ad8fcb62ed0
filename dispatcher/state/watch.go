package state

import (
	"context"
	"errors"
)

// watch is who waits for a change of a key.
type watch struct {
	changed chan struct{} // closed by it
	waiters int
}

// changed wakes who waits for a change of a key. mu is held.
func (t *tenant) changed(key string) {
	if w := t.watches[key]; w != nil {
		close(w.changed)
		delete(t.watches, key)
	}
}

// Watch waits until a key's value has another version than one that is known, 0 for none, and
// returns that. Whoever is slow misses what was in between, and holds up nobody.
func (s *Session) Watch(ctx context.Context, key string, known uint64) (m Meta, err error) {
	err = s.Until(ctx, key, func(now Meta) bool {
		m = now
		return now.Version != known
	})
	return m, err
}

// ReadAppended returns what lies behind an offset of a value, at most MaxTransfer bytes, as
// soon as there is something. Of a value that is shorter it is ErrRange: it was written anew.
func (s *Session) ReadAppended(ctx context.Context, key string, at int64) ([]byte, Meta, error) {
	for {
		err := s.Until(ctx, key, func(now Meta) bool { return now.Version != 0 && now.Size != at || at < 0 })
		if err != nil {
			return nil, Meta{}, err
		}
		m, err := s.Stat(key)
		if err == nil && (at < 0 || m.Size < at) {
			return nil, m, ofKey(key, errors.Join(errShorter, ErrRange))
		}
		p, m, err := s.Get(key, at, min(max(m.Size-at, 0), MaxTransfer))
		if errors.Is(err, ErrNotFound) || err == nil && len(p) == 0 {
			continue // it was deleted or written anew since
		}
		return p, m, err
	}
}

var errShorter = errors.New("the value does not reach to that offset: it was written anew")

// Until waits until what is asked holds for a key, whose version is 0 where there is none. It
// is asked without a lock after each change.
func (s *Session) Until(ctx context.Context, key string, holds func(Meta) bool) error {
	if err := s.reach(key, Read); err != nil {
		return ofKey(key, err)
	}
	for {
		m, changed, leave, err := s.look(key)
		if err != nil {
			return ofKey(key, err)
		}
		if holds(m) {
			leave()
			return nil
		}
		select {
		case <-changed:
		case <-s.done:
			err = ErrEnded
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		leave()
		if err != nil {
			return ofKey(key, err)
		}
	}
}

// look says what a key's value is, and is told of its next change until leave.
func (s *Session) look(key string) (m Meta, changed <-chan struct{}, leave func(), err error) {
	t := s.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := s.wait(); err != nil {
		return m, nil, nil, err
	}
	if e := t.get(key); e != nil {
		m = Meta{e.size, e.version}
	}
	w := t.watches[key]
	if w == nil {
		w = &watch{changed: make(chan struct{})}
		t.watches[key] = w
	}
	w.waiters++
	return m, w.changed, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		s.waited()
		if w.waiters--; w.waiters == 0 && t.watches[key] == w {
			delete(t.watches, key)
		}
	}, nil
}
