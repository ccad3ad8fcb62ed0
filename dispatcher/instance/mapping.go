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
// functions share, and what a function's snapshots have besides is copied.

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
		return n.Info.Kind != lineage.KindFunction && n.Info.Kind != lineage.KindArgument
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
// and adds the pages of the others to small.
func (p *memoryPlan) mapLong(view *lineage.View, small *dirtytrack.PageSet) (mapped uint64, err error) {
	var long []lineage.Run
	apart := p.apart
	apart.Clear()
	for first, count := range lineage.Diff(p.base, view) {
		begin, end := first, first // of the last stretch of short runs
		for run := range view.Runs(first, count) {
			if run.Count < mapRun {
				end = run.First + run.Count
				continue
			}
			long = append(long, run)
			p.addShort(begin, end, small)
			begin, end = run.First+run.Count, run.First+run.Count
		}
		p.addShort(begin, end, small)
	}
	if len(long) == 0 && apart.Len() == 0 {
		return 0, nil
	}
	if n := p.mem.Mappings(); n+2*len(long) > MachineMappings+p.extra && n > len(p.layout.Pieces) && !p.mayMap() {
		return p.layAnew(view, small)
	}
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
	together, err := p.mapTogether(view, apart, &runs)
	if mapped += together; err != nil {
		return mapped, err
	}
	small.Union(apart)
	slices.SortFunc(runs, byFirst)
	p.base = p.base.With(runs)
	return mapped, nil
}

// addShort adds a stretch of short runs to those that may lie together, or to small.
func (p *memoryPlan) addShort(begin, end uint64, small *dirtytrack.PageSet) {
	switch {
	case begin == end:
	case end-begin < mapRun:
		small.AddRange(begin, end-begin)
	default:
		p.apart.AddRange(begin, end-begin)
	}
}

// layAnew gives up what was mapped since the machine was made, and maps from there.
func (p *memoryPlan) layAnew(view *lineage.View, small *dirtytrack.PageSet) (mapped uint64, err error) {
	if err := p.lay(p.layout, false); err != nil {
		return 0, err
	}
	if err := p.check(view); err != nil { // more of it differs now
		return 0, err
	}
	small.Clear()
	return p.mapLong(view, small)
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
	if p.snapshot == nil || pages.Len() < mapRun {
		return 0, nil
	}
	l, err := p.snapshot.together(pages)
	if l == nil || err != nil {
		return 0, err
	}
	for _, piece := range l.Pieces {
		if !piece.Flat {
			continue
		}
		for page, end := piece.First, piece.First+piece.Count; page < end; page++ {
			n := uint64(0)
			for page+n < end && pages.Has(page+n) && same(l.View, view, page+n) {
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

// same reports whether two views have the same page of a blob at a page, or zeros.
func same(a, b *lineage.View, page uint64) bool {
	x, y := a.Lookup(page), b.Lookup(page)
	return x.Blob == y.Blob && (x.Blob == nil || x.Page == y.Page)
}

// together is the layout of pages of a snapshot that lie apart in their blobs, of those for
// which the first machine asks; nil where there are none, or no memory for a copy.
func (s *Snapshot) together(pages *dirtytrack.PageSet) (*lineage.Layout, error) {
	s.laying.Lock()
	defer s.laying.Unlock()
	if s.apart != nil {
		return s.apart, nil
	}
	var runs []lineage.Run
	for first, count := range pages.Runs() {
		if count < mapRun {
			continue
		}
		var here []lineage.Run
		for run := range s.View.Runs(first, count) {
			here = append(here, run)
		}
		if uint64(len(here)) > count/mapRun+1 {
			runs = append(runs, here...)
		}
	}
	if len(runs) == 0 {
		return nil, nil
	}
	l, err := lineage.Lay(lineage.NewView(s.View.Pages()).With(runs), layoutPieces)
	if err != nil {
		return nil, fmt.Errorf("lay pages of node %.12s together: %w", s.Node.Info.ID, err)
	}
	s.apart = l
	return l, nil
}
