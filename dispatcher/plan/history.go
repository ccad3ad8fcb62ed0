package plan

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
)

// Loaded is a function with the packages that its load, and its handler later, have been seen
// to import.
type Loaded struct {
	Name     string
	Calls    uint64 // 0 counts as 1
	Packages []LoadedPackage
}

// LoadedPackage is a package that was imported.
type LoadedPackage struct {
	Pin   string // NAME==VERSION
	Cost  Cost   // measured, without what it depends on
	Needs []string
	// Later is 0 for what the load imports, and else the part of the runs in which the
	// handler does, 1 at most.
	Later float64
}

// History is what a state directory knows of its functions, in the forms that [NewWorkload],
// [Cover] and the readers of this package take.
type History struct {
	Calls        []Call
	Costs        Costs // means over the functions that have a package
	Dependencies Dependencies
}

// NewHistory sums up functions. It fails for more of them than a workload may have, and for
// packages that are no NAME==VERSION.
func NewHistory(list []Loaded) (*History, error) {
	if len(list) > MaxFunctions {
		return nil, fmt.Errorf("%d functions, at most %d can be planned for", len(list), MaxFunctions)
	}
	h := &History{Costs: Costs{}}
	measured := map[string]float64{}
	uses := map[string]int{} // by set of packages, the one that it is of first
	for _, f := range list {
		call := Call{Name: f.Name, Packages: []string{}, Calls: int(min(f.Calls, math.MaxInt32))}
		needs := map[string][]string{}
		for _, p := range f.Packages {
			column, err := Canonical(p.Pin)
			if err != nil {
				return nil, fmt.Errorf("function %.80q: %w", f.Name, err)
			}
			if _, twice := needs[column]; twice {
				continue // what the load has imported a part of, the handler may have imported more of
			}
			switch needs[column] = p.Needs; {
			case p.Later == 0:
				call.Packages = append(call.Packages, column)
			case !(p.Later > 0 && p.Later <= 1): // NaN too
				return nil, fmt.Errorf("function %.80q: %s is imported in %g of its runs", f.Name, column, p.Later)
			default:
				if call.Later == nil {
					call.Later = map[string]int{}
				}
				call.Later[column] = max(int(math.Round(p.Later*float64(max(call.Calls, 1)))), 1)
			}
			n := measured[column]
			measured[column]++
			mean := h.Costs[column]
			mean.MS += (p.Cost.MS - mean.MS) / (n + 1)
			mean.MiB += (p.Cost.MiB - mean.MiB) / (n + 1)
			h.Costs[column] = mean
		}
		for column := range needs {
			uses[strings.Join(append([]string{column}, closureOf(column, needs)...), ",")]++
		}
		h.Calls = append(h.Calls, call)
	}
	for column, c := range h.Costs {
		if err := h.Costs.add(column, c); err != nil {
			return nil, err
		}
	}
	for _, set := range slices.Sorted(maps.Keys(uses)) {
		columns := strings.Split(set, ",")
		var err error
		if h.Dependencies.Sets, err = appendDependency(h.Dependencies.Sets, columns[0], columns[1:], uses[set]); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// closureOf returns a package with all that it needs of a function's, however far away,
// sorted.
func closureOf(column string, needs map[string][]string) []string {
	seen := map[string]bool{column: true}
	for next := []string{column}; len(next) > 0; next = next[1:] {
		for _, other := range needs[next[0]] {
			if _, has := needs[other]; has && !seen[other] {
				seen[other] = true
				next = append(next, other)
			}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// WriteTrace writes the functions as [ReadWorkload] reads them.
func (h *History) WriteTrace(w io.Writer) error {
	e := json.NewEncoder(w)
	for _, c := range h.Calls {
		if err := e.Encode(c); err != nil {
			return err
		}
	}
	return nil
}

// WriteCosts writes the costs as [ReadCosts] reads them.
func (h *History) WriteCosts(w io.Writer) error {
	type cost struct {
		MS  float64 `json:"ms"`
		MiB float64 `json:"mb"`
	}
	type version struct {
		Cost cost `json:"cost"`
	}
	type versions struct {
		Versions map[string]version `json:"versions"`
	}
	doc := map[string]versions{}
	for column, c := range h.Costs {
		name, number, _ := strings.Cut(column, "==")
		if doc[name].Versions == nil {
			doc[name] = versions{map[string]version{}}
		}
		doc[name].Versions[number] = version{cost{c.MS, c.MiB}}
	}
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(doc)
}

// WriteDependencies writes the sets as [ReadDependencies] reads them.
func (h *History) WriteDependencies(w io.Writer) error {
	e := json.NewEncoder(w)
	for _, d := range h.Dependencies.Sets {
		if err := e.Encode(struct {
			Package string   `json:"package"`
			Deps    []string `json:"deps"`
			Count   int      `json:"count"`
		}{d.Package, d.Packages, d.Uses}); err != nil {
			return err
		}
	}
	return nil
}
