package instance

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/klauspost/compress/s2"

	"seuss/guest"
	"seuss/lineage"
	"seuss/lineage/nodefile"
)

// delta is what a machine's memory shows that a view does not: a node's pages, unsealed and
// in memory. First they are whole, so that nobody waits for it to be made; squeezed it has
// only the words that differ.
type delta struct {
	view  *lineage.View
	zeros []uint32 // pages that are zeros now
	pages []uint32 // the others, ascending
	whole []byte   // their content; nil once it is squeezed
	parts []part   // of pages, in order, then

	shared bool // others may have the same content
}

// part is so many of a delta's pages as differences.
type part struct {
	pages  int
	masks  int // bytes of the masks, which come first, unpacked
	length int // bytes unpacked
	packed []byte
}

// partPages bounds the pages of a part: what is unpacked at a time.
const partPages = 1024

// compare finds what differs from view, which copyTo copies. collect must have been called, and
// the guest be at rest.
func (p *memoryPlan) compare(view *lineage.View) (*delta, error) {
	candidates, err := p.candidates(view)
	if err != nil {
		return nil, err
	}
	d := &delta{view: view}
	for page := range candidates.All() {
		if err := view.Check(page, 1); err != nil {
			return nil, err
		}
		now := p.content(page)
		switch {
		case bytes.Equal(now, nodefile.OrZero(view.Bytes(page))):
		case guest.IsZero(now):
			d.zeros = append(d.zeros, uint32(page))
		default:
			d.pages = append(d.pages, uint32(page))
		}
	}
	return d, nil
}

// copyTo copies the pages that differ.
func (p *memoryPlan) copyTo(d *delta) {
	d.whole = takeBuffer(len(d.pages) * lineage.PageSize)
	for _, page := range d.pages {
		d.whole = append(d.whole, p.content(uint64(page))...)
	}
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
	n := 4*(cap(d.zeros)+cap(d.pages)) + cap(d.whole)
	for i := range d.parts {
		n += cap(d.parts[i].packed)
	}
	return uint64(n)
}

// squeeze keeps only what differs of each page.
func (d *delta) squeeze() error {
	if d.whole == nil {
		return nil
	}
	var parts []part
	var masks, words []byte
	for at := 0; at < len(d.pages); at += partPages {
		n := min(partPages, len(d.pages)-at)
		masks, words = masks[:0], words[:0]
		for i, page := range d.pages[at : at+n] {
			if err := d.view.Check(uint64(page), 1); err != nil {
				return err
			}
			old := nodefile.OrZero(d.view.Bytes(uint64(page)))
			masks, words = nodefile.AppendDifferences(masks, words, old, pageOf(d.whole, uint64(at+i)))
		}
		p := part{pages: n, masks: len(masks), length: len(masks) + len(words)}
		p.packed = bytes.Clone(s2.Encode(nil, append(masks, words...)))
		parts = append(parts, p)
	}
	d.parts = parts
	d.release()
	return nil
}

// release lets go of whole pages.
func (d *delta) release() {
	if n := cap(d.whole); n > 0 && n <= maxBuffer && !d.shared {
		b := d.whole[:0]
		buffers.Put(&b)
	}
	d.whole = nil
}

// buffers are for whole pages: memory that is new costs a fault for each page, as much as
// copying it.
var buffers sync.Pool

// maxBuffer bounds a buffer that is used again, in bytes.
const maxBuffer = 4 << 20

// takeBuffer returns an empty buffer with room for n bytes, and for little more.
func takeBuffer(n int) []byte {
	if n <= maxBuffer {
		if b, ok := buffers.Get().(*[]byte); ok && cap(*b) >= n && cap(*b) <= 2*n {
			return *b
		}
	}
	return make([]byte, 0, n)
}

// put calls each with the content of each page, in order.
func (d *delta) put(each func(page uint64) []byte) error {
	for _, page := range d.zeros {
		clear(each(uint64(page)))
	}
	if d.whole != nil {
		for i, page := range d.pages {
			copy(each(uint64(page)), pageOf(d.whole, uint64(i)))
		}
		return nil
	}
	pages := d.pages
	var raw []byte
	for _, part := range d.parts {
		var err error
		if raw, err = s2.Decode(raw[:cap(raw)], part.packed); err != nil || len(raw) != part.length {
			return fmt.Errorf("%d bytes of a parked instance are %d unpacked, not %d: %w", len(part.packed), len(raw), part.length, err)
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
