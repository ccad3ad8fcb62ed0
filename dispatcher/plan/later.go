package plan

import (
	"fmt"
	"math"
	"slices"
)

// Fits know functions that need packages; of one whose handler imports some in a part of its
// calls, these calls are a function of their own. What the load imports is needed in each.

// byLater returns calls, those with Later in parts that have none: of packages that are
// imported in fewer calls than others it takes these to be among those.
func byLater(calls []Call) ([]Call, error) {
	if !slices.ContainsFunc(calls, func(c Call) bool { return len(c.Later) > 0 }) {
		return calls, nil
	}
	out := make([]Call, 0, len(calls))
	for _, c := range calls {
		parts, err := c.parts()
		if err != nil {
			return nil, fmt.Errorf("function %.80q: %w", c.Name, err)
		}
		if out = append(out, parts...); len(out) > MaxFunctions {
			return nil, fmt.Errorf("more than %d functions, each counted once more for packages that it imports in a part of its calls: leave those out that are called least", MaxFunctions)
		}
	}
	return out, nil
}

// maxParts bounds what one function is split into.
const maxParts = 16

func (c *Call) parts() ([]Call, error) {
	if len(c.Later) == 0 {
		return []Call{*c}, nil
	}
	all := max(c.Calls, 1)
	var counts []int
	for pin, n := range c.Later {
		if n < 1 || n > all || n > math.MaxInt32 {
			return nil, fmt.Errorf("package %.80q is imported in %d of %d calls", pin, n, all)
		}
		counts = append(counts, n)
	}
	slices.Sort(counts)
	counts = slices.Compact(counts)
	if len(counts) > maxParts {
		return nil, fmt.Errorf("its packages are imported in %d different numbers of calls, at most %d", len(counts), maxParts)
	}
	var list []Call
	if top := counts[len(counts)-1]; top < all {
		list = append(list, Call{Name: c.Name, Packages: c.Packages, Imports: c.Imports, Calls: all - top})
	}
	for i, n := range counts {
		part := Call{Name: c.Name, Packages: slices.Clone(c.Packages), Imports: c.Imports, Calls: n}
		if i > 0 {
			part.Calls -= counts[i-1]
		}
		for pin, in := range c.Later {
			if in >= n {
				part.Packages = append(part.Packages, pin)
			}
		}
		list = append(list, part)
	}
	return list, nil
}
