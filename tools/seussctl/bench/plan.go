package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Where the nodes of a tree are.
const (
	InSnapshots = "snapshots"
	InProcesses = "processes"
)

// Ways that are no method of fitting.
const (
	NoTree      = "no tree"
	DynamicTree = "dynamic" // SOCK's policy
)

// The limits of the experiment, by its issue in SPECIFICATION.md's terms: a measured ratio is
// met where it is at least, or at most, this.
const (
	planEqualNodes = 1.5 // throughput to the processes' at as many nodes
	planEqualBytes = 4   // and at as many bytes
	planNodeBytes  = 0.2 // bytes of a node to those of a process
	planNoTree     = 2   // throughput of the best tree to that of none
	planMostNodes  = 160
)

// PlanRow is one tree on one side, over all pairs of traces.
type PlanRow struct {
	Way    string  `json:"way"`  // method of fitting, NoTree or DynamicTree
	Side   string  `json:"side"` // InSnapshots or InProcesses
	Size   int     `json:"size"` // nodes that were asked for, the root included; 0: any number
	Nodes  int     `json:"nodes"`
	Calls  int     `json:"calls"`
	Rate   float64 `json:"calls_per_second"`
	P50    float64 `json:"p50_us"` // of a call, start to result
	P99    float64 `json:"p99_us"`
	Stored uint64  `json:"stored_bytes,omitempty"` // files of snapshots
	// Memory is what the nodes take, the root not counted: of snapshots each page of their
	// own once, and copies that machines map in place of many small runs; of processes their
	// proportional set sizes and page tables.
	Memory uint64  `json:"memory_bytes"`
	Left   float64 `json:"left,omitempty"` // part of the imports that the plan leaves, as it was predicted
	took   time.Duration
	each   []time.Duration
}

// PlanReport is the whole experiment.
type PlanReport struct {
	Platform string    `json:"platform"`
	Packages []string  `json:"packages"` // modules that functions import two of
	LeftOut  []string  `json:"left_out,omitempty"`
	Pairs    int       `json:"pairs"` // of traces
	Rows     []PlanRow `json:"rows"`
	// First are first invocations of functions that nobody has seen, from the order to deploy
	// them to the answer, one at a time.
	First []Row `json:"first"`
}

// Add takes what one pair of traces has measured.
func (r *PlanReport) Add(rows []PlanRow) {
	for _, row := range rows {
		i := slices.IndexFunc(r.Rows, func(o PlanRow) bool { return o.Way == row.Way && o.Side == row.Side && o.Size == row.Size })
		if i < 0 {
			r.Rows = append(r.Rows, row)
			continue
		}
		sum := &r.Rows[i]
		weight := float64(sum.Calls)
		sum.Left = (sum.Left*weight + row.Left*float64(row.Calls)) / (weight + float64(row.Calls))
		sum.took, sum.Calls, sum.each = sum.took+row.took, sum.Calls+row.Calls, append(sum.each, row.each...)
		sum.Nodes, sum.Stored, sum.Memory = max(sum.Nodes, row.Nodes), max(sum.Stored, row.Stored), max(sum.Memory, row.Memory)
		sum.sumUp()
	}
}

// Row returns a row, nil if it was not measured.
func (r *PlanReport) Row(way, side string, size int) *PlanRow {
	for i := range r.Rows {
		if row := &r.Rows[i]; row.Way == way && row.Side == side && row.Size == size {
			return row
		}
	}
	return nil
}

// Took notes what calls took, each and together.
func (r *PlanRow) Took(each []time.Duration, together time.Duration) {
	r.each, r.took, r.Calls = each, together, len(each)
	r.sumUp()
}

func (r *PlanRow) sumUp() {
	if r.took > 0 {
		r.Rate = float64(r.Calls) / r.took.Seconds()
	}
	r.P50, r.P99 = micros(Percentile(slices.Clone(r.each), 50)), micros(Percentile(slices.Clone(r.each), 99))
}

// RandomPairs are functions of a trace: each imports two of the modules, which are chosen
// uniformly and independently.
func RandomPairs(modules []string, n int, seed uint64) [][]string {
	random := rand.New(rand.NewPCG(seed, 18))
	list := make([][]string, n)
	for i := range list {
		a, b := modules[random.IntN(len(modules))], modules[random.IntN(len(modules))]
		if list[i] = []string{a, b}; a == b {
			list[i] = list[i][:1]
		}
	}
	return list
}

// AtATime calls run for 0 to n-1, so many at a time, and returns what each call took and all
// together. The first error ends it.
func AtATime(ctx context.Context, n, workers int, run func(ctx context.Context, i int) error) (each []time.Duration, together time.Duration, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	each = make([]time.Duration, n)
	var next atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	for range workers {
		all.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				start := time.Now()
				if err := run(ctx, i); err != nil {
					cancel(err)
					return
				}
				each[i] = time.Since(start)
			}
		})
	}
	all.Wait()
	if ctx.Err() != nil {
		return nil, 0, context.Cause(ctx)
	}
	return each, time.Since(began), nil
}

// PlanBars compares the trees that way has fitted with the limits. What was not measured is
// left out.
func PlanBars(r *PlanReport, way string) []Bar {
	var bars []Bar
	least := func(name string, measured, limit float64) {
		bars = append(bars, Bar{Name: name, Measured: measured, Limit: limit, least: true})
	}
	var best, last *PlanRow // ours that is fastest, and the greatest that both sides have
	worst := 0.0
	for i := range r.Rows {
		row := &r.Rows[i]
		if row.Way != way || row.Side != InSnapshots {
			continue
		}
		if best == nil || row.Rate > best.Rate {
			best = row
		}
		if other := r.Row(way, InProcesses, row.Size); other != nil && other.Rate > 0 {
			if ratio := row.Rate / other.Rate; last == nil || ratio < worst {
				worst = ratio
			}
			last = row
		}
	}
	if last != nil {
		other := r.Row(way, InProcesses, last.Size)
		least("throughput to processes' at equal nodes, the worst", worst, planEqualNodes)
		if fit := r.within(best.Memory); fit != nil && fit.Rate > 0 {
			least(fmt.Sprintf("at equal bytes (%d nodes; processes: %d)", best.Nodes, fit.Nodes), best.Rate/fit.Rate, planEqualBytes)
		}
		if last.Nodes > 1 && other.Nodes > 1 && other.Memory > 0 {
			ours, theirs := float64(last.Memory)/float64(last.Nodes-1), float64(other.Memory)/float64(other.Nodes-1)
			bars = append(bars, Bar{Name: fmt.Sprintf("bytes of a node to a process's, %d nodes", last.Nodes), Measured: ours / theirs, Limit: planNodeBytes})
		}
	}
	if none := r.Row(NoTree, InSnapshots, 1); none != nil && best != nil && none.Rate > 0 {
		least(fmt.Sprintf("throughput of the best tree (%d nodes) to none's", best.Nodes), best.Rate/none.Rate, planNoTree)
	}
	return bars
}

// within is the fastest of processes that take at most so many bytes: that of no tree if no
// other does.
func (r *PlanReport) within(bytes uint64) (best *PlanRow) {
	for i := range r.Rows {
		if row := &r.Rows[i]; row.Side == InProcesses && row.Memory <= bytes && (best == nil || row.Rate > best.Rate) {
			best = row
		}
	}
	return best
}

// PlotPlans draws throughput and memory over nodes.
func PlotPlans(r *PlanReport) *Plot {
	p := &Plot{Title: fmt.Sprintf("Functions that import two of %d packages, each invoked once", len(r.Packages)), X: "nodes of the tree",
		Charts: []Chart{{Y: "invocations a second"}, {Y: "MiB of the tree's nodes"}}}
	at := map[string]int{}
	for _, row := range r.Rows {
		name := row.Way + ", " + row.Side
		n, ok := at[name]
		if !ok {
			n = len(p.Charts[0].Lines)
			at[name] = n
			for c := range p.Charts {
				p.Charts[c].Lines = append(p.Charts[c].Lines, Line{Name: name})
			}
		}
		for c, v := range []float64{row.Rate, float64(row.Memory) / (1 << 20)} {
			l := &p.Charts[c].Lines[n]
			l.Points = append(l.Points, Point{float64(row.Nodes), v})
		}
	}
	return p
}
