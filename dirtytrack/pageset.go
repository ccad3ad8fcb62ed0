package dirtytrack

import (
	"fmt"
	"iter"
	"math/bits"
	"slices"
)

// PageSet is a set of page numbers in [0, Cap()), kept as a bitmap: one bit a
// page, 64 KiB for 2 GiB of guest memory. Adding, removing, clearing and
// iterating allocate nothing. The zero PageSet has capacity 0.
//
// Adding a page at or above Cap panics: page numbers from outside are checked
// by whoever takes them in.
type PageSet struct {
	words []uint64
	pages uint64
	count uint64
}

// NewPageSet returns an empty set that can hold the pages [0, pages).
func NewPageSet(pages uint64) *PageSet {
	return &PageSet{words: make([]uint64, (pages+63)/64), pages: pages}
}

// Cap returns the number of pages the set can hold.
func (s *PageSet) Cap() uint64 { return s.pages }

// Len returns the number of pages in the set.
func (s *PageSet) Len() uint64 { return s.count }

// Add puts page into the set. It panics if page is not below Cap.
func (s *PageSet) Add(page uint64) {
	if page >= s.pages {
		panicRange(page, 1, s.pages)
	}
	w, bit := &s.words[page/64], uint64(1)<<(page%64)
	if *w&bit == 0 {
		*w |= bit
		s.count++
	}
}

// AddRange puts the count pages from first on into the set. It panics if one
// of them is not below Cap.
func (s *PageSet) AddRange(first, count uint64) {
	if first > s.pages || count > s.pages-first {
		panicRange(first, count, s.pages)
	}
	for count > 0 {
		n := min(64-first%64, count)
		mask := ^uint64(0) >> (64 - n) << (first % 64)
		w := &s.words[first/64]
		s.count += uint64(bits.OnesCount64(mask &^ *w))
		*w |= mask
		first += n
		count -= n
	}
}

// Has reports whether page is in the set. A page at or above Cap never is.
func (s *PageSet) Has(page uint64) bool {
	return page < s.pages && s.words[page/64]&(1<<(page%64)) != 0
}

// Remove takes page out of the set if it is there.
func (s *PageSet) Remove(page uint64) {
	if s.Has(page) {
		s.words[page/64] &^= 1 << (page % 64)
		s.count--
	}
}

// RemoveRange takes the count pages from first on out of the set, those that are
// there. It panics if one of them is not below Cap.
func (s *PageSet) RemoveRange(first, count uint64) {
	if first > s.pages || count > s.pages-first {
		panicRange(first, count, s.pages)
	}
	for count > 0 {
		n := min(64-first%64, count)
		mask := ^uint64(0) >> (64 - n) << (first % 64)
		w := &s.words[first/64]
		s.count -= uint64(bits.OnesCount64(mask & *w))
		*w &^= mask
		first += n
		count -= n
	}
}

// Clear empties the set and keeps its capacity.
func (s *PageSet) Clear() {
	clear(s.words)
	s.count = 0
}

// Union adds every page of other. It panics if other holds a page that is not
// below Cap.
func (s *PageSet) Union(other *PageSet) {
	for i, w := range other.words {
		if w == 0 {
			continue
		}
		if last := uint64(i)*64 + 63 - uint64(bits.LeadingZeros64(w)); last >= s.pages {
			panicRange(last, 1, s.pages)
		}
		s.count += uint64(bits.OnesCount64(w &^ s.words[i]))
		s.words[i] |= w
	}
}

// Clone returns an independent copy.
func (s *PageSet) Clone() *PageSet {
	return &PageSet{words: slices.Clone(s.words), pages: s.pages, count: s.count}
}

// All yields the pages of the set in ascending order. During the iteration
// pages already yielded may be removed; no other change is allowed.
func (s *PageSet) All() iter.Seq[uint64] {
	return func(yield func(uint64) bool) { s.each(yield) }
}

func (s *PageSet) each(yield func(uint64) bool) {
	for i, w := range s.words {
		for ; w != 0; w &= w - 1 {
			if !yield(uint64(i)*64 + uint64(bits.TrailingZeros64(w))) {
				return
			}
		}
	}
}

// From yields the pages of the set from page on in ascending order. No change is
// allowed during the iteration.
func (s *PageSet) From(page uint64) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for page = s.next(page, 0); page < s.pages && yield(page); page = s.next(page+1, 0) {
		}
	}
}

// Runs yields the maximal runs of consecutive pages (first page, page count)
// in ascending order. The rule for changes is that of All.
func (s *PageSet) Runs() iter.Seq2[uint64, uint64] {
	return func(yield func(first, count uint64) bool) { s.eachRun(yield) }
}

func (s *PageSet) eachRun(yield func(first, count uint64) bool) {
	for page := s.next(0, 0); page < s.pages; {
		end := s.next(page, ^uint64(0))
		if !yield(page, end-page) {
			return
		}
		page = s.next(end, 0)
	}
}

// next returns the first page at or after page whose bit differs from the bits
// of flip (0 looks for a member, all ones for a gap), or Cap if there is none.
func (s *PageSet) next(page, flip uint64) uint64 {
	if page >= s.pages {
		return s.pages
	}
	i := page / 64
	w := (s.words[i] ^ flip) >> (page % 64) << (page % 64)
	for w == 0 {
		if i++; i == uint64(len(s.words)) {
			return s.pages
		}
		w = s.words[i] ^ flip
	}
	return min(i*64+uint64(bits.TrailingZeros64(w)), s.pages)
}

func panicRange(first, count, pages uint64) {
	panic(fmt.Sprintf("dirtytrack: pages %d+%d outside a set of %d pages", first, count, pages))
}
