package lineage

import (
	"bytes"
	"fmt"

	"seuss/guest"
	"seuss/lineage/nodefile"
	"seuss/lineage/pages"
	"seuss/lineage/sealed"
)

// deltaWriter turns candidate pages into the data section and the index.
type deltaWriter struct {
	out    *sealed.Pending
	base   *pages.View
	diffs  *nodefile.DifferenceEncoder // nil if pages are written whole
	index  nodefile.Index
	leaves []nodefile.Digest
	stored map[nodefile.Digest]uint64 // content to data page
	hidden uint64                     // changed pages that an ancestor's blob backs

	buf    [pages.BatchPages * nodefile.PageSize]byte
	filled int // bytes of buf that wait to be written
}

func newDeltaWriter(out *sealed.Pending, base *pages.View, diffs *nodefile.DifferenceEncoder) *deltaWriter {
	return &deltaWriter{
		out:    out,
		base:   base,
		diffs:  diffs,
		index:  nodefile.Index{GuestPages: base.Pages()},
		stored: map[nodefile.Digest]uint64{},
	}
}

// add takes one guest page, in ascending order. nil content is a zero page.
func (d *deltaWriter) add(page uint64, content []byte) error {
	if content == nil {
		content = guest.ZeroPage[:]
	}
	if len(content) != nodefile.PageSize {
		return fmt.Errorf("read guest page %#x: got %d of %d bytes: %w", page, len(content), nodefile.PageSize, nodefile.ErrInvalid)
	}
	// Copied once: what is compared is what is hashed and written.
	own := d.buf[d.filled : d.filled+nodefile.PageSize]
	copy(own, content)
	if err := d.base.Check(page, 1); err != nil {
		return fmt.Errorf("compare with the parent: %w", err)
	}
	old := d.base.Bytes(page)
	if bytes.Equal(own, nodefile.OrZero(old)) {
		return nil
	}
	if old != nil {
		d.hidden++
	}
	if guest.IsZero(own) {
		d.addRun(page, nodefile.ZeroRun)
		return nil
	}
	leaf := nodefile.PageDigest(own)
	at, known := d.stored[leaf]
	if !known {
		at = d.index.DataPages
		d.stored[leaf] = at
		d.leaves = append(d.leaves, leaf)
		d.index.Sums = append(d.index.Sums, nodefile.Checksum(own))
		d.index.DataPages++
		if d.diffs != nil {
			d.diffs.Add(nodefile.OrZero(old), own)
		} else if d.filled += nodefile.PageSize; d.filled == len(d.buf) {
			if err := d.flush(); err != nil {
				return err
			}
		}
	}
	d.addRun(page, at)
	return nil
}

// addRun extends the last run where it can.
func (d *deltaWriter) addRun(page, at uint64) {
	if n := len(d.index.Runs); n > 0 {
		last := &d.index.Runs[n-1]
		if last.First+last.Count == page &&
			(at == nodefile.ZeroRun && last.Page == nodefile.ZeroRun ||
				at != nodefile.ZeroRun && last.Page != nodefile.ZeroRun && last.Page+last.Count == at) {
			last.Count++
			return
		}
	}
	d.index.Runs = append(d.index.Runs, nodefile.IndexRun{First: page, Count: 1, Page: at})
}

func (d *deltaWriter) flush() error {
	if d.filled == 0 {
		return nil
	}
	data := d.buf[:d.filled]
	d.filled = 0
	if n, err := d.out.Write(data); err != nil {
		return fmt.Errorf("write %d data pages to %s: wrote %d of %d bytes: %w",
			len(data)/nodefile.PageSize, d.out.Name(), n, len(data), err)
	}
	return nil
}

// finish writes what is left and returns the index and the root.
func (d *deltaWriter) finish() (*nodefile.Index, nodefile.Digest, error) {
	if err := d.flush(); err != nil {
		return nil, nodefile.Digest{}, err
	}
	root := d.index.Root(d.leaves)
	if d.diffs == nil {
		d.index.Digests = d.leaves
		if d.leaves == nil {
			d.index.Digests = []nodefile.Digest{}
		}
	}
	return &d.index, root, nil
}
