package pages

import "seuss/lineage/nodefile"

// Each machine that maps a View costs a mapping of its process for each run of pages, and
// a kernel gives a process so many (vm.max_map_count, 65,530). A View has hundreds of
// runs, most of them a page or two of a node among an image's. A Layout shows the same
// pages with few mappings: long runs from where they are, and what lies between them from
// a Flat, a copy that all machines share.

// Layout is how the pages of a View are mapped with few mappings.
type Layout struct {
	View   *View
	Pieces []Piece // ascending, of all pages (Lay), or of some (LayStretches)
	Flat   *Flat   // nil: no piece is of it
}

// Piece is a run of guest pages that takes one mapping. Zero pages have neither a Blob nor
// are they flat.
type Piece struct {
	Run
	Flat bool // it is of the Layout's Flat, from Page on
}

// Lay makes a layout of at most most pieces. Where the bytes that Flats may take of the
// process's memory are used up, it returns none.
func Lay(v *View, most int) (*Layout, error) {
	l := &Layout{View: v}
	flat := uint64(0)
	var parts []part
	for _, g := range group(v, most) {
		p := Piece{Run: g}
		if p.Flat = g.Count > 0 && g.Blob == mixed; p.Flat {
			p.Blob, p.Page = nil, flat
			parts = append(parts, part{page: flat, guest: g.First})
			flat += g.Count
		}
		l.Pieces = append(l.Pieces, p)
	}
	if flat == 0 {
		return l, nil
	}
	var err error
	if l.Flat, err = newFlat(v, flat, parts, false); l.Flat == nil {
		return nil, err
	}
	return l, nil
}

// Stretch is a run of guest pages.
type Stretch struct{ First, Count uint64 }

// LayStretches makes a layout of stretches of a View, which ascend and do not overlap: each is
// a piece of its Flat, whatever it is of. It takes 64 MiB at most, and leaves out what is
// beyond. Where that is used up which Flats of stretches may take of the process's memory,
// it returns none.
func LayStretches(v *View, stretches []Stretch) (*Layout, error) {
	l := &Layout{View: v}
	flat := uint64(0)
	var parts []part
	for _, s := range stretches {
		n := min(s.Count, maxStretchBytes/nodefile.PageSize-flat)
		if n == 0 {
			break
		}
		l.Pieces = append(l.Pieces, Piece{Run: Run{First: s.First, Count: n, Page: flat}, Flat: true})
		parts = append(parts, part{page: flat, guest: s.First})
		flat += n
	}
	var err error
	if l.Flat, err = newFlat(v, flat, parts, true); l.Flat == nil {
		return nil, err
	}
	return l, nil
}

// mixed stands for the Blob of a group of several runs.
var mixed = &Blob{name: "of several blobs"}

// group joins neighbouring runs of a View until there are at most most: those that are
// shorter than the least length with which that is so.
func group(v *View, most int) []Run {
	var runs, groups []Run
	for r := range v.Runs(0, v.pages) {
		runs = append(runs, r)
	}
	for least := uint64(1); ; least *= 2 {
		groups = groups[:0]
		open := false // the last group is of runs that are shorter
		for _, r := range runs {
			short := r.Count < least
			if n := len(groups); short && open {
				groups[n-1].Count += r.Count
				groups[n-1].Blob, groups[n-1].Page = mixed, 0
			} else {
				groups = append(groups, r)
			}
			open = short
		}
		if len(groups) <= max(most, 1) {
			return groups
		}
	}
}

// lacks reports whether pages are missing in the Flat that lie where r does.
func (l *Layout) lacks(r Run) bool {
	return l != nil && l.Flat != nil && !l.Flat.filledGuest(r.First, r.Count)
}
