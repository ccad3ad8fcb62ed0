package pages

import (
	"fmt"
	"runtime"
	"sync"

	"seuss/lineage/nodefile"
)

// Patches are what a Blob of expanded pages is made of. Bringing a machine to a node
// needs each page once, in the machine: there it is put together from the parent's page
// and the words that differ, and not before that in the Blob. The Blob's own pages are
// made when somebody looks at them, as the reset after the machine's first run does
// (docs/decisions/pages.md, "When are whole pages made of differences?").
type Patches struct {
	*nodefile.Differences
	mu     sync.Mutex // of who makes the pages
	from   [][]byte   // what each page was compared with; nil: zeroes
	parent *View      // which keeps them in memory
}

// NewPatches finds the parent's pages, and makes sure that they are right.
func NewPatches(d *nodefile.Differences, x *nodefile.Index, parent *View) (*Patches, error) {
	uses, err := x.FirstUses()
	if err != nil {
		return nil, err
	}
	p := &Patches{Differences: d, from: make([][]byte, len(uses)), parent: parent}
	for page, guest := range uses {
		blob, at, _ := parent.span(guest)
		if blob == nil {
			continue
		}
		if blob.Check(at, 1) != nil {
			return nil, parent.Check(guest, 1) // which names the guest's page
		}
		p.from[page] = blob.Bytes(at)
	}
	return p, nil
}

// CopyPage writes a data page to dst.
func (p *Patches) CopyPage(dst []byte, page uint64) {
	if from := p.from[page]; from != nil {
		copy(dst, from)
	} else {
		clear(dst)
	}
	p.Apply(dst, page)
	runtime.KeepAlive(p)
}

// smallDeltaBytes bounds the differences that are kept as such.
const smallDeltaBytes = 128 << 10

// Expand unpacks differences and makes a Blob of them. Both the parent's pages and the
// differences were compared with their checksums, so a page of both is what it was; with
// sums it is compared with its own too.
func Expand(name string, d *nodefile.Differences, x *nodefile.Index, parent *View, sums bool) (_ *Blob, err error) {
	// Small ones stay as long as the Blob does, behind its pages.
	pages := int(max(x.DataPages, 1) * nodefile.PageSize)
	size, small := pages, max(d.Keeps, d.Length) <= smallDeltaBytes
	if small {
		size += d.Keeps
	}
	s, err := takeSlab(size)
	if err != nil {
		return nil, fmt.Errorf("expand pages %s: %w", name, err)
	}
	defer func() {
		if err != nil {
			giveSlab(s)
		}
	}()
	if err := d.Unpack(s.rw[pages:]); err != nil {
		return nil, err
	}
	p, err := NewPatches(d, x, parent)
	if err != nil {
		return nil, err
	}
	b := &Blob{name: name, pages: x.DataPages, index: x, slab: s, file: s.file, mem: s.ro[:x.DataPages*nodefile.PageSize]}
	b.patches.Store(p)
	if sums {
		var content [nodefile.PageSize]byte // stays in the caches
		for page := range b.pages {
			p.CopyPage(content[:], page)
			if why := nodefile.Mismatch(content[:], x.Sums[page]); why != "" {
				return nil, b.pageError(page, why)
			}
		}
	}
	if !small {
		b.makePages()
	}
	runtime.AddCleanup(b, giveSlab, s)
	return b, nil
}

// Expanded reports whether the Blob is memory of its own, made of differences.
func (b *Blob) Expanded() bool { return b.slab != nil }

// Whole reports whether all pages are there as such. Those of an expanded Blob are
// when somebody has looked at one, and not before.
func (b *Blob) Whole() bool { return b.patches.Load() == nil }

// makePages makes the pages, if they are not there yet. Until then there is anything
// in their place.
func (b *Blob) makePages() {
	p := b.patches.Load()
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if b.patches.Load() == nil {
		return
	}
	for page := range b.pages {
		p.CopyPage(b.slab.rw[page*nodefile.PageSize:(page+1)*nodefile.PageSize], page)
	}
	b.patches.Store(nil)
}

// copyPage writes a page to dst.
func (b *Blob) copyPage(dst []byte, page uint64) {
	if p := b.patches.Load(); p != nil {
		p.CopyPage(dst, page)
	} else {
		copy(dst, b.Bytes(page))
	}
}
