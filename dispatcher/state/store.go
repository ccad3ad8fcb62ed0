package state

import (
	"cmp"
	"sync"

	iradix "github.com/hashicorp/go-immutable-radix"
)

// Options bound a Store; what is 0 has its default.
type Options struct {
	// Bytes is what all values may take of memory; DefaultBytes.
	Bytes int64
	// ValueBytes is the size of the largest value; DefaultValueBytes.
	ValueBytes int64
	// Host is the owner who may have all of it: he whose the host is.
	Host string
	// Global keeps what is pushed; nil: nothing can be pushed.
	Global Global
	// Window opens memory in which guests read an owner's share without asking; nil: they ask.
	Window func(owner, share string) (Window, error)
}

// Defaults of Options.
const (
	DefaultBytes      = 256 << 20
	DefaultValueBytes = 64 << 20
)

// MaxTransfer is how much one operation reads or writes, in bytes: more is moved in ranges.
const MaxTransfer = 8 << 20

// keyOverhead is what a key takes beside its value and its own bytes, about.
const keyOverhead = 512

// Store is the state of all owners.
type Store struct {
	o       Options
	budget  *budget
	windows windows

	mu      sync.Mutex
	tenants map[string]*tenant
	closed  bool
}

// New makes a Store.
func New(o Options) *Store {
	o.Bytes = cmp.Or(o.Bytes, DefaultBytes)
	o.ValueBytes = cmp.Or(o.ValueBytes, DefaultValueBytes)
	return &Store{o: o, budget: newBudget(o.Bytes, o.Host), windows: windows{open: o.Window, by: map[shareKey]*window{}}, tenants: map[string]*tenant{}}
}

// tenant is an owner's state.
type tenant struct {
	s     *Store
	owner string

	mu       sync.Mutex
	clock    uint64       // the last version that was given
	values   *iradix.Tree // *entry by key
	locks    map[string]*lock
	watches  map[string]*watch
	sessions map[*Session]struct{}
	waits    int // of all sessions, for locks and for changes
	stats    counts
}

// entry is a key's value. It does not change.
type entry struct {
	value
	version uint64
	writer  string // the function that has written it last, whose it counts as; "": none
	charge  int64
}

func (s *Store) tenant(owner string) (*tenant, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrEnded
	}
	t := s.tenants[owner]
	if t == nil {
		t = &tenant{s: s, owner: owner, values: iradix.New(), locks: map[string]*lock{}, watches: map[string]*watch{}, sessions: map[*Session]struct{}{}}
		s.tenants[owner] = t
	}
	return t, nil
}

// get is a key's entry, nil if there is none. mu is held.
func (t *tenant) get(key string) *entry {
	if e, ok := t.values.Get([]byte(key)); ok {
		return e.(*entry)
	}
	return nil
}

// put makes v a key's value. mu is held.
func (t *tenant) put(key, writer string, old *entry, v value) (*entry, error) {
	e := &entry{value: v, writer: writer, charge: v.bytes() + int64(len(key)) + keyOverhead}
	if old == nil {
		old = &entry{writer: writer}
	}
	if err := t.s.budget.move(t.owner, old.writer, old.charge, writer, e.charge); err != nil {
		return nil, err
	}
	t.clock++
	e.version = t.clock
	t.values, _, _ = t.values.Insert([]byte(key), e)
	t.s.windows.changed(t.owner, key, e)
	t.changed(key)
	return e, nil
}

// remove removes a key's value. mu is held.
func (t *tenant) remove(key string, old *entry) {
	_ = t.s.budget.move(t.owner, old.writer, old.charge, old.writer, 0) // less always fits
	t.clock++
	t.values, _, _ = t.values.Delete([]byte(key))
	t.s.windows.changed(t.owner, key, nil)
	t.changed(key)
}

// Close ends all sessions. What was not pushed is gone with the Store.
func (s *Store) Close() {
	s.mu.Lock()
	s.closed = true
	tenants := s.tenants
	s.mu.Unlock()
	for _, t := range tenants { // none is added any more
		t.mu.Lock()
		var open []*Session
		for session := range t.sessions {
			open = append(open, session)
		}
		t.mu.Unlock()
		for _, session := range open {
			session.Close()
		}
	}
	s.windows.close()
}
