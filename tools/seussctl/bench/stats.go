// Package bench measures start paths against each other in one run: samples of
// all paths are taken in turns, so that whatever else the machine does hits
// all of them alike. It also provides what functions are measured against:
// Python started anew, a forking zygote, and a C program.
//
// Units: durations are time.Duration; in reports microseconds.
//
// Ownership: a Baseline owns its processes and its directory until Close.
//
// Locks: none; a measurement runs on one goroutine.
package bench

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Row is what one path measured.
type Row struct {
	Path string  `json:"path"`
	N    int     `json:"n"` // samples
	P50  float64 `json:"p50_us"`
	P99  float64 `json:"p99_us"`
}

// Depth is the restore time at one depth of the lineage.
type Depth struct {
	Depth int     `json:"depth"`
	P50   float64 `json:"p50_us"`
}

// Report is a whole measurement.
type Report struct {
	Platform          string  `json:"platform"` // that ran the guests
	Rows              []Row   `json:"rows"`
	Depth             []Depth `json:"depth"`
	FunctionNodeBytes uint64  `json:"function_node_bytes"`
}

// Row returns the row of a path, and whether it was measured.
func (r *Report) Row(path string) (Row, bool) {
	i := slices.IndexFunc(r.Rows, func(row Row) bool { return row.Path == path })
	if i < 0 {
		return Row{}, false
	}
	return r.Rows[i], true
}

// Percentile returns the nearest-rank percentile: the smallest sample that at
// least p percent (0 < p <= 100) of all samples do not exceed; zero without
// samples. It sorts samples.
func Percentile[T cmp.Ordered](samples []T, p float64) T {
	if len(samples) == 0 {
		var zero T
		return zero
	}
	slices.Sort(samples)
	rank := int(math.Ceil(p / 100 * float64(len(samples))))
	return samples[min(max(rank, 1), len(samples))-1]
}

// NewRow sums up the samples of a path.
func NewRow(path string, samples []time.Duration) Row {
	return Row{path, len(samples), micros(Percentile(samples, 50)), micros(Percentile(samples, 99))}
}

// NewDepth sums up restore times at one depth.
func NewDepth(depth int, samples []time.Duration) Depth {
	return Depth{depth, micros(Percentile(samples, 50))}
}

// micros rounds to a tenth of a microsecond.
func micros(d time.Duration) float64 { return math.Round(float64(d)/100) / 10 }
