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
// while there are mappings for them, and adds the pages of the others to small.
func (p *memoryPlan) mapLong(view *lineage.View, small *dirtytrack.PageSet) (mapped uint64, err error) {
	var long []lineage.Run
	for first, count := range lineage.Diff(p.base, view) {
		for run := range view.Runs(first, count) {
			if run.Count >= mapRun {
				long = append(long, run)
			} else {
				small.AddRange(run.First, run.Count)
			}
		}
	}
	if len(long) == 0 {
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
	slices.SortFunc(runs, func(a, b lineage.Run) int { return cmp.Compare(a.First, b.First) })
	p.base = p.base.With(runs)
	return mapped, nil
}

// layAnew gives up what was mapped since the machine was made, and maps from there.
func (p *memoryPlan) layAnew(view *lineage.View, small *dirtytrack.PageSet) (mapped uint64, err error) {
	if err := p.lay(p.layout, false); err != nil {
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
	same := p.fresh // of those, the ones that are right below
	same.Clear()
	for page := range cold.All() {
		if a, b := p.base.Lookup(page), p.view.Lookup(page); a.Blob == b.Blob && (a.Blob == nil || a.Page == b.Page) {
			same.Add(page)
		}
	}
	for first, count := range same.Runs() {
		if err := p.mem.Discard(first, count); err != nil {
			return mapped, fmt.Errorf("give private pages back: %w", err)
		}
		p.calls++
		p.private.RemoveRange(first, count)
		cold.RemoveRange(first, count)
		mapped += count
	}
	var runs []lineage.Run
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
		p.base = p.base.With(runs)
	}
	return mapped, nil
}
