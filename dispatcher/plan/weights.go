package plan

import "fmt"

// Weighting says what a package weighs in a benefit.
type Weighting string

// The weightings of the study (uniform, time) and bytes, by pages.
const (
	WeighUniform Weighting = "uniform" // 1
	WeighTime    Weighting = "time"    // milliseconds of its import
	WeighPages   Weighting = "pages"   // pages of 4 KiB of its memory
)

// Weightings are all of them.
var Weightings = []Weighting{WeighUniform, WeighTime, WeighPages}

// Inheritance says whether what a package weighs is spread over those that it depends on, so
// that a light prerequisite of a heavy package is worth a node (the lecture's rule 4).
type Inheritance string

// The inheritances of the lecture.
const (
	InheritNone    Inheritance = "none"
	InheritAverage Inheritance = "average" // evenly
	InheritCost    Inheritance = "cost"    // in proportion to the import costs of those
)

// Inheritances are all of them.
var Inheritances = []Inheritance{InheritNone, InheritAverage, InheritCost}

const pagesPerMiB = 256

// Weights returns what each column weighs. Costs may be nil where neither argument needs them.
func (w *Workload) Weights(by Weighting, inherit Inheritance, costs Costs, deps Dependencies) ([]float64, error) {
	out := make([]float64, len(w.Columns))
	var known []Cost
	if by != WeighUniform || inherit == InheritCost {
		var err error
		if known, err = costs.Of(w); err != nil {
			return nil, err
		}
	}
	for i := range out {
		switch by {
		case WeighUniform:
			out[i] = 1
		case WeighTime:
			out[i] = known[i].MS
		case WeighPages:
			out[i] = known[i].MiB * pagesPerMiB
		default:
			return nil, fmt.Errorf("weights %q: want %v", by, Weightings)
		}
	}
	share := func(c int32) float64 { return 1 }
	switch inherit {
	case InheritNone:
		return out, nil
	case InheritAverage:
	case InheritCost:
		share = func(c int32) float64 { return known[c].MS }
	default:
		return nil, fmt.Errorf("inherit %q: want %v", inherit, Inheritances)
	}
	return w.spread(out, deps, share), nil
}

// spread gives the weight of every package to the members of its dependency sets, each of which
// counts by its uses, in proportion to their shares. A package without a set keeps its own.
func (w *Workload) spread(weights []float64, deps Dependencies, share func(int32) float64) []float64 {
	type set struct {
		members []int32
		uses    float64
	}
	sets := make([][]set, len(weights))
	uses := make([]float64, len(weights))
	for _, d := range deps.Sets {
		members, ok := w.indices(d.Packages)
		if !ok {
			continue
		}
		of := w.column[d.Package]
		sets[of] = append(sets[of], set{members, float64(d.Uses)})
		uses[of] += float64(d.Uses)
	}
	out := make([]float64, len(weights))
	for of, weight := range weights {
		if len(sets[of]) == 0 {
			out[of] += weight
			continue
		}
		for _, s := range sets[of] {
			part, total := weight*s.uses/uses[of], 0.0
			for _, m := range s.members {
				total += share(m)
			}
			if total == 0 { // nothing to be in proportion to
				out[of] += part
				continue
			}
			for _, m := range s.members {
				out[m] += part * share(m) / total
			}
		}
	}
	return out
}
