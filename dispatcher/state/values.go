package state

import (
	"fmt"
	"strings"
)

// Meta is what there is to know of a value beside its bytes.
type Meta struct {
	Size    int64  `json:"size"`
	Version uint64 `json:"version"` // 0: there is none
}

// If is what has to hold for a write to be done.
type If struct {
	// Version that the value must have; 0: there must be none; nil: any.
	Version *uint64
	// Fence is the token of the exclusive lock of the same key that must still be held; 0:
	// none.
	Fence uint64
}

// check refuses a write of which something does not hold. t.mu is held.
func (c *If) check(t *tenant, key string, old *entry) error {
	if c.Version != nil {
		has := uint64(0)
		if old != nil {
			has = old.version
		}
		if has != *c.Version {
			return fmt.Errorf("it has version %d, not %d: read it again: %w", has, *c.Version, ErrChanged)
		}
	}
	if c.Fence != 0 && !t.locks[key].heldBy(c.Fence) {
		return fmt.Errorf("token %d: %w: its lease has ended", c.Fence, ErrFenced)
	}
	return nil
}

// transfer refuses to move too much at a time.
func transfer(n int64) error {
	if n > MaxTransfer {
		return fmt.Errorf("%d bytes, one operation moves %d at most: do it in ranges: %w", n, MaxTransfer, ErrTooLarge)
	}
	return nil
}

// Get returns n bytes of a value from an offset on, fewer where it ends before; n < 0: all
// the rest. They are the caller's.
func (s *Session) Get(key string, at, n int64) ([]byte, Meta, error) {
	p, m, err := s.get(key, at, n)
	return p, m, ofKey(key, err)
}

func (s *Session) get(key string, at, n int64) ([]byte, Meta, error) {
	if err := s.reach(key, Read); err != nil {
		return nil, Meta{}, err
	}
	if at < 0 {
		return nil, Meta{}, fmt.Errorf("offset %d: %w", at, ErrRange)
	}
	e := s.entry(key)
	if e == nil {
		return nil, Meta{}, ErrNotFound
	}
	m := Meta{e.size, e.version}
	if rest := max(e.size-at, 0); n < 0 || n > rest {
		n = rest
	}
	if err := transfer(n); err != nil {
		return nil, m, err
	}
	return e.read(at, n), m, nil
}

func (s *Session) entry(key string) *entry {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	s.t.stats.Reads++
	return s.t.get(key)
}

// Stat is Get without the bytes.
func (s *Session) Stat(key string) (Meta, error) {
	if err := s.reach(key, Read); err != nil {
		return Meta{}, ofKey(key, err)
	}
	e := s.entry(key)
	if e == nil {
		return Meta{}, ofKey(key, ErrNotFound)
	}
	return Meta{e.size, e.version}, nil
}

// Set makes p a key's value.
func (s *Session) Set(key string, p []byte, c If) (Meta, error) {
	v := value{}
	if int64(len(p)) <= MaxTransfer {
		v = valueOf(p)
	}
	return s.write(key, int64(len(p)), c, func(*value) (value, error) { return v, nil })
}

// SetRange writes p at an offset of a value, which is made longer, with zeros before, and made
// where there is none.
func (s *Session) SetRange(key string, at int64, p []byte, c If) (Meta, error) {
	if at < 0 {
		return Meta{}, ofKey(key, fmt.Errorf("offset %d: %w", at, ErrRange))
	}
	if most := s.t.s.o.ValueBytes; at > most-int64(len(p)) {
		return Meta{}, ofKey(key, fmt.Errorf("%d bytes at offset %d, a value has %d at most: %w", len(p), at, most, ErrTooLarge))
	}
	w := pieces{}
	if int64(len(p)) <= MaxTransfer {
		w = cut(at, p)
	}
	return s.write(key, int64(len(p)), c, func(old *value) (value, error) { return old.with(w), nil })
}

// Append writes p at the end of a value, which is made where there is none. The value's size
// says where its bytes end then.
func (s *Session) Append(key string, p []byte, c If) (Meta, error) {
	return s.write(key, int64(len(p)), c, func(old *value) (value, error) {
		if most := s.t.s.o.ValueBytes; old.size > most-int64(len(p)) {
			return value{}, fmt.Errorf("%d bytes behind %d, a value has %d at most: %w", len(p), old.size, most, ErrTooLarge)
		}
		return old.appended(p), nil
	})
}

// write makes a value of another one.
func (s *Session) write(key string, n int64, c If, next func(*value) (value, error)) (m Meta, err error) {
	defer func() { err = ofKey(key, err) }()
	if err := s.reach(key, Write); err != nil {
		return m, err
	}
	if err := transfer(n); err != nil {
		return m, err
	}
	t := s.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.ended {
		return m, ErrEnded
	}
	old := t.get(key)
	if err := c.check(t, key, old); err != nil {
		return m, err
	}
	from := value{}
	if old != nil {
		from = old.value
	}
	v, err := next(&from)
	if err != nil {
		return m, err
	}
	e, err := t.put(key, s.who.Function, old, v)
	if err != nil {
		return m, err
	}
	t.stats.Writes++
	return Meta{e.size, e.version}, nil
}

// Delete removes a value.
func (s *Session) Delete(key string, c If) (err error) {
	defer func() { err = ofKey(key, err) }()
	if err := s.reach(key, Write); err != nil {
		return err
	}
	t := s.t
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.get(key)
	switch {
	case s.ended:
		return ErrEnded
	case old == nil:
		return ErrNotFound
	}
	if err := c.check(t, key, old); err != nil {
		return err
	}
	t.remove(key, old)
	t.stats.Writes++
	return nil
}

// Item is a value in a list.
type Item struct {
	Key string `json:"key"`
	Meta
}

// MaxList is how many items one list has.
const MaxList = 1000

// List returns the values of a share whose keys begin so, those behind after, in the order of
// keys, and reports whether there are more. prefix is SHARE/ and the beginning of a name, or,
// for who reaches all shares, empty; limit 0: MaxList.
func (s *Session) List(prefix, after string, limit int) (items []Item, more bool, err error) {
	if limit, err = s.listing(prefix, limit); err != nil {
		return nil, false, err
	}
	s.t.mu.Lock()
	tree := s.t.values
	s.t.stats.Reads++
	s.t.mu.Unlock()
	items = []Item{}
	from := tree.Root().Iterator()
	from.SeekLowerBound([]byte(max(prefix, after)))
	for {
		key, e, ok := from.Next()
		if !ok || !strings.HasPrefix(string(key), prefix) {
			return items, false, nil
		}
		if string(key) == after {
			continue
		}
		if len(items) == limit {
			return items, true, nil
		}
		v := e.(*entry)
		items = append(items, Item{string(key), Meta{v.size, v.version}})
	}
}

// listing checks what a list is asked for, and returns how many items it may have.
func (s *Session) listing(prefix string, limit int) (int, error) {
	share, name, ok := strings.Cut(prefix, "/")
	switch {
	case prefix == "" && s.who.All:
	case !ok || !ValidShare(share):
		return 0, fmt.Errorf("prefix %.80q: %w: want SHARE/ and the beginning of a name", prefix, ErrKey)
	case !s.who.All:
		if err := s.who.Rights.allows(s.who.Function, share, Read); err != nil {
			return 0, ofKey(prefix, err)
		}
	}
	if limit <= 0 || limit > MaxList {
		limit = MaxList
	}
	return limit, checkName(name)
}
