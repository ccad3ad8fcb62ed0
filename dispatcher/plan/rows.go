package plan

import (
	"cmp"
	"math/bits"
	"slices"
)

// rows is a workload with its functions put beside others that need the same, so that the
// functions of a node lie in few words of its set.
type rows struct {
	w      *Workload
	needs  [][]int32  // columns by row
	calls  []int      // by row
	first  []int      // function of a row, by its place in the workload
	having [][]uint64 // rows by column, a bit each
	uses   []int      // rows that need a column, by column
	words  int
	once   bool // every row is called once
}

// newRows puts functions that need the same into one row if merge says so.
func newRows(w *Workload, merge bool) *rows {
	order := make([]int, len(w.Functions))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return slices.Compare(w.Functions[a].Packages, w.Functions[b].Packages)
	})
	r := &rows{w: w, once: true}
	for _, i := range order {
		f := &w.Functions[i]
		if last := len(r.needs) - 1; merge && last >= 0 && slices.Equal(r.needs[last], f.Packages) {
			r.calls[last] += f.Calls
			continue
		}
		r.needs, r.calls, r.first = append(r.needs, f.Packages), append(r.calls, f.Calls), append(r.first, i)
	}
	r.words = (len(r.needs) + 63) / 64
	r.having, r.uses = make([][]uint64, len(w.Columns)), make([]int, len(w.Columns))
	all := make([]uint64, r.words*len(w.Columns))
	for c := range r.having {
		r.having[c], all = all[:r.words:r.words], all[r.words:]
	}
	for row, needs := range r.needs {
		for _, c := range needs {
			r.having[c][row/64] |= 1 << (row % 64)
			r.uses[c]++
		}
		r.once = r.once && r.calls[row] == 1
	}
	return r
}

// group is some of the rows: their words that are not zero.
type group struct {
	at   []int32
	bits []uint64
}

// all is every row.
func (r *rows) all() group {
	g := group{at: make([]int32, r.words), bits: make([]uint64, r.words)}
	for row := range r.needs {
		g.bits[row/64] |= 1 << (row % 64)
	}
	for i := range g.at {
		g.at[i] = int32(i)
	}
	return g
}

// with calls f for the words of those rows of a group that need all columns.
func (r *rows) with(g group, columns []int32, f func(at int32, word uint64)) {
	for i, at := range g.at {
		word := g.bits[i]
		for _, c := range columns {
			if word &= r.having[c][at]; word == 0 {
				break
			}
		}
		if word != 0 {
			f(at, word)
		}
	}
}

// needing are the rows that need all columns. It begins with those that few need: most words
// are passed by at once.
func (r *rows) needing(columns []int32) (g group) {
	rare := slices.Clone(columns)
	slices.SortFunc(rare, func(a, b int32) int { return cmp.Or(cmp.Compare(r.uses[a], r.uses[b]), cmp.Compare(a, b)) })
	first := r.having[rare[0]]
	n := 0
	for pass := range 2 { // the second keeps what the first has counted
		if pass == 1 {
			g = group{at: make([]int32, 0, n), bits: make([]uint64, 0, n)}
		}
		for at, word := range first {
			if word == 0 {
				continue
			}
			for _, c := range rare[1:] {
				if word &= r.having[c][at]; word == 0 {
					break
				}
			}
			switch {
			case word == 0:
			case pass == 0:
				n++
			default:
				g.at, g.bits = append(g.at, int32(at)), append(g.bits, word)
			}
		}
	}
	return g
}

// count is the number of calls of those rows of a group that need all columns.
func (r *rows) count(g group, columns []int32) (n int) {
	r.with(g, columns, func(at int32, word uint64) { n += r.callsOf(at, word) })
	return n
}

func (r *rows) callsOf(at int32, word uint64) (n int) {
	if r.once {
		return bits.OnesCount64(word)
	}
	eachBit(at, word, func(row int) { n += r.calls[row] })
	return n
}

// each calls f for every row of a group.
func (g group) each(f func(row int)) {
	for i, at := range g.at {
		eachBit(at, g.bits[i], f)
	}
}

func eachBit(at int32, word uint64, f func(row int)) {
	for ; word != 0; word &= word - 1 {
		f(int(at)*64 + bits.TrailingZeros64(word))
	}
}

// split takes the rows that need all columns out of a group.
func (r *rows) split(g group, columns []int32) (in, out group) {
	taken := make(map[int32]uint64)
	r.with(g, columns, func(at int32, word uint64) {
		in.at, in.bits = append(in.at, at), append(in.bits, word)
		taken[at] = word
	})
	for i, at := range g.at {
		if rest := g.bits[i] &^ taken[at]; rest != 0 {
			out.at, out.bits = append(out.at, at), append(out.bits, rest)
		}
	}
	return in, out
}
