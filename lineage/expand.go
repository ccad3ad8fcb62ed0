package lineage

import (
	"fmt"
	"runtime"
)

// expand makes a blob of whole pages from differences: each data page is the
// parent's page at its first guest page with some words replaced. Both of these were
// compared with their checksums, so the page is what it was; with sums it is compared
// with its own too.
func expand(name string, d *deltaDecoder, x *pageIndex, parent *View, sums bool) (_ *Blob, err error) {
	uses, err := x.firstUses()
	if err != nil {
		return nil, err
	}
	b := &Blob{name: name, pages: x.dataPages, index: x}
	b.slab, err = takeSlab(int(max(b.pages, 1) * PageSize))
	if err != nil {
		return nil, fmt.Errorf("expand pages %s: %w", name, err)
	}
	defer func() {
		if err != nil {
			giveSlab(b.slab)
		}
	}()
	b.file, b.mem = b.slab.file, b.slab.ro[:b.pages*PageSize]
	for page := range uses {
		content := b.slab.rw[page*PageSize : (page+1)*PageSize]
		if err := d.expandPage(content, uint64(page), uses[page], parent); err != nil {
			return nil, err
		}
		if !sums {
			continue
		}
		if why := checkSum(content, x.sums[page]); why != "" {
			return nil, b.pageError(uint64(page), why)
		}
	}
	if err := d.end(); err != nil {
		return nil, err
	}
	runtime.AddCleanup(b, giveSlab, b.slab)
	return b, nil
}

// expandPage gives the next data page, whose first guest page is guest.
func (d *deltaDecoder) expandPage(content []byte, page, guest uint64, parent *View) error {
	blob, at, _ := parent.span(guest)
	if blob == nil {
		clear(content)
	} else {
		if blob.Check(at, 1) != nil {
			return parent.Check(guest, 1) // which names the guest's page
		}
		copy(content, blob.Bytes(at))
	}
	if err := d.apply(content); err != nil {
		return fmt.Errorf("data page %d, guest page %#x: %w", page, guest, err)
	}
	return nil
}

// eachExpanded calls f with each data page in order. content is valid only
// during the call.
func eachExpanded(d *deltaDecoder, x *pageIndex, parent *View, f func(page uint64, content []byte) error) error {
	uses, err := x.firstUses()
	if err != nil {
		return err
	}
	var content [PageSize]byte
	for page, guest := range uses {
		if err := d.expandPage(content[:], uint64(page), guest, parent); err != nil {
			return err
		}
		if err := f(uint64(page), content[:]); err != nil {
			return err
		}
	}
	return d.end()
}
