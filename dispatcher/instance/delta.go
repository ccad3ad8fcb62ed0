package instance

import (
	"bytes"
	"fmt"
	"slices"
	"sync"

	"github.com/klauspost/compress/s2"

	"seuss/dirtytrack"
	"seuss/guest"
	"seuss/lineage"
	"seuss/lineage/nodefile"
)

// delta is what a machine's memory shows that a view does not: a node's pages, unsealed and
// in memory, of each the words that differ. They are packed when it is squeezed, so that
// nobody waits for that.
type delta struct {
	view  *lineage.View
	zeros []uint32 // pages that are zeros now
	pages []uint32 // the others, ascending
	parts []part   // of pages, in order; copies share them, and what they have
}

// part is so many of a delta's pages as differences.
type part struct {
	pages  int
	masks  int // bytes of the masks, which come first, unpacked
	length int // bytes unpacked
	packed bool
	data   []byte
}

// partPages bounds the pages of a part: what is unpacked at a time.
const partPages = 1024

// gather takes what differs from view of candidates. collect must have been called, and the
// guest be at rest.
func (p *memoryPlan) gather(view *lineage.View, candidates *dirtytrack.PageSet) (*delta, error) {
	d := &delta{view: view}
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	s.reset()
	zeros, pages := s.zeros[:0], s.pages[:0]
	for page := range candidates.All() {
		if err := view.Check(page, 1); err != nil {
			return nil, err
		}
		now, old := p.content(page), nodefile.OrZero(view.Bytes(page))
		switch {
		case bytes.Equal(now, old):
			continue
		case guest.IsZero(now):
			zeros = append(zeros, uint32(page))
			continue
		}
		pages = append(pages, uint32(page))
		s.masks, s.words = nodefile.AppendDifferences(s.masks, s.words, old, now)
		if s.count++; s.count == partPages {
			d.parts = append(d.parts, s.part())
		}
	}
	if s.count > 0 {
		d.parts = append(d.parts, s.part())
	}
	s.zeros, s.pages = zeros, pages
	d.zeros, d.pages = slices.Clone(zeros), slices.Clone(pages)
	return d, nil
}

// scratch is memory that gather and squeeze use again: what is new costs a fault for each page,
// as much as copying it.
type scratch struct {
	zeros, pages []uint32
	masks, words []byte // of count pages
	count        int
	packed       []byte
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

func (s *scratch) reset() { s.masks, s.words, s.count = s.masks[:0], s.words[:0], 0 }

// part makes one of what is there.
func (s *scratch) part() part {
	p := part{pages: s.count, masks: len(s.masks), length: len(s.masks) + len(s.words)}
	p.data = make([]byte, 0, p.length)
	p.data = append(append(p.data, s.masks...), s.words...)
	s.reset()
	return p
}

// content is what a page holds: a private one is in the window, where no system call is
// needed to look at it.
func (p *memoryPlan) content(page uint64) []byte {
	if p.private.Has(page) {
		return pageOf(p.mem.Bytes(), page)
	}
	return p.mem.Page(page)
}

// bytes is how much memory the delta takes.
func (d *delta) bytes() uint64 {
	n := 4 * (cap(d.zeros) + cap(d.pages))
	for i := range d.parts {
		n += cap(d.parts[i].data)
	}
	return uint64(n)
}

// squeeze packs what is not packed.
func (d *delta) squeeze() {
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	parts := slices.Clone(d.parts)
	for i := range parts {
		if p := &parts[i]; !p.packed {
			if n := s2.MaxEncodedLen(len(p.data)); cap(s.packed) < n {
				s.packed = make([]byte, n)
			}
			p.data, p.packed = bytes.Clone(s2.Encode(s.packed[:cap(s.packed)], p.data)), true
		}
	}
	d.parts = parts
}

// put calls each with the content of each page, in order.
func (d *delta) put(each func(page uint64) []byte) error {
	for _, page := range d.zeros {
		clear(each(uint64(page)))
	}
	pages := d.pages
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	for _, part := range d.parts {
		raw := part.data
		if part.packed {
			var err error
			if raw, err = s2.Decode(s.packed[:cap(s.packed)], part.data); err != nil || len(raw) != part.length {
				return fmt.Errorf("%d bytes of a parked instance are %d unpacked, not %d: %w", len(part.data), len(raw), part.length, err)
			}
			s.packed = raw
		}
		masks, words := raw[:part.masks], raw[part.masks:]
		for _, page := range pages[:part.pages] {
			content := each(uint64(page))
			if err := d.view.CopyPage(content, uint64(page)); err != nil {
				return err
			}
			masks, words = nodefile.ApplyDifferences(content, masks, words)
		}
		pages = pages[part.pages:]
	}
	return nil
}

// memory is what it shows, of a guest whose node it differs from.
func (d *delta) memory(of *lineage.Node) (lineage.Memory, error) {
	own := make(map[uint64][]byte, len(d.zeros)+len(d.pages))
	err := d.put(func(page uint64) []byte {
		own[page] = make([]byte, lineage.PageSize)
		return own[page]
	})
	return lineage.Memory{Node: of, View: d.view, Own: own}, err
}

// place makes memory, which shows the delta's view, show the delta.
func (p *memoryPlan) place(d *delta) error {
	set, fresh := p.small, p.fresh
	set.Clear()
	fresh.Clear()
	for _, pages := range [][]uint32{d.zeros, d.pages} {
		for _, page := range pages {
			set.Add(uint64(page))
			if !p.private.Has(uint64(page)) {
				fresh.Add(uint64(page))
			}
		}
	}
	p.access.Note(p.mem, set, nil)
	if err := p.mem.Populate(fresh.Runs()); err != nil {
		return fmt.Errorf("populate pages of a parked instance: %w", err)
	}
	p.private.Union(set)
	ram := p.mem.Bytes()
	if err := d.put(func(page uint64) []byte { return pageOf(ram, page) }); err != nil {
		return err
	}
	return p.mem.Revoke(&p.access)
}
