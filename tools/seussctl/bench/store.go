package bench

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"

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
	ReopenCPUMS     float64 `json:"reopen_cpu_ms"`  // processor time of the same, median
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
	// Pages are checked when invocations and the daemon have them checked by default.
	b.s, err = lineage.Open(b.dir, lineage.Options{HotBytes: storeHotBytes, Verify: lineage.VerifyDemand})
	return err
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
