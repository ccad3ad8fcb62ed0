package logs

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of Options, and bounds.
const (
	DefaultBytes = 8 << 20
	DefaultTotal = 1 << 30
	DefaultAge   = 7 * 24 * time.Hour
	MinBytes     = 64 << 10

	maxQueued     = 64 << 20 // bytes of entries that are not written yet
	maxBatch      = 1 << 20  // bytes that are written at a time
	maxOpen       = 64       // files
	maxSegment    = 16 << 20
	segmentsOfAll = 4 // at least as many segments make a function's size
	sweepEvery    = time.Minute
	complainEvery = 10 * time.Second
)

// Folder is where logs are in a state directory.
const Folder = "logs"

// Options configure a Store; Dir is needed.
type Options struct {
	Dir   string        // made when something is written
	Bytes int64         // of one function; 0: DefaultBytes
	Total int64         // of all functions; 0: DefaultTotal
	Age   time.Duration // of an entry; 0: DefaultAge
	Log   *slog.Logger  // nil: nowhere
	// Known reports whether a deployment is there; what is not goes. nil: everything is.
	Known func(Key) bool
	Now   func() time.Time // nil: time.Now
}

func (o *Options) fill() {
	if o.Bytes <= 0 {
		o.Bytes = DefaultBytes
	}
	o.Bytes = max(o.Bytes, MinBytes)
	if o.Total <= 0 {
		o.Total = DefaultTotal
	}
	if o.Age <= 0 {
		o.Age = DefaultAge
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Known == nil {
		o.Known = func(Key) bool { return true }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// Store keeps the logs of functions. One process may have a directory's.
type Store struct {
	o    Options
	wake chan struct{}
	done chan struct{}

	mu        sync.Mutex
	queues    map[Key]*queue
	turns     []*queue // that have entries, in the order in which they are written
	queued    int      // bytes
	followers map[Key][]*Follower
	following int
	closed    bool

	dropped, lost, written atomic.Uint64
	bytes                  atomic.Int64
}

// queue is what is to be written for a function.
type queue struct {
	key     Key
	entries []Entry
	bytes   int
	dropped uint64 // entries since the last that was put in
	waits   bool   // it is in turns
}

// Stats are a Store's counts since Open.
type Stats struct {
	Written uint64 `json:"written"` // entries
	Dropped uint64 `json:"dropped"` // entries for which the queue had no room
	Lost    uint64 `json:"lost"`    // entries that the disk did not take
	Bytes   int64  `json:"bytes"`   // on disk
}

// Open begins to keep logs.
func Open(o Options) *Store {
	o.fill()
	s := &Store{o: o, wake: make(chan struct{}, 1), done: make(chan struct{}), queues: map[Key]*queue{}, followers: map[Key][]*Follower{}}
	w := &writer{s: s, files: map[Key]*file{}}
	go w.run()
	return s
}

// Stats returns the counts.
func (s *Store) Stats() Stats {
	return Stats{s.written.Load(), s.dropped.Load(), s.lost.Load(), s.bytes.Load()}
}

// Add puts an entry into the queue, or drops it; it waits for nothing. What the entry
// refers to must not be changed any more.
func (s *Store) Add(k Key, e Entry) {
	if k.Function == "" {
		return // it would be a log of all
	}
	n := e.size()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		s.dropped.Add(1)
		return
	}
	q := s.queues[k]
	if q == nil {
		q = &queue{key: k}
		s.queues[k] = q
	}
	// A function may have as much of the queue as is free beside: one that floods leaves
	// room for the others.
	if q.bytes+n > maxQueued-s.queued {
		q.dropped++
		s.dropped.Add(1)
		if !q.waits && len(q.entries) == 0 {
			s.turn(q) // nothing else would say so
		}
		return
	}
	e.Dropped += q.dropped
	q.dropped = 0
	q.entries = append(q.entries, e)
	q.bytes += n
	s.queued += n
	s.turn(q)
}

// turn has a queue written. mu is held.
func (s *Store) turn(q *queue) {
	if !q.waits {
		q.waits = true
		s.turns = append(s.turns, q)
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// take takes entries of the function whose turn it is; none: there are none.
func (s *Store) take() (k Key, batch []Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.turns) > 0 {
		q := s.turns[0]
		s.turns = s.turns[1:]
		q.waits = false
		n, bytes := 0, 0
		for n < len(q.entries) && (n == 0 || bytes+q.entries[n].size() <= maxBatch) {
			bytes += q.entries[n].size()
			n++
		}
		batch = slices.Clone(q.entries[:n])
		clear(q.entries[:n]) // what is taken is not held
		q.entries = q.entries[n:]
		q.bytes -= bytes
		s.queued -= bytes
		switch {
		case len(q.entries) > 0:
			s.turn(q)
		case q.dropped > 0:
			batch = append(batch, Entry{Time: s.o.Now(), Kind: Dropped, Dropped: q.dropped, Note: "there was no room in the queue"})
			q.dropped = 0
			fallthrough
		default:
			delete(s.queues, q.key)
		}
		if len(batch) > 0 {
			return q.key, batch
		}
	}
	return k, nil
}

// writer is the goroutine that writes, and what only it uses.
type writer struct {
	s          *Store
	files      map[Key]*file
	clock      uint64
	unsaid     map[Key]uint64 // entries that the disk did not take, which the log does not say yet
	complained time.Time
}

func (w *writer) run() {
	defer close(w.s.done)
	w.unsaid = map[Key]uint64{}
	w.find()
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		for {
			k, batch := w.s.take()
			if batch == nil {
				break
			}
			w.write(k, batch)
		}
		w.s.mu.Lock()
		closed := w.s.closed
		w.s.mu.Unlock()
		if closed {
			break
		}
		select {
		case <-w.s.wake:
		case <-tick.C:
			w.sweep()
		}
	}
	for _, f := range w.files {
		f.close()
	}
}

// write appends a batch to its function's log and tells its followers.
func (w *writer) write(k Key, batch []Entry) {
	s, now := w.s, w.s.o.Now()
	f, err := w.file(k)
	if err == nil && !f.scanned {
		err = f.scan()
	}
	if err != nil {
		w.fail(k, batch, err)
		return
	}
	size := min(s.o.Bytes/segmentsOfAll, maxSegment)
	batch[0].Dropped += w.unsaid[k]
	var frames []byte
	for i := range batch {
		batch[i].Seq = f.number(now)
		payload, err := batch[i].encode(int(size) - len(segmentMagic) - frameHeader)
		if err != nil {
			w.fail(k, batch[i:i+1], err)
			continue
		}
		frame := len(payload) + frameHeader
		if len(frames) > 0 && len(frames)+frame > int(size)-len(segmentMagic) {
			if err := w.append(f, frames, size); err != nil {
				w.fail(k, batch[i:], err)
				return
			}
			frames = frames[:0]
		}
		frames = appendFrame(frames, payload)
	}
	if err := w.append(f, frames, size); err != nil {
		w.fail(k, batch, err)
		return
	}
	delete(w.unsaid, k)
	s.written.Add(uint64(len(batch)))
	s.tell(k, batch)
}

func (w *writer) append(f *file, frames []byte, size int64) error {
	if len(frames) == 0 {
		return nil
	}
	before := f.bytes
	err := f.append(frames, w.s.o.Now(), size, w.s.o.Age/8)
	for err == nil && f.bytes > w.s.o.Bytes && len(f.segments) > 1 {
		err = f.removeOldest()
	}
	if w.s.bytes.Add(f.bytes-before) > w.s.o.Total {
		w.shrink()
	}
	return err
}

// fail accounts for entries that were not written, and says so from time to time.
func (w *writer) fail(k Key, batch []Entry, err error) {
	w.s.lost.Add(uint64(len(batch)))
	w.unsaid[k] += uint64(len(batch))
	if len(w.unsaid) > maxUnsaid {
		clear(w.unsaid)
	}
	if now := w.s.o.Now(); now.Sub(w.complained) >= complainEvery {
		w.complained = now
		w.s.o.Log.Error("a function's log cannot be written: its entries are dropped, as are those of others until it can", "function", k.Function, "entries", len(batch), "error", err)
	}
}

// maxUnsaid bounds of how many functions it is remembered that entries were lost.
const maxUnsaid = 10_000

// file returns a function's log, and keeps the number of open ones in bounds.
func (w *writer) file(k Key) (*file, error) {
	f := w.files[k]
	if f == nil {
		var err error
		if f, err = openFile(w.s.o.Dir, k); err != nil {
			return nil, err
		}
		w.files[k] = f
	}
	w.clock++
	f.used = w.clock
	var oldest *file
	open := 0
	for _, other := range w.files {
		if other.open != nil && other != f {
			open++
			if oldest == nil || other.used < oldest.used {
				oldest = other
			}
		}
	}
	if open >= maxOpen {
		oldest.close()
	}
	return f, nil
}

// Close writes what is queued, for as long as the time allows, and ends all followers.
func (s *Store) Close(within time.Duration) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	followers := s.followers
	s.followers = map[Key][]*Follower{}
	s.mu.Unlock()
	for _, list := range followers {
		for _, f := range list {
			f.end(ErrClosed)
		}
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
	select {
	case <-s.done:
		return nil
	case <-time.After(within):
		return fmt.Errorf("logs in %s: %w", filepath.Base(s.o.Dir), errSlow)
	}
}

var errSlow = errors.New("not all that functions have printed is written: the disk is too slow")
