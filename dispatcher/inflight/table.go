package inflight

import (
	"iter"
	"math/bits"
	"sync/atomic"
)

// Table holds pointers to what is under way. Its zero value is empty. It has as many
// slots as there were ever entries at a time, 24 bytes each.
type Table[T any] struct {
	// free is the list of slots that somebody has left: the number of the first, plus one,
	// in the lower half; in the upper one how often the list has changed, so that nobody
	// takes it for unchanged because the same slot has come back.
	free   atomic.Uint64
	used   atomic.Uint32 // slots that ever had an entry
	chunks [maxChunks]atomic.Pointer[[]slot[T]]
}

type slot[T any] struct {
	entry atomic.Pointer[T]
	next  atomic.Uint32 // on the list of the free: as in Table.free
}

// Chunk n has firstChunk << n slots: together more than there can be requests.
const (
	firstShift = 6
	firstChunk = 1 << firstShift
	maxChunks  = 26
)

// Add enters p and returns the number by which it is removed.
func (t *Table[T]) Add(p *T) (number uint32) {
	for {
		head := t.free.Load()
		if uint32(head) == 0 {
			number = t.used.Add(1) - 1
			t.slot(number).entry.Store(p)
			return number
		}
		number = uint32(head) - 1
		s := t.slot(number)
		if t.free.CompareAndSwap(head, changed(head)|uint64(s.next.Load())) {
			s.entry.Store(p)
			return number
		}
	}
}

// Remove gives the slot back. It must be called once for each Add.
func (t *Table[T]) Remove(number uint32) {
	s := t.slot(number)
	s.entry.Store(nil)
	for {
		head := t.free.Load()
		s.next.Store(uint32(head))
		if t.free.CompareAndSwap(head, changed(head)|uint64(number+1)) {
			return
		}
	}
}

// changed is the upper half of Table.free after a change.
func changed(head uint64) uint64 { return (head>>32 + 1) << 32 }

// slot finds a slot, and makes its chunk if it is the first there.
func (t *Table[T]) slot(number uint32) *slot[T] {
	at := uint64(number) + firstChunk
	n := bits.Len64(at) - 1 - firstShift
	chunk := t.chunks[n].Load()
	if chunk == nil {
		made := make([]slot[T], firstChunk<<n)
		if !t.chunks[n].CompareAndSwap(nil, &made) {
			return t.slot(number)
		}
		chunk = &made
	}
	return &(*chunk)[at-firstChunk<<n]
}

// All walks over the entries, in no order.
func (t *Table[T]) All() iter.Seq[*T] {
	return func(yield func(*T) bool) {
		left := int(t.used.Load())
		for n := range t.chunks {
			chunk := t.chunks[n].Load()
			if left <= 0 {
				return
			}
			size := firstChunk << n
			if chunk != nil { // else it is being made
				for i := range (*chunk)[:min(left, size)] {
					if p := (*chunk)[i].entry.Load(); p != nil && !yield(p) {
						return
					}
				}
			}
			left -= size
		}
	}
}
