package nodefile

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// A loading set lists the guest pages that the first run from a node needed, in the
// order in which it did: what is worth reading before it is asked for. It lies next
// to the node as <id>.load. It is a hint: what cannot be read is left out, and what
// it names wrongly costs time only. All numbers of the runs are uvarints:
//
//	header   magic u64, version u32, CRC-32C of all that follows u32
//	node     id, 32 bytes
//	counts   guest pages of the node u32, runs u32
//	runs     first page less the end of the run before, zigzag; count - 1
const (
	loadingMagic       = 0x31444f4c53535553 // "SUSSLOD1"
	loadingVersion     = 1
	loadingHeaderBytes = 16
	loadingFixedBytes  = loadingHeaderBytes + 32 + 8
	MaxLoadingRuns     = 1 << 20
	MaxLoadingBytes    = loadingFixedBytes + MaxLoadingRuns*2*binary.MaxVarintLen32
)

// PageRun is Count guest pages from First on.
type PageRun struct {
	First, Count uint64
}

// LoadingSet is runs of guest pages in the order in which they are needed.
type LoadingSet []PageRun

// NewLoadingSet makes a set of pages in the order in which they are needed. Pages
// that come twice count the first time.
func NewLoadingSet(pages []uint64) LoadingSet {
	var set LoadingSet
	seen := make(map[uint64]bool, len(pages))
	for _, page := range pages {
		if seen[page] {
			continue
		}
		seen[page] = true
		if n := len(set); n > 0 && set[n-1].First+set[n-1].Count == page {
			set[n-1].Count++
		} else {
			set = append(set, PageRun{page, 1})
		}
	}
	return set
}

// Pages lists the pages.
func (set LoadingSet) Pages() []uint64 {
	pages := make([]uint64, 0, set.Len())
	for _, r := range set {
		for i := range r.Count {
			pages = append(pages, r.First+i)
		}
	}
	return pages
}

// Len returns the number of pages.
func (set LoadingSet) Len() (n uint64) {
	for _, r := range set {
		n += r.Count
	}
	return n
}

func EncodeLoadingSet(id string, guestPages uint64, set LoadingSet) []byte {
	le := binary.LittleEndian
	b := make([]byte, loadingHeaderBytes, loadingFixedBytes+len(set)*6)
	le.PutUint64(b, loadingMagic)
	le.PutUint32(b[8:], loadingVersion)
	b, _ = hex.AppendDecode(b, []byte(id)) // it is a digest
	b = le.AppendUint32(b, uint32(guestPages))
	b = le.AppendUint32(b, uint32(len(set)))
	next := int64(0)
	for _, r := range set {
		d := int64(r.First) - next
		b = binary.AppendUvarint(b, uint64(d<<1^d>>63))
		b = binary.AppendUvarint(b, r.Count-1)
		next = int64(r.First + r.Count)
	}
	le.PutUint32(b[12:], Checksum(b[loadingHeaderBytes:]))
	return b
}

// DecodeLoadingSet accepts what encodeLoadingSet writes for this node.
func DecodeLoadingSet(b []byte, id string, guestPages uint64) (LoadingSet, error) {
	le := binary.LittleEndian
	if len(b) < 8 || le.Uint64(b) != loadingMagic {
		return nil, fmt.Errorf("loading set of %d bytes: %w", len(b), ErrMagic)
	}
	if len(b) >= 12 && le.Uint32(b[8:]) != loadingVersion {
		return nil, fmt.Errorf("loading set has version %d, this program reads %d: %w", le.Uint32(b[8:]), loadingVersion, ErrVersion)
	}
	if len(b) < loadingFixedBytes || len(b) > MaxLoadingBytes {
		return nil, fmt.Errorf("loading set of %d bytes: %w", len(b), ErrLength)
	}
	if got := Checksum(b[loadingHeaderBytes:]); got != le.Uint32(b[12:]) {
		return nil, fmt.Errorf("loading set: checksum is %#08x: %w", got, ErrChecksum)
	}
	if got := hex.EncodeToString(b[loadingHeaderBytes : loadingHeaderBytes+32]); got != id {
		return nil, fmt.Errorf("loading set is that of node %s: %w", got, ErrIdentity)
	}
	pages, runs := uint64(le.Uint32(b[loadingFixedBytes-8:])), le.Uint32(b[loadingFixedBytes-4:])
	v := varints{b: b[loadingFixedBytes:]}
	if pages != guestPages || uint64(runs) > uint64(len(v.b))/2 {
		return nil, fmt.Errorf("loading set of %d guest pages, %d runs in %d bytes; the node has %d pages: %w", pages, runs, len(b), guestPages, ErrFormat)
	}
	set := make(LoadingSet, runs)
	next := int64(0)
	for i := range set {
		gap, count := v.next("loading set: first page"), v.next("loading set: count")
		if v.err != nil {
			return nil, v.err
		}
		first := next + (int64(gap>>1) ^ -int64(gap&1))
		if gap > 2*MaxGuestPages || first < 0 || uint64(first) >= pages || count >= pages-uint64(first) {
			return nil, fmt.Errorf("loading set: run %d is pages %d+%d of %d: %w", i, first, count, pages, ErrFormat)
		}
		set[i] = PageRun{uint64(first), count + 1}
		next = first + int64(count) + 1
	}
	if len(v.b) != 0 {
		return nil, fmt.Errorf("%d bytes after the loading set: %w", len(v.b), ErrFormat)
	}
	return set, nil
}
