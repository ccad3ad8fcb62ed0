package logs

import (
	"container/heap"

	"seuss/dispatcher/functions"
)

// rank knows what all logs take, and which of them goes first when that is too much: the
// largest of the owner whose logs take most.
type rank struct {
	owners byBytes[*ownerFiles]
	byName map[string]*ownerFiles
}

// ownerFiles are the logs of an owner that take anything.
type ownerFiles struct {
	name  string
	files byBytes[*file]
	standing
}

// standing is what something takes, and its place in a heap.
type standing struct {
	ranked int64 // bytes
	at     int   // in the heap, if ranked is not 0
}

func (s *standing) stands() *standing { return s }

// byBytes is a heap with what takes most before the others.
type byBytes[T interface{ stands() *standing }] []T

func (h byBytes[T]) Len() int           { return len(h) }
func (h byBytes[T]) Less(i, j int) bool { return h[i].stands().ranked > h[j].stands().ranked }
func (h byBytes[T]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].stands().at, h[j].stands().at = i, j
}

// Push and Pop are heap's.
func (h *byBytes[T]) Push(x any) {
	x.(T).stands().at = len(*h)
	*h = append(*h, x.(T))
}

func (h *byBytes[T]) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	clear((*h)[last:])
	*h = (*h)[:last]
	return x
}

// place puts x, which has taken s.ranked bytes, where it stands with bytes.
func place[T interface{ stands() *standing }](h *byBytes[T], x T, bytes int64) {
	s := x.stands()
	was := s.ranked
	s.ranked = bytes
	switch {
	case was == bytes:
	case was == 0:
		heap.Push(h, x)
	case bytes == 0:
		heap.Remove(h, s.at)
	default:
		heap.Fix(h, s.at)
	}
}

// count brings what is known of a log up to date, and returns by how much more it takes.
func (r *rank) count(f *file) (more int64) {
	more = f.bytes - f.ranked
	if more == 0 {
		return 0
	}
	name := functions.OwnerOf(f.key.Function)
	o := r.byName[name]
	if o == nil {
		o = &ownerFiles{name: name}
		r.byName[name] = o
	}
	place(&o.files, f, f.bytes)
	place(&r.owners, o, o.ranked+more)
	if len(o.files) == 0 {
		delete(r.byName, name)
	}
	return more
}

// first returns the log that goes first, nil if none takes anything.
func (r *rank) first() *file {
	if len(r.owners) == 0 {
		return nil
	}
	return r.owners[0].files[0]
}
