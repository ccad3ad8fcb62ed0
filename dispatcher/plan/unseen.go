package plan

import (
	"math/rand/v2"
	"slices"
)

// How a cover prepares for functions that the workload has not seen: see withUnseen. What they
// count was chosen by fitting to one half of each training half of the study and evaluating on
// its other half, at 20 to 320 nodes: more than an eighth of the real ones only cost.
const (
	callScale    = 64      // what a call of the workload counts
	maxUnseen    = 1 << 14 // functions that are made up
	unseenEach   = 8       // for each function, at most
	unseenWeight = 8       // what all of one function's count together, for each of its calls
)

// withUnseen adds made-up functions to those of a workload, which count callScale a call. A plan
// that is right for exactly these functions is of little use to the next one, which is like
// them but for some packages: so each lends some weight to functions that have only some of
// its direct packages, with what these depend on. They are the same for the same workload.
func (c *cover) withUnseen(w *Workload, deps Dependencies) *Workload {
	merged := newRows(w, true)
	m := importableFrom(merged, deps)
	out := &Workload{Columns: w.Columns, column: w.column}
	for row, needs := range merged.needs {
		out.Functions = append(out.Functions, Function{Calls: merged.calls[row] * callScale, Packages: needs})
	}
	each := min(unseenEach, maxUnseen/max(len(merged.needs), 1))
	random := rand.New(rand.NewPCG(1, 2))
	for row, needs := range merged.needs {
		direct := m.direct(needs, nil)
		if each == 0 || len(direct) < 2 {
			continue
		}
		for i := range each {
			keep := 0.25 + 0.5*float64(i)/float64(each)
			var some []int32
			for _, d := range direct {
				if random.Float64() < keep {
					some = append(some, m.closure(d, needs)...)
				}
			}
			slices.Sort(some)
			if some = slices.Compact(some); len(some) > 0 {
				out.Functions = append(out.Functions, Function{Calls: max(merged.calls[row]*unseenWeight/each, 1), Packages: some})
			}
		}
	}
	return out
}

// closure is a package with what it depends on as far as a set has it.
func (m *importable) closure(d int32, in []int32) []int32 {
	for _, set := range m.needs[d] {
		if subset(set, in) {
			return set
		}
	}
	return []int32{d}
}
