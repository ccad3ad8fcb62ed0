package imports

import (
	"slices"
	"sync/atomic"
)

// MaxRuns is how many runs of a function's handler are looked at.
const MaxRuns = 3

// Later is what a function's handler has imported at its first runs, beyond what the load had.
// Each run is of a fresh instance: what a handler imports, it imports every time.
type Later struct {
	Runs int `json:"runs"` // that were looked at, MaxRuns at most
	// Distributions are in the order in which they were first seen.
	Distributions []LaterDistribution `json:"distributions"`
	ModuleCount   int                 `json:"module_count"`       // of all runs, each once
	LeftOut       int                 `json:"left_out,omitempty"` // modules beyond the bounds, the most of a run
	MS            float64             `json:"ms"`                 // of a run, the mean
}

// LaterDistribution is one of them: its figures are means over the runs in which it was
// imported.
type LaterDistribution struct {
	Distribution
	Runs int `json:"runs"` // in which it was
}

// Ran returns a record with what one more run has imported; nil: nothing. r may be nil: of
// the load nothing is known. Beyond MaxRuns it is r.
func (r *Record) Ran(run *Record) *Record {
	var out Record
	if r != nil {
		out = *r
	}
	var l Later
	if out.Later != nil {
		l = *out.Later
	}
	if l.Runs >= MaxRuns {
		return &out
	}
	if run == nil {
		run = &Record{}
	}
	l.Runs++
	l.MS += (run.MS - l.MS) / float64(l.Runs)
	l.LeftOut = max(l.LeftOut, run.LeftOut)
	l.Distributions = slices.Clone(l.Distributions)
	if l.Distributions == nil {
		l.Distributions = []LaterDistribution{}
	}
	for _, d := range run.Distributions {
		at := slices.IndexFunc(l.Distributions, func(o LaterDistribution) bool { return o.Pin() == d.Pin() })
		switch {
		case at >= 0:
			l.Distributions[at] = l.Distributions[at].with(&d)
		case len(l.Distributions) < MaxDistributions:
			l.Distributions = append(l.Distributions, LaterDistribution{d, 1})
		}
	}
	known := make(map[string]bool, len(out.LaterModules))
	for _, m := range out.LaterModules {
		known[m.Name] = true
	}
	out.LaterModules = slices.Clone(out.LaterModules)
	for _, m := range run.Modules {
		if !known[m.Name] && len(out.LaterModules) < MaxModules {
			known[m.Name] = true
			out.LaterModules = append(out.LaterModules, m)
		}
	}
	l.ModuleCount = len(out.LaterModules)
	out.Later = &l
	return &out
}

// with is d with what another run took.
func (d LaterDistribution) with(o *Distribution) LaterDistribution {
	d.Runs++
	n := float64(d.Runs)
	d.MS += (o.MS - d.MS) / n
	d.TotalMS += (o.TotalMS - d.TotalMS) / n
	d.Pages += (o.Pages - d.Pages) / int64(d.Runs)
	d.Modules = max(d.Modules, o.Modules)
	for _, pin := range o.Needs {
		if !slices.Contains(d.Needs, pin) && len(d.Needs) < maxRequires {
			d.Needs = append(slices.Clip(d.Needs), pin)
		}
	}
	return d
}

// Part is the part of the runs in which a distribution was imported.
func (l *Later) Part(d *LaterDistribution) float64 {
	return float64(d.Runs) / float64(max(l.Runs, 1))
}

// Looks counts how many runs of a deployment are still looked at; safe for concurrent use.
type Looks struct {
	known atomic.Bool
	left  atomic.Int32
}

// Begin says, once, how many there are; later calls change nothing.
func (l *Looks) Begin(count func() int) {
	if !l.known.Load() {
		if n := count(); l.known.CompareAndSwap(false, true) {
			l.left.Store(int32(n))
		}
	}
}

// Next reports whether the next run is to be looked at, and counts it.
func (l *Looks) Next() bool { return l.left.Load() > 0 && l.left.Add(-1) >= 0 }

// End says that no more are to be.
func (l *Looks) End() { l.left.Store(0) }

// LooksLeft is how many runs there are to look at beside those of a summary, which may be nil.
func LooksLeft(s *Summary) int {
	if s == nil || s.Later == nil {
		return MaxRuns
	}
	return max(MaxRuns-s.Later.Runs, 0)
}
