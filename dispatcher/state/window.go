package state

import (
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"

	"seuss/guest"
)

// Window is memory of a share that guests map for reading. It is zeros where it is new, a
// multiple of 8 bytes, and nobody but the Store writes to it.
type Window interface {
	// Memory is all of it, until Close.
	Memory() []byte
	// Idle reports whether no guest has it mapped.
	Idle() bool
	// Close gives it up. Who has it mapped keeps it.
	Close()
}

// WindowBytes is the size of a Window.
const WindowBytes = 1 << 20

// Bounds of windows.
const (
	maxWindows      = 64
	maxOwnerWindows = 16
	// maxShown is the size of the largest value that is in one.
	maxShown = 64 << 10
)

// slotHead is the bytes of the head behind which a value lies (guest/abi/driver.h,
// ABI_WINDOW_*; what is not said there is zeros).
const slotHead = guest.WindowHead

// Place is where a value lies in its share's window.
type Place struct {
	At uint64 // offset of its head; 0: it is in none
	ID uint64 // that the head has as long as it is this key's
}

// windows are those of all owners.
type windows struct {
	open func(owner, share string) (Window, error)
	any  atomic.Int32 // how many there are

	mu     sync.Mutex
	by     map[shareKey]*window
	closed bool
}

type shareKey struct{ owner, share string }

// window is a Window with what lies where: a ring of slots, of which the oldest go first.
type window struct {
	Window
	memory []byte
	slots  map[string]*slot // by key
	ring   []*slot          // from the oldest on, those included that were given up
	head   int              // where the next one goes
	last   uint64           // id that was given last
}

type slot struct {
	key      string // "": it was given up
	at, room int    // of the value, behind the head
	id       uint64
	stamp    uint64
}

// changed is told each change of a key's value; e nil: it is gone. The tenant's mu is held, so
// that guests see the changes of a key in their order, and none before it is done.
func (w *windows) changed(owner, key string, e *entry) {
	if w.any.Load() == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	share, _, _ := strings.Cut(key, "/")
	win := w.by[shareKey{owner, share}]
	if win == nil || win.slots[key] == nil {
		return
	}
	if s := win.slots[key]; e != nil && e.size <= int64(s.room) {
		win.write(s, e)
	} else {
		win.giveUp(s)
	}
}

// show has a value in its share's window, if there is room. The tenant's mu is held.
func (w *windows) show(owner, key string, e *entry) Place {
	if w.open == nil || e.size > maxShown {
		return Place{}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	share, _, _ := strings.Cut(key, "/")
	of := shareKey{owner, share}
	win := w.by[of]
	if win == nil {
		var err error
		if win, err = w.make(of); err != nil {
			return Place{} // it is asked for as before
		}
	}
	s := win.slots[key]
	if s == nil {
		s = win.place(key, e)
		win.write(s, e)
	}
	return Place{uint64(s.at), s.id}
}

var errWindows = errors.New("there are as many windows as there may be")

// make opens a window, for which another one that nobody looks through may have to go. mu is held.
func (w *windows) make(of shareKey) (*window, error) {
	own := 0
	var idle, ownIdle *shareKey
	for k, win := range w.by {
		if k.owner == of.owner {
			own++
		}
		if win.Idle() {
			if idle = &k; k.owner == of.owner {
				ownIdle = &k
			}
		}
	}
	switch {
	case w.closed:
		return nil, ErrEnded
	case own >= maxOwnerWindows && ownIdle == nil, len(w.by) >= maxWindows && idle == nil:
		return nil, errWindows
	case own >= maxOwnerWindows:
		w.drop(*ownIdle)
	}
	opened, err := w.open(of.owner, of.share)
	if err != nil {
		return nil, err
	}
	if len(w.by) >= maxWindows { // another owner's goes only for one that there is
		w.drop(*idle)
	}
	win := &window{Window: opened, memory: opened.Memory(), slots: map[string]*slot{}, head: slotHead, last: rand.Uint64() >> 2}
	w.by[of] = win
	w.any.Add(1)
	return win, nil
}

// drop closes a window, in which nothing is to be read any more: somebody may have mapped it just
// now. mu is held.
func (w *windows) drop(of shareKey) {
	win := w.by[of]
	for len(win.ring) > 0 {
		win.retire()
	}
	win.Close()
	delete(w.by, of)
	w.any.Add(-1)
}

func (w *windows) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for of := range w.by {
		w.drop(of)
	}
}

// place finds room for a value, with some for what it may grow by, where the oldest ones are.
func (w *window) place(key string, e *entry) *slot {
	room := (int(e.size) + int(e.size)/4 + 2*slotHead - 1) / slotHead * slotHead
	if w.head+slotHead+room > len(w.memory) {
		for len(w.ring) > 0 && w.ring[0].at >= w.head {
			w.retire()
		}
		w.head = slotHead
	}
	s := &slot{key: key, at: w.head, room: room, id: w.last + 1, stamp: rand.Uint64() >> 2 &^ 1}
	w.last++
	w.head += slotHead + room
	for len(w.ring) > 0 && w.ring[0].at >= s.at && w.ring[0].at < w.head {
		w.retire()
	}
	w.ring = append(w.ring, s)
	w.slots[key] = s
	return s
}

// retire gives up the oldest slot.
func (w *window) retire() {
	w.giveUp(w.ring[0])
	w.ring = w.ring[1:]
}

// giveUp takes a slot's value away, its bytes too: who gets the share later sees nothing of it.
func (w *window) giveUp(s *slot) {
	if s.key != "" {
		delete(w.slots, s.key)
		s.key = ""
		words := wordsAt(w.memory, s.at)
		atomic.StoreUint64(&words[guest.WindowStamp], s.stamp|1)
		atomic.StoreUint64(&words[guest.WindowID], 0)
		clear(w.memory[s.at+slotHead : s.at+slotHead+s.room])
	}
}

// write makes a slot's value what an entry has. Guests that read it meanwhile find the stamp odd,
// or another one than before; on x86 stores are seen in their order.
func (w *window) write(s *slot, e *entry) {
	words := wordsAt(w.memory, s.at)
	atomic.StoreUint64(&words[guest.WindowStamp], s.stamp|1)
	atomic.StoreUint64(&words[guest.WindowID], s.id)
	atomic.StoreUint64(&words[guest.WindowVersion], e.version)
	atomic.StoreUint64(&words[guest.WindowSize], uint64(e.size))
	to := w.memory[s.at+slotHead : s.at+slotHead+s.room]
	clear(to) // of a longer one before nothing stays
	e.copyTo(to[:e.size], 0)
	s.stamp += 2
	atomic.StoreUint64(&words[guest.WindowStamp], s.stamp)
}

// Show is Get without bytes: it has the value where guests read it without asking, and says
// where, as long as the session may read it.
func (s *Session) Show(key string) Place {
	if s.reach(key, Read) != nil {
		return Place{}
	}
	t := s.t
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.get(key)
	if e == nil || s.ended {
		return Place{}
	}
	return t.s.windows.show(t.owner, key, e)
}
