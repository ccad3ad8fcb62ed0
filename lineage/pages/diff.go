package pages

import "iter"

// Diff yields the runs of pages (first, count) whose backing differs between a
// and b, ascending and maximal. Pages past the end of the smaller View count as
// zero. What the two Views share by structure is skipped without a look, so the
// cost follows the size of the difference, not of the guest.
//
// A page that Diff does not yield has the same content in both. A page that it
// yields may still have equal content, in two different blobs.
func Diff(a, b *View) iter.Seq2[uint64, uint64] {
	return func(yield func(first, count uint64) bool) { diff(a, b, yield) }
}

func diff(a, b *View, yield func(first, count uint64) bool) {
	end := max(a.pages, b.pages)
	out := diffRun{yield: yield}
	for page := uint64(0); page < end; {
		ta, tb := a.table(page/tablePages), b.table(page/tablePages)
		if ta == tb {
			page += tablePages - page%tablePages
			continue
		}
		ci := page / chunkPages % tableChunks
		ca, cb := chunkOf(ta, ci), chunkOf(tb, ci)
		if ca != cb && !diffChunk(ca.list(), cb.list(), page, &out) {
			return
		}
		page += chunkPages
	}
	out.flush()
}

// diffChunk walks two chunks that begin at page base side by side. It returns
// false when the consumer wants no more.
func diffChunk(a, b []segment, base uint64, out *diffRun) bool {
	for i, j, off := 0, 0, uint64(0); off < chunkPages; {
		endA, endB := segmentEnd(a, i), segmentEnd(b, j)
		next := min(endA, endB)
		// Modulo 2^32 the difference of two positions in one blob is the same
		// all along both segments.
		differs := a[i].blob != b[j].blob ||
			a[i].blob != nil && a[i].page-uint32(a[i].first) != b[j].page-uint32(b[j].first)
		if differs && !out.add(base+off, next-off) {
			return false
		}
		if endA == next {
			i++
		}
		if endB == next {
			j++
		}
		off = next
	}
	return true
}

// zeroSegments stands for a chunk that is missing.
var zeroSegments = []segment{{}}

func (c *chunk) list() []segment {
	if c == nil {
		return zeroSegments
	}
	return c.segments
}

func segmentEnd(s []segment, i int) uint64 {
	if i+1 < len(s) {
		return uint64(s[i+1].first)
	}
	return chunkPages
}

func chunkOf(t *table, i uint64) *chunk {
	if t == nil {
		return nil
	}
	return t[i]
}

// diffRun joins neighbouring runs before it yields them.
type diffRun struct {
	yield        func(first, count uint64) bool
	first, count uint64
}

func (d *diffRun) add(first, count uint64) bool {
	if d.count > 0 && d.first+d.count == first {
		d.count += count
		return true
	}
	ok := d.flush()
	d.first, d.count = first, count
	return ok
}

func (d *diffRun) flush() bool {
	return d.count == 0 || d.yield(d.first, d.count)
}
