package bench

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"seuss/dirtytrack"
	"seuss/dispatcher/functions"
	"seuss/lineage"
)

// base makes an image node of 64 pages and the base node.
func (b *storeBench) base() error {
	r := rand.New(rand.NewPCG(1, 1))
	data := make([]byte, 64*lineage.PageSize)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	digest := fmt.Sprintf("%x", sha256.Sum256(data))
	if err := os.WriteFile(b.s.ImagePath(digest), data, 0o444); err != nil {
		return err
	}
	image, err := b.s.AddImage(digest, b.s.ImagePath(digest), storeGuestPages, []lineage.ImageRun{{First: 48, Count: 64}})
	if err != nil {
		return err
	}
	dirty := dirtytrack.NewPageSet(storeGuestPages)
	pages := map[uint64][]byte{}
	for i := range uint64(storeBasePages) {
		page := make([]byte, lineage.PageSize)
		fillObjects(r, page, 0.6)
		at := 2048 + i*7
		pages[at] = page
		dirty.Add(at)
	}
	features := lineage.CPUFeatures{Opaque: "bench"}
	for i := range 60 {
		features.Named = append(features.Named, fmt.Sprintf("feature_%d", i))
	}
	n, err := b.s.Capture(lineage.NodeSpec{Kind: lineage.KindBase, State: make([]byte, 8<<10), CPUFeatures: features, ABIVersion: 1}, image, dirty,
		func(p uint64) []byte { return pages[p] })
	if err != nil {
		return err
	}
	b.baseID = n.ID
	return nil
}

// fillObjects writes what a heap page of a language runtime looks like: small
// counts, pointers near each other, repeated type pointers, text.
func fillObjects(r *rand.Rand, page []byte, share float64) (words int) {
	for at := 0; at+8 <= len(page); at += 8 {
		if r.Float64() >= share {
			continue
		}
		words++
		var v uint64
		switch r.IntN(6) {
		case 0:
			v = 1 + r.Uint64N(4) // reference count
		case 1, 2:
			v = 0x945000 + r.Uint64N(24)*0x1a0 // type
		case 3:
			v = 0x7000000 + r.Uint64N(1<<18)*16 // object
		case 4:
			v = r.Uint64N(1 << 12) // length, hash of small things
		case 5:
			v = 0x20656e6f_20726f66 + r.Uint64N(1<<20)<<24 // text
		}
		binary.LittleEndian.PutUint64(page[at:], v)
	}
	return words
}

// functionDelta gives the pages of function i: most of them the base's with a few
// words changed, some new.
func (b *storeBench) functionDelta(i int, base *lineage.View, dirty *dirtytrack.PageSet, pages map[uint64][]byte) {
	r := rand.New(rand.NewPCG(uint64(i), 2))
	clear(pages)
	dirty.Clear()
	for k := range uint64(storeFunctionPages) {
		at := 2048 + k*7*14 // a page of the base
		page := make([]byte, lineage.PageSize)
		switch {
		case k < 12: // new pages
			at = 40_000 + k
			fillObjects(r, page, 0.35)
		case k < 60: // counts
			copy(page, base.Bytes(at))
			for range 1 + r.IntN(6) {
				word := r.IntN(512) * 8
				binary.LittleEndian.PutUint64(page[word:], binary.LittleEndian.Uint64(page[word:])+1+r.Uint64N(3))
			}
		default: // a run of objects
			copy(page, base.Bytes(at))
			n := 8 * (4 + r.IntN(50))
			word := r.IntN(lineage.PageSize/8-n/8) * 8
			clear(page[word : word+n])
			fillObjects(r, page[word:word+n], 0.8)
		}
		pages[at] = page
		dirty.Add(at)
	}
}

// fill captures the function nodes.
func (b *storeBench) fill() error {
	base, err := b.s.Snapshot(b.baseID)
	if err != nil {
		return err
	}
	took := make([]time.Duration, b.o.Nodes)
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, b.report.Workers)
	start := time.Now()
	var spent atomic.Int64 // making synthetic pages, which a capture does not
	for w := range errs {
		wg.Go(func() {
			dirty, pages := dirtytrack.NewPageSet(storeGuestPages), map[uint64][]byte{}
			state := make([]byte, 8<<10)
			for {
				i := int(next.Add(1)) - 1
				if i >= b.o.Nodes {
					return
				}
				if errs[w] = b.ctx.Err(); errs[w] != nil {
					return
				}
				made := time.Now()
				b.functionDelta(i, base.View, dirty, pages)
				binary.LittleEndian.PutUint64(state[128:], uint64(i))
				spent.Add(int64(time.Since(made)))
				key := lineage.Key{Function: fmt.Sprintf("function-%d", i), Handler: "main.handler", CodeDigest: functions.CodeDigest(state[128:136])}
				began := time.Now()
				_, errs[w] = b.s.Capture(lineage.NodeSpec{
					Kind: lineage.KindFunction, Key: key, State: state, CPUFeatures: base.Node.CPUFeatures, ABIVersion: 1,
					SavedTime: 12 * time.Millisecond, CaptureCost: time.Millisecond,
				}, base.Node, dirty, func(p uint64) []byte { return pages[p] })
				if errs[w] != nil {
					return
				}
				took[i] = time.Since(began)
				if i%64 == 0 {
					b.o.Progress(fmt.Sprintf("capturing %d function nodes", b.o.Nodes), float64(i)/float64(b.o.Nodes))
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	busy := time.Since(start) - time.Duration(spent.Load())/time.Duration(b.report.Workers)
	b.report.CapturesSecond = float64(b.o.Nodes) / busy.Seconds()
	b.report.Capture = NewRow("capture", took)
	return nil
}
