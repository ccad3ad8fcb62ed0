package lineage

import (
	"bytes"
	"fmt"
)

// deltaWriter turns candidate pages into data pages and an index.
type deltaWriter struct {
	out    *pending
	base   *View
	index  pageIndex
	stored map[Digest]uint64 // content to data page
	hasher *pageHasher
	hidden uint64 // changed pages that an ancestor's blob backs

	buf    [crcPages * PageSize]byte
	filled int // bytes of buf that wait to be written
}

func newDeltaWriter(out *pending, base *View) *deltaWriter {
	return &deltaWriter{
		out:    out,
		base:   base,
		index:  pageIndex{guestPages: base.Pages()},
		stored: map[Digest]uint64{},
		hasher: newPageHasher(),
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
	hash := pageHash(own)
	at, known := d.stored[hash]
	if !known {
		at = d.index.dataPages
		d.stored[hash] = at
		d.hasher.add(hash)
		d.index.dataPages++
		if d.filled += PageSize; d.filled == len(d.buf) {
			if err := d.flush(); err != nil {
				return err
			}
		}
	}
	d.addRun(page, at)
	return nil
}

func orZero(page []byte) []byte {
	if page == nil {
		return zeroPage[:]
	}
	return page
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
	d.index.sums = append(d.index.sums, checksum(data))
	if n, err := d.out.Write(data); err != nil {
		return fmt.Errorf("write %d data pages to %s: wrote %d of %d bytes: %w",
			len(data)/PageSize, d.out.Name(), n, len(data), err)
	}
	return nil
}

// finish writes what is left and returns the index and the data's digest.
func (d *deltaWriter) finish() (*pageIndex, Digest, error) {
	if err := d.flush(); err != nil {
		return nil, Digest{}, err
	}
	return &d.index, d.hasher.sum(), nil
}
