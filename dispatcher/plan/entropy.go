package plan

import "math"

// entropy is -p log2 p - (1-p) log2 (1-p), with p kept from 0 and 1 as the lecture does.
func entropy(p float64) float64 {
	const least = 1e-15
	p = min(max(p, least), 1-least)
	return -p*math.Log2(p) - (1-p)*math.Log2(1-p)
}

// entropyBenefit is the cost of a node before a split, less its cost after it and that of the
// child, where the cost is the sum over open columns of uses x weight x (1 + penalty x entropy
// of the share of functions that use it).
func (s *splitter) entropyBenefit(n *splitNode, c *candidate) float64 {
	if s.uses == nil {
		s.uses = make([]int, len(s.weights))
	}
	inside := map[int32]bool{}
	for _, column := range c.columns {
		inside[column] = true
	}
	s.countUses(n)
	after := 0
	var moved []int32
	s.with(n.group, c.columns, func(at int32, word uint64) {
		eachBit(at, word, func(row int) {
			after += s.calls[row]
			for _, column := range s.needs[row] {
				if !n.open[column] {
					continue
				}
				if s.uses[column] == 0 {
					moved = append(moved, column)
				}
				s.uses[column] += s.calls[row]
			}
		})
	})
	benefit := 0.0
	term := func(uses, of int, column int32) float64 {
		if uses == 0 || of == 0 {
			return 0
		}
		return float64(uses) * s.weights[column] * (1 + s.Entropy*entropy(float64(uses)/float64(of)))
	}
	for column, uses := range n.uses {
		if uses == 0 {
			continue
		}
		column := int32(column)
		benefit += term(uses, n.total, column) - term(uses-s.uses[column], n.total-after, column)
		if !inside[column] {
			benefit -= term(s.uses[column], after, column)
		}
	}
	for _, column := range moved {
		s.uses[column] = 0
	}
	return benefit
}

// countUses counts how many calls of a node need each column that is open, unless it is known.
func (s *splitter) countUses(n *splitNode) {
	if n.uses != nil {
		return
	}
	n.uses, n.total = make([]int, len(s.weights)), 0
	n.group.each(func(row int) {
		n.total += s.calls[row]
		for _, column := range s.needs[row] {
			if n.open[column] {
				n.uses[column] += s.calls[row]
			}
		}
	})
}
