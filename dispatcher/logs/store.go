package logs

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
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

	mu          sync.Mutex
	queues      map[Key]*queue
	owners      map[string]*waiting
	turns       []*waiting // owners who have entries, in the order in which they are written
	queued      int        // bytes
	followers   map[Key][]*Follower
	following   int
	followersOf map[string]int // by owner
	closed      bool

	dropped, lost, written atomic.Uint64
	bytes                  atomic.Int64
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
	s := newStore(o)
	go newWriter(s).run()
	return s
}

// newStore makes a store that writes nothing by itself.
func newStore(o Options) *Store {
	o.fill()
	return &Store{o: o, wake: make(chan struct{}, 1), done: make(chan struct{}), queues: map[Key]*queue{}, owners: map[string]*waiting{}, followers: map[Key][]*Follower{}, followersOf: map[string]int{}}
}

// Stats returns the counts.
func (s *Store) Stats() Stats {
	return Stats{s.written.Load(), s.dropped.Load(), s.lost.Load(), s.bytes.Load()}
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
