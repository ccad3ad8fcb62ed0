package sched

import (
	stdheap "container/heap"
	"strings"
)

// owner is what is known about who has functions: those whose names begin with his and a
// slash, or have none. With one owner all is as if there were none.
type owner struct {
	name      string
	functions int                    // that are known
	waiting   int                    // requests
	queued    map[*function]struct{} // functions with waiters
	ready     heap                   // those with waiters and below their limit
	virtual   float64                // start tag of the last of its requests that began
	pace      pace
	tag       float64 // what it has had
	at        int     // place in the heap of owners, -1 if it is not there
}

// owner finds or makes what is known of a function's owner. mu is held.
func (s *Scheduler) owner(key string) *owner {
	name, _, owned := strings.Cut(key, "/")
	if !owned {
		name = ""
	}
	o := s.owners[name]
	if o == nil {
		o = &owner{name: name, queued: map[*function]struct{}{}, tag: s.virtual, at: -1}
		s.owners[name] = o
	}
	return o
}

// heap orders functions by the start tag of their oldest waiter, ties by name so
// that the order is the same every time.
type heap []*function

func (h heap) Len() int { return len(h) }

func (h heap) Less(i, j int) bool {
	a, b := h[i].queue[0].start, h[j].queue[0].start
	if a != b {
		return a < b
	}
	return h[i].name < h[j].name
}

func (h heap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push and Pop are container/heap's.
func (h *heap) Push(x any) {
	f := x.(*function)
	f.at = len(*h)
	*h = append(*h, f)
}

func (h *heap) Pop() any {
	old := *h
	f := old[len(old)-1]
	*h = old[:len(old)-1]
	f.at = -1
	return f
}

// place makes f be in the heap, at its right place, or not.
func (h *heap) place(f *function, in bool) {
	switch {
	case in && f.at < 0:
		stdheap.Push(h, f)
	case in:
		stdheap.Fix(h, f.at)
	case f.at >= 0:
		// Its queue may be empty, so it cannot be compared: what is last takes its
		// place.
		at, last := f.at, len(*h)-1
		h.Swap(at, last)
		*h = (*h)[:last]
		f.at = -1
		if at < last {
			stdheap.Fix(h, at)
		}
	}
}

// owners orders owners by what they have had, ties by name.
type owners []*owner

func (h owners) Len() int { return len(h) }

func (h owners) Less(i, j int) bool {
	if h[i].tag != h[j].tag {
		return h[i].tag < h[j].tag
	}
	return h[i].name < h[j].name
}

func (h owners) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push and Pop are container/heap's.
func (h *owners) Push(x any) {
	o := x.(*owner)
	o.at = len(*h)
	*h = append(*h, o)
}

func (h *owners) Pop() any {
	old := *h
	o := old[len(old)-1]
	*h = old[:len(old)-1]
	o.at = -1
	return o
}

// place makes o be in the heap, at its right place, or not.
func (h *owners) place(o *owner, in bool) {
	switch {
	case in && o.at < 0:
		stdheap.Push(h, o)
	case in:
		stdheap.Fix(h, o.at)
	case o.at >= 0:
		stdheap.Remove(h, o.at)
	}
}
