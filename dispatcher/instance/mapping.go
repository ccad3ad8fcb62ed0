package instance

import (
	"cmp"
	"fmt"
	"slices"

	"seuss/dirtytrack"
	"seuss/lineage"
)

// How a machine's memory is mapped. A mapping of this process is dear where there are a
// thousand machines: a kernel gives 65,530 (docs/decisions/pages.md, "How do a thousand
// machines fit into a process?"). So a new machine maps the Layout of a snapshot that many
// functions share. What a function's snapshots have besides is copied, but for long runs,
// which are mapped, and long stretches of short ones, which are mapped from a copy that the
// snapshot's machines share.

const (
	// layoutPieces is how many mappings the layout of a snapshot takes, at most.
	layoutPieces = 32
	// MachineMappings is how many mappings the memory of a machine may take in any case.
	MachineMappings = 41
	// mostMappings bounds those that one may have where the process has enough of them.
	mostMappings = 512
)

// Room is what a process has for machines.
type Room interface {
	// Take sets aside what one machine takes in any case, Give gives it back.
	Take() error
	Give()
	// TakeMappings sets mappings aside beyond that, GiveMappings gives them back.
	TakeMappings(n int) bool
	GiveMappings(n int)
}

// plenty has as much as one machine may take.
type plenty struct{}

func (plenty) Take() error           { return nil }
func (plenty) Give()                 {}
func (plenty) TakeMappings(int) bool { return true }
func (plenty) GiveMappings(int)      {}

// layout is how new machines map memory that are going to show s: as the nearest snapshot
// that is not a function's own.
func (h *Host) layout(s *Snapshot) (*lineage.Layout, error) {
	below, err := h.sharedBelow(s)
	if err != nil {
		return nil, err
	}
	below.laying.Lock()
	defer below.laying.Unlock()
	if below.laid == nil {
		if below.laid, err = lineage.Lay(below.View, layoutPieces); err != nil {
			return nil, fmt.Errorf("lay node %.12s: %w", below.Node.Info.ID, err)
		}
	}
	if below.laid == nil { // there is no room for it: pages are mapped where runs are long, and else copied
		return lineage.Lay(lineage.NewView(s.View.Pages()), layoutPieces)
	}
	return below.laid, nil
}

func (h *Host) sharedBelow(s *Snapshot) (*Snapshot, error) {
	shared := func(n *lineage.Node) bool {
		return !n.Info.Private()
	}
	if shared(s.Node) {
		return s, nil
	}
	chain, err := h.Store.Lineage(s.Node)
	if err != nil {
		return nil, err
	}
	for _, n := range slices.Backward(chain) {
		if shared(n) {
			return h.Snapshots(n.Info.ID)
		}
	}
	return s, nil
}

// lay maps all of memory as a layout says. Fresh memory shows zeros.
func (p *memoryPlan) lay(l *lineage.Layout, fresh bool) error {
	for _, piece := range l.Pieces {
		var err error
		switch {
		case piece.Flat:
			err = p.mem.MapPager(piece.First, piece.Count, l.Flat, piece.Page)
		case piece.Blob == nil && fresh:
		case piece.Blob == nil || piece.Blob.Paged():
			err = p.mapRun(piece.Run)
		default:
			if err = l.View.Check(piece.First, piece.Count); err == nil {
				err = p.mapRun(piece.Run)
			}
		}
		if err != nil {
			return fmt.Errorf("map pages %d to %d: %w", piece.First, piece.First+piece.Count-1, err)
		}
	}
	p.layout, p.base, p.view, p.resets = l, l.View, nil, 0
	p.laid = p.mem.Mappings()
	clear(p.flats)
	p.flats = p.flats[:0]
	p.private.Clear()
	p.giveMappings()
	return nil
}

// mayMap reports whether one more run may be mapped, which can make two mappings more. What
// a machine has beyond MachineMappings comes from what the process can spare.
func (p *memoryPlan) mayMap() bool {
	need := p.mem.Mappings() + 2 - MachineMappings - p.extra
	if need <= 0 {
		return true
	}
	n := max(need, 16)
	if p.extra+n > mostMappings || !p.spare.TakeMappings(n) {
		return false
	}
	p.extra += n
	return true
}

// trimMappings gives back what the machine has of those and does not need any more, but
// for a few.
func (p *memoryPlan) trimMappings() {
	const few = 16
	if over := p.extra - max(p.mem.Mappings()-MachineMappings, 0) - few; over >= few {
		p.spare.GiveMappings(over)
		p.extra -= over
	}
}

func (p *memoryPlan) giveMappings() {
	if p.extra > 0 {
		p.spare.GiveMappings(p.extra)
		p.extra = 0
	}
}

func (p *memoryPlan) mapRun(run lineage.Run) error {
	p.calls++
	if run.Blob == nil {
		return p.mem.MapZero(run.First, run.Count)
	}
	if run.Blob.Paged() {
		return p.mem.MapPager(run.First, run.Count, run.Blob, run.Page)
	}
	off := run.Blob.DataOffset() + int64(run.Page)*lineage.PageSize
	return p.mem.MapFile(run.First, run.Count, run.Blob.File(), off)
}

// mapLong maps the runs of view that differ from base and are long, the longest first
// while there are mappings for them, then what lies together in the snapshot's own copy,
// and adds the pages of the others to small. Where what was mapped since memory was laid
// leaves no mapping for any of it, that is given up first.
func (p *memoryPlan) mapLong(view *lineage.View, small *dirtytrack.PageSet) (mapped uint64, err error) {
	long := p.splitDiff(view, small)
	if len(long) == 0 && p.apart.Len() == 0 {
		return 0, nil
	}
	together, err := p.together(p.apart)
	if err != nil {
		return 0, err
	}
	if (len(long) > 0 || together != nil) && p.mem.Mappings() > p.laid && !p.mayMap() {
		if err := p.lay(p.layout, false); err != nil {
			return 0, err
		}
		if err := p.check(view); err != nil { // more of it differs now
			return 0, err
		}
		small.Clear()
		long = p.splitDiff(view, small)
	}
	return p.mapRuns(view, long, small)
}

// splitDiff returns the long runs of view that differ from base. Of the others, those that
// lie side by side become apart, and the rest small.
func (p *memoryPlan) splitDiff(view *lineage.View, small *dirtytrack.PageSet) (long []lineage.Run) {
	p.apart.Clear()
	for first, count := range lineage.Diff(p.base, view) {
		eachShort(view, first, count, func(run lineage.Run) { long = append(long, run) }, func(begin, count uint64) {
			if count < mapRun {
				small.AddRange(begin, count)
			} else {
				p.apart.AddRange(begin, count)
			}
		})
	}
	return long
}

// mapRuns is mapLong of what splitDiff has found.
func (p *memoryPlan) mapRuns(view *lineage.View, long []lineage.Run, small *dirtytrack.PageSet) (mapped uint64, err error) {
	slices.SortStableFunc(long, func(a, b lineage.Run) int { return cmp.Compare(b.Count, a.Count) })
	var runs []lineage.Run
	for _, run := range long {
		if !p.mayMap() {
			small.AddRange(run.First, run.Count)
			continue
		}
		if err := p.mapRun(run); err != nil {
			return mapped, err
		}
		mapped += run.Count
		runs = append(runs, run)
		p.private.RemoveRange(run.First, run.Count)
	}
	together, err := p.mapTogether(view, p.apart, &runs)
	if mapped += together; err != nil {
		return mapped, err
	}
	small.Union(p.apart)
	slices.SortFunc(runs, byFirst)
	p.base = p.base.With(runs)
	p.trimMappings()
	return mapped, nil
}

// cool takes private copies back that no run has changed: what is mapped below is the
// view's content already, or is mapped while there are mappings for it.
func (p *memoryPlan) cool() (mapped uint64, err error) {
	cold := p.small
	cold.Clear()
	cold.Union(p.private)
	for page := range p.changed.All() {
		cold.Remove(page)
	}
	right := p.fresh // of those, the ones that are right below
	right.Clear()
	for page := range cold.All() {
		if same(p.base, p.view, page) {
			right.Add(page)
		}
	}
	for first, count := range right.Runs() {
		if err := p.mem.Discard(first, count); err != nil {
			return mapped, fmt.Errorf("give private pages back: %w", err)
		}
		p.calls++
		p.private.RemoveRange(first, count)
		cold.RemoveRange(first, count)
		mapped += count
	}
	var runs []lineage.Run
	together, err := p.mapTogether(p.view, cold, &runs)
	if mapped += together; err != nil {
		return mapped, err
	}
	for first, count := range cold.Runs() {
		for run := range p.view.Runs(first, count) {
			if !p.mayMap() {
				break
			}
			if err := p.mapRun(run); err != nil {
				return mapped, err
			}
			p.private.RemoveRange(run.First, run.Count)
			runs = append(runs, run)
			mapped += run.Count
		}
	}
	if len(runs) > 0 {
		slices.SortFunc(runs, byFirst)
		p.base = p.base.With(runs)
	}
	return mapped, nil
}

func byFirst(a, b lineage.Run) int { return cmp.Compare(a.First, b.First) }

// mapTogether maps long stretches of pages that lie apart in their blobs, such as those of
// the same content, which a blob has once: from a copy in which they lie together, and
// which all machines of the snapshot share. It takes what it maps out of the pages.
func (p *memoryPlan) mapTogether(view *lineage.View, pages *dirtytrack.PageSet, runs *[]lineage.Run) (mapped uint64, err error) {
	l, err := p.together(pages)
	if l == nil || err != nil {
		return 0, err
	}
	for _, piece := range l.Pieces {
		for page, end := piece.First, piece.First+piece.Count; page < end; page++ {
			n := uint64(0)
			for page+n < end && pages.Has(page+n) && (l.View == view || same(l.View, view, page+n)) {
				n++
			}
			if n < mapRun {
				page += n
				continue
			}
			if !p.mayMap() {
				return mapped, nil
			}
			p.calls++
			if err := p.mem.MapPager(page, n, l.Flat, piece.Page+page-piece.First); err != nil {
				return mapped, err
			}
			if !slices.Contains(p.flats, l.Flat) {
				p.flats = append(p.flats, l.Flat)
			}
			for run := range view.Runs(page, n) {
				*runs = append(*runs, run)
			}
			p.private.RemoveRange(page, n)
			pages.RemoveRange(page, n)
			mapped += n
			page += n
		}
	}
	return mapped, nil
}

// together is Host.together of the snapshot that memory is brought to, if so many pages are
// worth it.
func (p *memoryPlan) together(pages *dirtytrack.PageSet) (*lineage.Layout, error) {
	if p.snapshot == nil || pages.Len() < mapRun {
		return nil, nil
	}
	return p.host.together(p.snapshot)
}

// same reports whether two views have the same page of a blob at a page, or zeros.
func same(a, b *lineage.View, page uint64) bool {
	x, y := a.Lookup(page), b.Lookup(page)
	return x.Blob == y.Blob && (x.Blob == nil || x.Page == y.Page)
}

// together is the layout of the stretches of a snapshot whose pages lie apart in their blobs,
// of what it has besides the snapshot below that machines are laid as; nil where there are
// none, or where copies may take no more memory.
func (h *Host) together(s *Snapshot) (*lineage.Layout, error) {
	s.laying.Lock()
	l, known, stretches := s.apart, s.stretched, s.stretches
	s.laying.Unlock()
	if l != nil || known && len(stretches) == 0 {
		return l, nil
	}
	if !known {
		below, err := h.sharedBelow(s)
		if err != nil {
			return nil, err
		}
		stretches = stretchesApart(below.View, s.View)
	}
	s.laying.Lock()
	defer s.laying.Unlock()
	s.stretches, s.stretched = stretches, true
	if s.apart != nil || len(stretches) == 0 {
		return s.apart, nil
	}
	var err error
	if s.apart, err = lineage.LayStretches(s.View, stretches); err != nil {
		return nil, fmt.Errorf("lay pages of node %.12s together: %w", s.Node.Info.ID, err)
	}
	return s.apart, nil
}

// stretchesApart are the stretches where view differs from below that are long, but of
// short runs.
func stretchesApart(below, view *lineage.View) (list []lineage.Stretch) {
	for first, count := range lineage.Diff(below, view) {
		eachShort(view, first, count, nil, func(begin, count uint64) {
			if count >= mapRun {
				list = append(list, lineage.Stretch{First: begin, Count: count})
			}
		})
	}
	return list
}

// eachShort calls short with the stretches of a view's runs that are shorter than mapRun,
// and long, which may be nil, with the others.
func eachShort(view *lineage.View, first, count uint64, long func(lineage.Run), short func(begin, count uint64)) {
	begin := first // of the last stretch of short runs
	for run := range view.Runs(first, count) {
		if run.Count < mapRun {
			continue
		}
		if begin < run.First {
			short(begin, run.First-begin)
		}
		if begin = run.First + run.Count; long != nil {
			long(run)
		}
	}
	if end := first + count; begin < end {
		short(begin, end-begin)
	}
}
