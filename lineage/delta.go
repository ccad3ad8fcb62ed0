package lineage

import (
	"bytes"
	"fmt"
	"seuss/lineage/sealed"
)

// deltaWriter turns candidate pages into the data section and the index.
type deltaWriter struct {
	out    *sealed.Pending
	base   *View
	diffs  *deltaEncoder // nil if pages are written whole
	index  pageIndex
	leaves []Digest
	stored map[Digest]uint64 // content to data page
	hidden uint64            // changed pages that an ancestor's blob backs

	buf    [batchPages * PageSize]byte
	filled int // bytes of buf that wait to be written
}

func newDeltaWriter(out *sealed.Pending, base *View, diffs *deltaEncoder) *deltaWriter {
	return &deltaWriter{
		out:    out,
		base:   base,
		diffs:  diffs,
		index:  pageIndex{guestPages: base.Pages()},
		stored: map[Digest]uint64{},
	}
}

// add takes one guest page, in ascending order. nil content is a zero page.
func (d *deltaWriter) add(page uint64, content []byte) error {
	if content == nil {
		content = zeroPage[:]
	}
	if len(content) != PageSize {
		return fmt.Errorf("read guest page %#x: got %d of %d bytes: %w", page, len(content), PageSize, ErrInvalid)
	}
	// Copied once: what is compared is what is hashed and written.
	own := d.buf[d.filled : d.filled+PageSize]
	copy(own, content)
	if err := d.base.Check(page, 1); err != nil {
		return fmt.Errorf("compare with the parent: %w", err)
	}
	old := d.base.Bytes(page)
	if bytes.Equal(own, orZero(old)) {
		return nil
	}
	if old != nil {
		d.hidden++
	}
	if isZero(own) {
		d.addRun(page, zeroRun)
		return nil
	}
	leaf := pageDigest(own)
	at, known := d.stored[leaf]
	if !known {
		at = d.index.dataPages
		d.stored[leaf] = at
		d.leaves = append(d.leaves, leaf)
		d.index.sums = append(d.index.sums, checksum(own))
		d.index.dataPages++
		if d.diffs != nil {
			d.diffs.add(orZero(old), own)
		} else if d.filled += PageSize; d.filled == len(d.buf) {
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
	if n := len(d.index.runs); n > 0 {
		last := &d.index.runs[n-1]
		if last.first+last.count == page &&
			(at == zeroRun && last.page == zeroRun ||
				at != zeroRun && last.page != zeroRun && last.page+last.count == at) {
			last.count++
			return
		}
	}
	d.index.runs = append(d.index.runs, indexRun{first: page, count: 1, page: at})
}

func (d *deltaWriter) flush() error {
	if d.filled == 0 {
		return nil
	}
	data := d.buf[:d.filled]
	d.filled = 0
	if n, err := d.out.Write(data); err != nil {
		return fmt.Errorf("write %d data pages to %s: wrote %d of %d bytes: %w",
			len(data)/PageSize, d.out.Name(), n, len(data), err)
	}
	return nil
}

// finish writes what is left and returns the index and the root.
func (d *deltaWriter) finish() (*pageIndex, Digest, error) {
	if err := d.flush(); err != nil {
		return nil, Digest{}, err
	}
	root := d.index.root(d.leaves)
	if d.diffs == nil {
		d.index.digests = d.leaves
		if d.leaves == nil {
			d.index.digests = []Digest{}
		}
	}
	return &d.index, root, nil
}
