package lineage

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"seuss/lineage/sealed"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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
	loadingSuffix      = ".load"
	loadingMagic       = 0x31444f4c53535553 // "SUSSLOD1"
	loadingVersion     = 1
	loadingHeaderBytes = 16
	loadingFixedBytes  = loadingHeaderBytes + 32 + 8
	maxLoadingRuns     = 1 << 20
	maxLoadingBytes    = loadingFixedBytes + maxLoadingRuns*2*binary.MaxVarintLen32
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

func encodeLoadingSet(id string, guestPages uint64, set LoadingSet) []byte {
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
	le.PutUint32(b[12:], checksum(b[loadingHeaderBytes:]))
	return b
}

// decodeLoadingSet accepts what encodeLoadingSet writes for this node.
func decodeLoadingSet(b []byte, id string, guestPages uint64) (LoadingSet, error) {
	le := binary.LittleEndian
	if len(b) < 8 || le.Uint64(b) != loadingMagic {
		return nil, fmt.Errorf("loading set of %d bytes: %w", len(b), ErrMagic)
	}
	if len(b) >= 12 && le.Uint32(b[8:]) != loadingVersion {
		return nil, fmt.Errorf("loading set has version %d, this program reads %d: %w", le.Uint32(b[8:]), loadingVersion, ErrVersion)
	}
	if len(b) < loadingFixedBytes || len(b) > maxLoadingBytes {
		return nil, fmt.Errorf("loading set of %d bytes: %w", len(b), ErrLength)
	}
	if got := checksum(b[loadingHeaderBytes:]); got != le.Uint32(b[12:]) {
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
		if gap > 2*maxViewPages || first < 0 || uint64(first) >= pages || count >= pages-uint64(first) {
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

func (s *Store) loadingPath(id string) string { return s.path(nodesDir, id+loadingSuffix) }

// LoadingSet returns a node's loading set. If there is none, or none that can be
// read, it is nil; in the second case the error says why, for whoever wants to know.
func (s *Store) LoadingSet(n *Node) (LoadingSet, error) {
	b, err := sealed.ReadFile(s.loadingPath(n.ID), maxLoadingBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("loading set of node %s: %w", n.ID, err)
	}
	set, err := decodeLoadingSet(b, n.ID, n.GuestPages)
	if err != nil {
		return nil, fmt.Errorf("loading set of node %s: %w", n.ID, err)
	}
	return set, nil
}

// SaveLoadingSet replaces a node's loading set.
func (s *Store) SaveLoadingSet(n *Node, set LoadingSet) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.writable()
	if err == nil && s.lookup(n.ID) == nil {
		err = ErrNotFound
	}
	if err == nil && len(set) > maxLoadingRuns {
		set = set[:maxLoadingRuns]
	}
	if err == nil {
		err = s.fs.WriteFile(s.loadingPath(n.ID), encodeLoadingSet(n.ID, n.GuestPages, set))
	}
	if err != nil {
		return fmt.Errorf("keep the loading set of node %s: %w", n.ID, err)
	}
	return nil
}

// sweepLoading deletes the loading sets whose nodes are gone. nodes is sorted.
func (s *Store) sweepLoading(ids []string, nodes []found) {
	if s.readOnly {
		return
	}
	for _, id := range ids {
		_, ok := slices.BinarySearchFunc(nodes, id, func(n found, id string) int { return strings.Compare(n.id, id) })
		if !ok && validDigest(id) {
			_ = os.Remove(s.loadingPath(id)) // a hint to nothing: the next Open tries again
		}
	}
}

// isLoadingSet reports whether a name is that of the loading set of a known node.
func (s *Store) isLoadingSet(name string, known map[string]bool) bool {
	id, ok := strings.CutSuffix(name, loadingSuffix)
	return ok && known[id]
}

// readers is how many prefetches of a view read at a time: one waits for the disk
// while the other one checks.
const readers = 2

// Prefetch fills the pages of a loading set, in its order, where the View's Blobs are
// paged, until stop says so, and returns how many were missing. The error is the
// first one; the other pages are filled all the same.
func (v *View) Prefetch(set LoadingSet, stop func() bool) (filled uint64, err error) {
	var missing []Run // ascending in the order of need
	for _, p := range set {
		if p.First >= v.pages {
			continue
		}
		for r := range v.Runs(p.First, min(p.Count, v.pages-p.First)) {
			if r.Blob != nil && r.Blob.Paged() && !r.Blob.Filled(r.Page, r.Count) {
				missing = append(missing, r)
			}
		}
	}
	// The kernel reads ahead while the first ones are checked. Neighbours in the file
	// are one request.
	for _, r := range mergeRuns(missing) {
		if stop() {
			return filled, nil
		}
		r.Blob.willNeed(r.Page, r.Count)
	}
	var next, count atomic.Int64
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range readers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(missing) && !stop(); i = int(next.Add(1)) - 1 {
				r := missing[i]
				if ferr := r.Blob.Fill(r.Page, r.Count); ferr != nil {
					mu.Lock()
					err = errors.Join(err, ferr)
					mu.Unlock()
					continue
				}
				count.Add(int64(r.Count))
			}
		})
	}
	wg.Wait()
	return uint64(count.Load()), err
}

// mergeGap is how many pages that nobody asked for are read to save a request.
const mergeGap = 8

// mergeRuns brings runs into the order of their files, a file at a time, and joins
// those that lie close together.
func mergeRuns(runs []Run) []Run {
	merged := slices.Clone(runs)
	order := map[*Blob]int{}
	for _, r := range runs {
		if _, ok := order[r.Blob]; !ok {
			order[r.Blob] = len(order)
		}
	}
	slices.SortFunc(merged, func(a, b Run) int {
		if a.Blob != b.Blob {
			return order[a.Blob] - order[b.Blob]
		}
		return int(int64(a.Page) - int64(b.Page))
	})
	out := merged[:0]
	for _, r := range merged {
		if n := len(out); n > 0 && out[n-1].Blob == r.Blob && r.Page <= out[n-1].Page+out[n-1].Count+mergeGap {
			out[n-1].Count = max(out[n-1].Count, r.Page+r.Count-out[n-1].Page)
			continue
		}
		out = append(out, r)
	}
	return out
}
