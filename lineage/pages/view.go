package pages

import (
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"strings"

	"seuss/lineage/nodefile"
)

// Shape of the tree behind a View: the root lists tables of 64 chunks, a chunk
// resolves 512 pages (2 MiB, one x86-64 large page). A node with a small delta
// copies the root (16 words for a 2 GiB guest) and what it touches below.
const (
	chunkPages  = 512
	tableChunks = 64
	tablePages  = tableChunks * chunkPages
)

// Run says where consecutive guest pages have their content: guest page
// First+i is page Page+i of Blob, for i < Count. A nil Blob means zero pages.
type Run struct {
	First, Count uint64
	Blob         *Blob
	Page         uint64
}

// View maps every page of a guest to a page of a blob or to zero. It is
// immutable; a View made by With shares with its origin all that it did not
// change. Resolving a page costs the same however many deltas lie behind it.
//
// Page arguments must be below Pages; the methods panic otherwise.
type View struct {
	pages  uint64
	tables []*table
	name   string // of whose memory it is, for messages; may be empty
}

// A nil table or chunk is all zero, and an all-zero one is always nil, so that
// equal pointers are a quick test for "nothing differs here".
type table [tableChunks]*chunk

// chunk lists segments by ascending first page; the first begins at 0, and each
// extends to the next one. Neighbours that could be one segment are one.
type chunk struct{ segments []segment }

// segment is 16 bytes, because a fragmented chunk has hundreds of them.
type segment struct {
	blob  *Blob
	page  uint32
	first uint16
}

// NewView returns a View of pages zero pages. It panics above 1 TiB of pages.
func NewView(pages uint64) *View {
	if pages > nodefile.MaxGuestPages {
		panic(fmt.Sprintf("lineage: view of %d pages, at most %d", pages, uint64(nodefile.MaxGuestPages)))
	}
	return &View{pages: pages, tables: make([]*table, (pages+tablePages-1)/tablePages)}
}

// Pages returns the number of guest pages.
func (v *View) Pages() uint64 { return v.pages }

// Bytes returns the PageSize bytes of a guest page, nil for a zero page. The
// memory is read-only and valid while the View is reachable.
func (v *View) Bytes(page uint64) []byte {
	v.check(page, 1)
	blob, at, _ := v.span(page)
	if blob == nil {
		return nil
	}
	return blob.Bytes(at)
}

// CopyPage writes the content of a guest page to dst, of PageSize bytes, and checks it
// before, as Check does. That a page is copied is no reason to expand its node.
func (v *View) CopyPage(dst []byte, page uint64) error {
	v.check(page, 1)
	blob, at, _ := v.span(page)
	if blob == nil {
		clear(dst[:nodefile.PageSize])
		return nil
	}
	if !blob.Filled(at, 1) {
		if err := v.Check(page, 1); err != nil { // which names the guest's page
			return err
		}
	}
	blob.copyPage(dst[:nodefile.PageSize], at)
	runtime.KeepAlive(v)
	return nil
}

// Check compares the count pages from first on with their checksums, as far as
// that was not done before: see Blob.Check. A machine must not run on pages of a
// Store that was opened with VerifyLazy before they were checked.
func (v *View) Check(first, count uint64) error {
	v.check(first, count)
	for page := first; page < first+count; {
		blob, at, n := v.span(page)
		n = min(n, first+count-page)
		if blob != nil {
			if err := blob.Check(at, n); err != nil {
				if bad := (*PageError)(nil); errors.As(err, &bad) {
					bad.Guest = fmt.Sprintf("guest page %#x", page+bad.Page-at)
					if v.name != "" && !strings.Contains(bad.Where, v.name) { // of an ancestor's or a sibling's file
						bad.Where += ", which node " + v.name + " shows"
					}
				}
				return err
			}
		}
		page += n
	}
	return nil
}

// Lookup returns the backing of page and of as many pages after it as the View
// records together with it; Runs gives maximal runs.
func (v *View) Lookup(page uint64) Run {
	v.check(page, 1)
	blob, at, n := v.span(page)
	return Run{First: page, Count: min(n, v.pages-page), Blob: blob, Page: at}
}

// Runs yields the backing of the count pages from first on as maximal runs in
// ascending order, clipped to that range.
func (v *View) Runs(first, count uint64) iter.Seq[Run] {
	v.check(first, count)
	return func(yield func(Run) bool) { v.eachRun(first, first+count, yield) }
}

func (v *View) eachRun(page, end uint64, yield func(Run) bool) {
	var cur Run
	for page < end {
		blob, at, n := v.span(page)
		n = min(n, end-page)
		if cur.Count > 0 && cur.Blob == blob && (blob == nil || cur.Page+cur.Count == at) {
			cur.Count += n
		} else {
			if cur.Count > 0 && !yield(cur) {
				return
			}
			cur = Run{First: page, Count: n, Blob: blob, Page: at}
		}
		page += n
	}
	if cur.Count > 0 {
		yield(cur)
	}
}

// Backed counts the pages that a blob holds.
func (v *View) Backed() (n uint64) {
	for r := range v.Runs(0, v.pages) {
		if r.Blob != nil {
			n += r.Count
		}
	}
	return n
}

// span resolves page and tells for how many pages that backing continues within
// the chunk (or the table, where that is missing). Pages past the end are zero.
func (v *View) span(page uint64) (blob *Blob, at, count uint64) {
	t := v.table(page / tablePages)
	if t == nil {
		return nil, 0, tablePages - page%tablePages
	}
	off := page % chunkPages
	c := t[page/chunkPages%tableChunks]
	if c == nil {
		return nil, 0, chunkPages - off
	}
	lo, hi := 0, len(c.segments) // the last segment that begins at or before off
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; uint64(c.segments[mid].first) <= off {
			lo = mid
		} else {
			hi = mid
		}
	}
	end := uint64(chunkPages)
	if hi < len(c.segments) {
		end = uint64(c.segments[hi].first)
	}
	s := c.segments[lo]
	if s.blob == nil {
		return nil, 0, end - off
	}
	return s.blob, uint64(s.page) + off - uint64(s.first), end - off
}

func (v *View) table(i uint64) *table {
	if i < uint64(len(v.tables)) {
		return v.tables[i]
	}
	return nil
}

func (v *View) check(first, count uint64) {
	if first > v.pages || count > v.pages-first {
		panic(fmt.Sprintf("lineage: pages %d+%d outside a view of %d pages", first, count, v.pages))
	}
}

// Named returns the View with a name for messages: that of a node, whose memory it is.
func (v *View) Named(name string) *View {
	return &View{pages: v.pages, tables: v.tables, name: name}
}

// With returns a View in which the pages of runs have the given backing and all
// others that of v. Where runs overlap, the later one holds; ascending order is
// fastest. It panics if a run lies outside the View or outside its Blob.
func (v *View) With(runs []Run) *View {
	for _, r := range runs {
		v.check(r.First, r.Count)
		if r.Blob != nil && (r.Page > r.Blob.pages || r.Count > r.Blob.pages-r.Page) {
			panic(fmt.Sprintf("lineage: run of pages %d+%d outside blob %s of %d pages", r.Page, r.Count, r.Blob.name, r.Blob.pages))
		}
	}
	e := editor{base: v, view: &View{pages: v.pages, tables: slices.Clone(v.tables)}}
	for i := 0; i < len(runs); {
		i += e.merge(runs[i:])
	}
	e.close()
	return e.view
}

// editor changes one chunk at a time. A chunk that is changed in ascending order, as
// by a delta, is merged segment by segment; else it is opened in an expanded form, one
// entry a page.
type editor struct {
	base, view *View
	chunk      uint64
	isOpen     bool
	merged     []segment
	entries    []entry // chunkPages of them, or nil
}

type entry struct {
	blob *Blob
	page uint32
}

// merge puts the first of runs in place, with those after it that lie behind it in
// the same chunk, and returns how many.
func (e *editor) merge(runs []Run) int {
	first := runs[0]
	if first.Count == 0 {
		return 1
	}
	chunk := first.First / chunkPages
	if first.First%chunkPages+first.Count > chunkPages || e.isOpen && e.chunk == chunk {
		e.scatter(first)
		return 1
	}
	e.close()
	end := (chunk + 1) * chunkPages
	n, next := 0, first.First
	for ; n < len(runs) && runs[n].First >= next && runs[n].First+runs[n].Count <= end; n++ {
		next = runs[n].First + runs[n].Count
	}
	// Both lists ascend: one pass over each.
	old := e.view.chunkAt(chunk)
	out, at, i := e.merged[:0], uint64(0), 0
	for k := 0; k <= n; k++ {
		to := uint64(chunkPages) // where the next run begins
		if k < n {
			to = runs[k].First % chunkPages
			if runs[k].Count == 0 {
				continue
			}
		}
		if at < to { // what stays
			for i+1 < len(old) && uint64(old[i+1].first) <= at {
				i++
			}
			s := old[i]
			if s.blob != nil {
				s.page += uint32(at) - uint32(s.first)
			}
			s.first = uint16(at)
			out = pushSegment(out, s)
			whole := i + 1
			for i+1 < len(old) && uint64(old[i+1].first) < to {
				i++
			}
			out = append(out, old[whole:i+1]...)
		}
		if k < n {
			s := segment{blob: runs[k].Blob, first: uint16(to)}
			if s.blob != nil {
				s.page = uint32(runs[k].Page)
			}
			out = pushSegment(out, s)
			at = to + runs[k].Count
		}
	}
	e.merged = out
	e.hang(chunk, out)
	return n
}

// chunkAt returns the segments of a chunk.
func (v *View) chunkAt(n uint64) []segment {
	if t := v.table(n / tableChunks); t != nil && t[n%tableChunks] != nil {
		return t[n%tableChunks].segments
	}
	return zeroSegments
}

// pushSegment adds a segment, unless it goes on with the last one.
func pushSegment(list []segment, s segment) []segment {
	if n := len(list); n > 0 {
		last := &list[n-1]
		if last.blob == s.blob && (s.blob == nil || last.page+uint32(s.first-last.first) == s.page) {
			return list
		}
	}
	return append(list, s)
}

// scatter puts one run in place, whatever order it comes in.
func (e *editor) scatter(r Run) {
	for done := uint64(0); done < r.Count; {
		page := r.First + done
		n := min(chunkPages-page%chunkPages, r.Count-done)
		e.open(page / chunkPages)
		e.set(page%chunkPages, n, r.Blob, r.Page+done)
		done += n
	}
}

func (e *editor) open(chunk uint64) {
	if e.isOpen && e.chunk == chunk {
		return
	}
	e.close()
	if e.entries == nil {
		e.entries = make([]entry, chunkPages)
	}
	e.chunk, e.isOpen = chunk, true
	for off := uint64(0); off < chunkPages; {
		blob, at, n := e.view.span(chunk*chunkPages + off)
		n = min(n, chunkPages-off)
		e.set(off, n, blob, at)
		off += n
	}
}

func (e *editor) set(off, n uint64, blob *Blob, at uint64) {
	for i := range n {
		entry := &e.entries[off+i]
		entry.blob, entry.page = blob, 0
		if blob != nil {
			entry.page = uint32(at + i)
		}
	}
}

// close packs the open chunk.
func (e *editor) close() {
	if !e.isOpen {
		return
	}
	e.isOpen = false
	e.merged = e.merged[:0]
	for i, entry := range e.entries {
		e.merged = pushSegment(e.merged, segment{blob: entry.blob, page: entry.page, first: uint16(i)})
	}
	e.hang(e.chunk, e.merged)
}

// hang puts a chunk into the view, unless it is as before.
func (e *editor) hang(chunkNumber uint64, segments []segment) {
	var packed *chunk
	if len(segments) > 1 || segments[0].blob != nil {
		packed = &chunk{segments: segments}
	}
	ti, ci := chunkNumber/tableChunks, chunkNumber%tableChunks
	old := e.view.tables[ti]
	switch {
	case old == nil && packed == nil:
		return
	case old != nil && old[ci] != nil && packed != nil && slices.Equal(old[ci].segments, packed.segments):
		return
	case old != nil && old[ci] == packed:
		return
	}
	if packed != nil {
		packed.segments = slices.Clone(segments) // they are the editor's
	}
	if old == nil || old == e.base.tables[ti] { // still shared with the origin
		t := &table{}
		if old != nil {
			*t = *old
		}
		old = t
		e.view.tables[ti] = t
	}
	old[ci] = packed
	if *old == (table{}) {
		e.view.tables[ti] = nil
	}
}
