package lineage

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// pageIndex is a node's delta against its parent. On disk: guest pages u64,
// data pages u64, run count u64; a run is first u64, count u64, data page u64
// (zeroRun for zero pages); then a CRC-32C u32 for every crcPages data pages.
type pageIndex struct {
	guestPages uint64
	dataPages  uint64 // pages of the data section or of the image file
	runs       []indexRun
	sums       []uint32
}

// indexRun places data pages [page, page+count) at guest pages [first, first+count).
type indexRun struct {
	first, count, page uint64
}

// zeroRun stands for a data page in a run of zero pages.
const zeroRun = ^uint64(0)

const (
	indexHeadBytes = 24
	indexRunBytes  = 24
	indexSumBytes  = 4
)

func sumCount(pages uint64) uint64 { return (pages + crcPages - 1) / crcPages }

func (x *pageIndex) encode() []byte {
	le := binary.LittleEndian
	b := make([]byte, 0, indexHeadBytes+len(x.runs)*indexRunBytes+len(x.sums)*indexSumBytes)
	b = le.AppendUint64(b, x.guestPages)
	b = le.AppendUint64(b, x.dataPages)
	b = le.AppendUint64(b, uint64(len(x.runs)))
	for _, r := range x.runs {
		b = le.AppendUint64(b, r.first)
		b = le.AppendUint64(b, r.count)
		b = le.AppendUint64(b, r.page)
	}
	return append(b, x.encodeSums()...)
}

func (x *pageIndex) encodeSums() []byte {
	b := make([]byte, 0, len(x.sums)*indexSumBytes)
	for _, sum := range x.sums {
		b = binary.LittleEndian.AppendUint32(b, sum)
	}
	return b
}

// decodeIndex accepts exactly what encode of a valid index writes: runs that
// ascend, do not overlap and stay inside the guest and the data.
func decodeIndex(b []byte) (*pageIndex, error) {
	le := binary.LittleEndian
	if len(b) < indexHeadBytes {
		return nil, fmt.Errorf("index has %d bytes, its head %d: %w", len(b), indexHeadBytes, ErrFormat)
	}
	x := &pageIndex{guestPages: le.Uint64(b), dataPages: le.Uint64(b[8:])}
	runs := le.Uint64(b[16:])
	if x.guestPages > maxViewPages || x.dataPages > maxBlobPages {
		return nil, fmt.Errorf("index of %d guest pages and %d data pages, at most %d and %d: %w",
			x.guestPages, x.dataPages, uint64(maxViewPages), uint64(maxBlobPages), ErrFormat)
	}
	if rest := uint64(len(b) - indexHeadBytes); runs > rest/indexRunBytes ||
		rest-runs*indexRunBytes != sumCount(x.dataPages)*indexSumBytes {
		return nil, fmt.Errorf("index has %d bytes for %d runs and %d data pages: %w", len(b), runs, x.dataPages, ErrFormat)
	}
	b = b[indexHeadBytes:]
	x.runs = make([]indexRun, runs)
	next := uint64(0)
	for i := range x.runs {
		r := indexRun{first: le.Uint64(b), count: le.Uint64(b[8:]), page: le.Uint64(b[16:])}
		b = b[indexRunBytes:]
		if r.count == 0 || r.first < next || r.first > x.guestPages || r.count > x.guestPages-r.first {
			return nil, fmt.Errorf("index run %d is guest pages %d+%d, after %d of %d: %w",
				i, r.first, r.count, next, x.guestPages, ErrFormat)
		}
		if r.page != zeroRun && (r.page > x.dataPages || r.count > x.dataPages-r.page) {
			return nil, fmt.Errorf("index run %d is data pages %d+%d of %d: %w", i, r.page, r.count, x.dataPages, ErrFormat)
		}
		next = r.first + r.count
		x.runs[i] = r
	}
	x.sums = make([]uint32, sumCount(x.dataPages))
	for i := range x.sums {
		x.sums[i] = le.Uint32(b[i*indexSumBytes:])
	}
	return x, nil
}

// deltaPages counts the guest pages that the index changes.
func (x *pageIndex) deltaPages() (n uint64) {
	for _, r := range x.runs {
		n += r.count
	}
	return n
}

// viewRuns gives the runs the blob that holds their data.
func (x *pageIndex) viewRuns(blob *Blob) []Run {
	runs := make([]Run, len(x.runs))
	for i, r := range x.runs {
		runs[i] = Run{First: r.first, Count: r.count}
		if r.page != zeroRun {
			runs[i].Blob, runs[i].Page = blob, r.page
		}
	}
	return runs
}

// guestRuns describes, for a message, which guest pages use the count data
// pages from first on.
func (x *pageIndex) guestRuns(first, count uint64) string {
	const limit = 4
	var b strings.Builder
	found := 0
	for _, r := range x.runs {
		lo, hi := max(r.page, first), min(r.page+r.count, first+count)
		if r.page == zeroRun || lo >= hi {
			continue
		}
		if found++; found > limit {
			continue
		}
		if found > 1 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%#x+%d", r.first+lo-r.page, hi-lo)
	}
	switch {
	case found == 0:
		return "no guest page"
	case found > limit:
		fmt.Fprintf(&b, " and %d more runs", found-limit)
	}
	return "guest pages " + b.String()
}
