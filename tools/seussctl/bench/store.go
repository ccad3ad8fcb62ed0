package bench

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"seuss/dirtytrack"
	"seuss/lineage"
)

// StoreReport is what a store with many function nodes takes.
type StoreReport struct {
	Nodes           int     `json:"nodes"`
	Workers         int     `json:"workers"`
	CapturesSecond  float64 `json:"captures_per_s"`
	Capture         Row     `json:"capture"`
	FileBytes       float64 `json:"file_bytes_per_node"`
	DiskBytes       float64 `json:"disk_bytes_per_node"`   // blocks that the file system gave it
	MemoryBytes     float64 `json:"memory_bytes_per_node"` // of the catalogue
	WholePagesBytes float64 `json:"whole_page_bytes_per_node"`
	RSSBytes        uint64  `json:"rss_bytes"`      // of a process that has the store open and nothing loaded
	ReopenMS        float64 `json:"reopen_ms"`      // median, with the cache of the catalogue
	ReopenScanMS    float64 `json:"reopen_scan_ms"` // the first time, from the node files
	// ReopenColdMS is with an empty page cache; 0 if that could not be dropped.
	ReopenColdMS float64      `json:"reopen_cold_ms,omitempty"`
	Rows         []Row        `json:"rows"` // look-ups and loads
	Deploys      []Row        `json:"deploys"`
	Depth        []StoreDepth `json:"depth"`
}

// StoreDepth is the cost of a node at one depth of a chain.
type StoreDepth struct {
	Depth  int     `json:"depth"`
	Deploy float64 `json:"deploy_p50_us"` // of a node that is loaded
	Load   float64 `json:"load_p50_us"`   // of one whose ancestors are loaded
}

// StoreOptions say how much to measure.
type StoreOptions struct {
	Dir      string // for a new directory of its own
	Nodes    int
	Depths   []int
	Progress func(what string, fraction float64)
}

// The shape of the synthetic guest, taken from what Python functions measured
// (SPECIFICATION.md): a base node of 1,731 pages, function nodes of 121 pages, in
// most of which a few words differ.
const (
	storeGuestPages    = 256 << 20 / lineage.PageSize
	storeBasePages     = 1731
	storeFunctionPages = 121
	storeHotBytes      = 256 << 20
)

// MeasureStore fills a store with function nodes of different code on one base, and
// measures capture, size, look-up, load, deployment and reopening.
func MeasureStore(ctx context.Context, o StoreOptions) (report *StoreReport, err error) {
	if o.Progress == nil {
		o.Progress = func(string, float64) {}
	}
	dir, err := os.MkdirTemp(o.Dir, "seuss-bench-store-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := &storeBench{ctx: ctx, o: o, dir: dir, report: &StoreReport{Nodes: o.Nodes, Workers: runtime.GOMAXPROCS(0), Rows: []Row{}, Deploys: []Row{}, Depth: []StoreDepth{}}}
	if err := b.open(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.s.Close()) }()
	for _, step := range []func() error{b.base, b.fill, b.size, b.reopen, b.lookUp, b.loads, b.deploys, b.depths} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return b.report, nil
}

type storeBench struct {
	ctx    context.Context
	o      StoreOptions
	dir    string
	s      *lineage.Store
	baseID string
	report *StoreReport
}

func (b *storeBench) open() (err error) {
	b.s, err = lineage.Open(b.dir, lineage.Options{HotBytes: storeHotBytes})
	return err
}

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
				key := lineage.Key{Function: fmt.Sprintf("function-%d", i), Handler: "main.handler", CodeDigest: lineage.CodeDigest(state[128:136])}
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

// size adds up what the nodes take on disk.
func (b *storeBench) size() error {
	var file, pages uint64
	var disk int64
	nodes := b.functions()
	for _, n := range nodes {
		file += n.StoredBytes()
		pages += n.DeltaBytes
		blocks, err := blocksOf(filepath.Join(b.dir, "nodes", n.ID+".node"))
		if err != nil {
			return err
		}
		disk += blocks
	}
	count := float64(len(nodes))
	b.report.FileBytes, b.report.DiskBytes, b.report.WholePagesBytes = float64(file)/count, float64(disk)/count, float64(pages)/count
	return nil
}

func (b *storeBench) functions() []*lineage.Node { return b.s.Kind(lineage.KindFunction) }

// reopen measures opening the directory, and the memory of the catalogue.
func (b *storeBench) reopen() error {
	if err := b.s.Close(); err != nil {
		return err
	}
	b.s = nil
	heap := func() uint64 {
		runtime.GC()
		debug.FreeOSMemory()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	const turns = 5
	var took []time.Duration
	for turn := range turns {
		b.o.Progress("reopening the store", float64(turn)/turns)
		if b.s != nil {
			if err := b.s.Close(); err != nil {
				return err
			}
			b.s = nil
			runtime.GC()
		}
		start := time.Now()
		if err := b.open(); err != nil {
			return err
		}
		took = append(took, time.Since(start))
		if n := b.s.Catalogue().Len(); n != b.o.Nodes+2 {
			return fmt.Errorf("%d nodes after reopening, want %d", n, b.o.Nodes+2)
		}
	}
	b.report.ReopenScanMS = millis(took[0])
	b.report.ReopenMS = millis(Percentile(took[1:], 50))
	b.report.MemoryBytes = float64(heap()-before) / float64(b.o.Nodes)
	var err error
	if b.report.RSSBytes, err = residentBytes(); err != nil {
		return err
	}
	if !dropPageCache() {
		return nil
	}
	if err := b.s.Close(); err != nil {
		return err
	}
	dropPageCache()
	start := time.Now()
	if err := b.open(); err != nil {
		return err
	}
	b.report.ReopenColdMS = millis(time.Since(start))
	return nil
}

func millis(d time.Duration) float64 { return math.Round(float64(d)/1e5) / 10 }

func (b *storeBench) lookUp() error {
	nodes := b.functions()
	r := rand.New(rand.NewPCG(5, 5))
	const samples = 50_000
	for _, way := range []struct {
		name string
		find func(n *lineage.Node) (*lineage.Node, error)
	}{
		{"look up by id", func(n *lineage.Node) (*lineage.Node, error) { return b.s.Get(n.ID) }},
		{"look up by 12 digits", func(n *lineage.Node) (*lineage.Node, error) { return b.s.Get(n.ID[:12]) }},
		{"look up by function", func(n *lineage.Node) (*lineage.Node, error) { return b.s.Function(n.Key.Function)[0], nil }},
	} {
		took := make([]time.Duration, samples)
		for i := range took {
			want := nodes[r.IntN(len(nodes))]
			start := time.Now()
			got, err := way.find(want)
			took[i] = time.Since(start)
			if err != nil || got != want {
				return fmt.Errorf("%s: %v, %w", way.name, got, err)
			}
		}
		b.report.Rows = append(b.report.Rows, NewRow(way.name, took))
	}
	return nil
}

// loads measures bringing a node back: reading its file, expanding, checking.
func (b *storeBench) loads() error {
	nodes := b.functions()
	r := rand.New(rand.NewPCG(6, 6))
	if _, err := b.s.Snapshot(b.baseID); err != nil {
		return err
	}
	took := make([]time.Duration, min(2000, len(nodes)))
	for i, k := range r.Perm(len(nodes))[:len(took)] {
		start := time.Now()
		if _, err := b.s.Snapshot(nodes[k].ID); err != nil {
			return err
		}
		took[i] = time.Since(start)
	}
	b.report.Rows = append(b.report.Rows, NewRow("load and expand", took))
	return nil
}

// deployer stands for a machine: private pages that show one view, and are brought
// to the next one by copying what differs.
type deployer struct {
	ram  []byte
	view *lineage.View
}

func newDeployer(v *lineage.View) *deployer {
	d := &deployer{ram: make([]byte, v.Pages()*lineage.PageSize), view: v}
	for run := range v.Runs(0, v.Pages()) {
		for p := run.First; run.Blob != nil && p < run.First+run.Count; p++ {
			copy(d.ram[p*lineage.PageSize:], v.Bytes(p))
		}
	}
	return d
}

func (d *deployer) deploy(v *lineage.View) error {
	for first, count := range lineage.Diff(d.view, v) {
		if err := v.Check(first, count); err != nil {
			return err
		}
		for p := first; p < first+count; p++ {
			dst := d.ram[p*lineage.PageSize : (p+1)*lineage.PageSize]
			if src := v.Bytes(p); src != nil {
				copy(dst, src)
			} else {
				clear(dst)
			}
		}
	}
	d.view = v
	return nil
}

// deploys compares switching a machine to a node that is loaded with switching it
// to one that has to be expanded first, in turns.
func (b *storeBench) deploys() error {
	nodes := b.functions()
	nodes = nodes[:min(400, len(nodes))]
	var hot []*lineage.View
	for _, n := range nodes {
		b.s.Unload(n.ID)
		s, err := b.s.Snapshot(n.ID)
		if err != nil {
			return err
		}
		hot = append(hot, s.View)
	}
	d := newDeployer(hot[0])
	var hotTook, coldTook []time.Duration
	batch := max(1, min(40, len(nodes)/3)) // the hot ones are of another
	for turn := range 3 {
		for lo := 0; lo+batch <= len(nodes); lo += batch {
			// Of these nothing is left in memory.
			for k := lo; k < lo+batch; k++ {
				hot[k] = nil
				b.s.Unload(nodes[k].ID)
			}
			if err := d.deploy(hot[(lo+batch)%len(nodes)]); err != nil {
				return err
			}
			runtime.GC()
			runtime.GC()
			for k := lo; k < lo+batch; k++ {
				start := time.Now()
				if err := d.deploy(hot[(k+len(nodes)/2)%len(nodes)]); err != nil {
					return err
				}
				hotDone := time.Since(start)
				start = time.Now()
				s, err := b.s.Snapshot(nodes[k].ID)
				if err != nil {
					return err
				}
				if err := d.deploy(s.View); err != nil {
					return err
				}
				if coldDone := time.Since(start); turn > 0 { // the first turn warms up
					hotTook, coldTook = append(hotTook, hotDone), append(coldTook, coldDone)
				}
				hot[k] = s.View
			}
		}
	}
	b.report.Deploys = []Row{NewRow("hot", hotTook), NewRow("expand and deploy", coldTook)}
	return nil
}

// depths measures chains below the base whose nodes differ in depth only.
func (b *storeBench) depths() error {
	if len(b.o.Depths) == 0 {
		return nil
	}
	deepest := slices.Max(b.o.Depths)
	parent, err := b.s.Snapshot(b.baseID)
	if err != nil {
		return err
	}
	base := parent.View
	dirty, pages := dirtytrack.NewPageSet(storeGuestPages), map[uint64][]byte{}
	chain := map[int]lineage.Snapshot{}
	for depth := 1; depth <= deepest; depth++ {
		b.o.Progress("making a deep chain", float64(depth)/float64(deepest))
		b.functionDelta(1_000_000+depth, base, dirty, pages)
		n, err := b.s.Capture(lineage.NodeSpec{Kind: lineage.KindFunction, Key: lineage.Key{Function: "deep"}, State: parent.State, CPUFeatures: parent.Node.CPUFeatures, ABIVersion: 1},
			parent.Node, dirty, func(p uint64) []byte { return pages[p] })
		if err != nil {
			return err
		}
		if parent, err = b.s.Snapshot(n.ID); err != nil {
			return err
		}
		chain[depth] = parent
	}
	other := b.functions()[0]
	from, err := b.s.Snapshot(other.ID)
	if err != nil {
		return err
	}
	d := newDeployer(from.View)
	const rounds = 300
	deploys, loads := map[int][]time.Duration{}, map[int][]time.Duration{}
	for range rounds {
		for _, depth := range b.o.Depths {
			if err := d.deploy(from.View); err != nil {
				return err
			}
			start := time.Now()
			if err := d.deploy(chain[depth].View); err != nil {
				return err
			}
			deploys[depth] = append(deploys[depth], time.Since(start))
		}
	}
	for range 30 {
		for _, depth := range b.o.Depths {
			id := chain[depth].Node.ID
			chain[depth] = lineage.Snapshot{}
			b.s.Unload(id)
			runtime.GC()
			start := time.Now()
			s, err := b.s.Snapshot(id)
			if err != nil {
				return err
			}
			loads[depth] = append(loads[depth], time.Since(start))
			chain[depth] = s
		}
	}
	for _, depth := range b.o.Depths {
		b.report.Depth = append(b.report.Depth, StoreDepth{depth, micros(Percentile(deploys[depth], 50)), micros(Percentile(loads[depth], 50))})
	}
	return nil
}
