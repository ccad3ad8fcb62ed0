package sched

import stdheap "container/heap"

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
