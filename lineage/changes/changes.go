// Package changes lets a cache follow a store without a lock and without being told:
// it asks whether anything under a key has changed since it read.
//
//	g := feed.Now()                // before reading
//	value := read(key)
//	...
//	if feed.Since(key, g) {        // may be out of date: read again
//
// A Feed takes the same room however many keys there are: keys that share a counter
// are told of each other's changes, which costs a cache a read and nothing else. No
// change goes untold: whoever changes the store calls Changed after the change can be
// read, and before it reports success.
//
// All methods may be called concurrently. None blocks or takes a lock, and asking
// allocates nothing.
package changes

import (
	"hash/maphash"
	"sync/atomic"
)

// counters is how many keys are told apart at most: 32 KiB of them. A change of one key
// is taken for one of another in 1 of so many cases.
const counters = 4096

// Generation is a point in the history of a store. 0 is before all changes.
type Generation uint64

// Feed tells what has changed. The zero value is ready.
type Feed struct {
	now     atomic.Uint64
	all     atomic.Uint64 // generation of the last change of every key
	changed [counters]atomic.Uint64
	next    atomic.Pointer[chan struct{}] // closed at the next change; nil: nobody waits
}

var seed = maphash.MakeSeed()

func (f *Feed) counter(key string) *atomic.Uint64 {
	return &f.changed[maphash.String(seed, key)%counters]
}

// Now returns the present generation. Take it before reading what is to be cached.
func (f *Feed) Now() Generation { return Generation(f.now.Load()) }

// Since reports whether anything under key may have changed after a generation.
func (f *Feed) Since(key string, g Generation) bool {
	return f.now.Load() != uint64(g) && max(f.counter(key).Load(), f.all.Load()) > uint64(g)
}

// Any reports whether anything at all has changed after a generation.
func (f *Feed) Any(g Generation) bool { return f.now.Load() != uint64(g) }

// Wait returns a channel that is closed at the next change of anything. Take it before
// reading, then read, then wait: no change is missed.
func (f *Feed) Wait() <-chan struct{} {
	for {
		if c := f.next.Load(); c != nil {
			return *c
		}
		c := make(chan struct{})
		if f.next.CompareAndSwap(nil, &c) {
			return c
		}
	}
}

// Changed says that what is under key has changed. Whoever changes a store calls it
// when the change can be read.
func (f *Feed) Changed(key string) { f.change(f.counter(key)) }

// ChangedAll says that what is under every key may have changed.
func (f *Feed) ChangedAll() { f.change(&f.all) }

func (f *Feed) change(counter *atomic.Uint64) {
	g := f.now.Add(1)
	for old := counter.Load(); old < g && !counter.CompareAndSwap(old, g); old = counter.Load() {
	}
	if c := f.next.Swap(nil); c != nil {
		close(*c)
	}
}
