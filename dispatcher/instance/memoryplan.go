package instance

import (
	"bytes"
	"fmt"
	"iter"

	"seuss/dirtytrack"
	"seuss/guest"
	"seuss/lineage"
	"seuss/vmm"
)

// Thresholds of "copy small, map large". A private page that is rewritten in
// place costs a memcpy; a page that is mapped costs a page fault in the host
// and one in the guest's shadow at its next use, and a system call and a mapping
// of the process for each run. Measured in docs/decisions/reset.md, "Why is a reset a memcpy?".
const (
	// mapRun is the shortest run of pages, lying together in one blob, or in a copy
	// that the snapshot's machines share, that is mapped rather than copied.
	mapRun = 64
	// learnResets is how many resets to the same node compare before they copy.
	// A private page that no run in all of them changed is cold: it goes back to
	// being mapped, and later resets need not touch it.
	learnResets = 6
	// keepPrivate bounds the private pages that a machine keeps for the next
	// request.
	keepPrivate = 8192
)

// memoryPlan keeps track of what a machine's memory shows: each page is either what
// base maps there, or a private copy.
type memoryPlan struct {
	mem     *vmm.Memory
	tracker dirtytrack.Tracker
	layout  *lineage.Layout // that was mapped at first
	// base is the view that is mapped: the layout's, and what was mapped since.
	base  *lineage.View
	spare Room // of the process's mappings
	extra int  // that the machine has of those
	laid  int  // mappings that the layout takes
	// flats are those that were mapped since it was: they count as memory of the process
	// for as long as a machine shows them.
	flats []*lineage.Flat
	// private holds the pages that are private copies. Their content is known
	// only right after deploy: then it is the view's.
	private *dirtytrack.PageSet

	host     *Host
	snapshot *Snapshot // of which view is, where machines share what they map of it; may be nil

	view    *lineage.View       // of the last deploy
	resets  int                 // deploys to that same view
	changed *dirtytrack.PageSet // private pages that a run changed since resets was 0

	// ran says that a guest has run since the last deploy. Until then the content of
	// private pages is known: the view's, but for those that the monitor has written.
	ran     bool
	written *dirtytrack.PageSet

	calls        uint64              // see Moved
	small, fresh *dirtytrack.PageSet // scratch of move
	apart        *dirtytrack.PageSet // scratch of mapLong
	access       vmm.Access          // scratch of deploy
}

// Moved counts what bringing a machine to a snapshot has moved.
type Moved struct {
	Copied, Mapped uint64 // pages
	Compared       uint64 // pages that were looked at to see whether they had to be copied
	Calls          uint64 // system calls that have changed how memory is mapped
}

func newMemoryPlan(h *Host, mem *vmm.Memory, spare Room) (memoryPlan, error) {
	tracker, err := mem.Tracker()
	if err != nil {
		return memoryPlan{}, err
	}
	if spare == nil || !mem.SharesWindow() { // it is another process that maps them
		spare = plenty{}
	}
	return memoryPlan{
		host: h, mem: mem, tracker: tracker, spare: spare,
		private: dirtytrack.NewPageSet(mem.Pages()), changed: dirtytrack.NewPageSet(mem.Pages()),
		written: dirtytrack.NewPageSet(mem.Pages()), small: dirtytrack.NewPageSet(mem.Pages()), fresh: dirtytrack.NewPageSet(mem.Pages()),
		apart: dirtytrack.NewPageSet(mem.Pages()),
	}, nil
}

// collect notes the pages that became private since the last call. faulted says
// whether running the guest caused a host page fault: only then can the guest
// have got new private pages.
func (p *memoryPlan) collect(faulted bool) error {
	p.private.Union(p.mem.HostWritten())
	p.written.Union(p.mem.HostWritten())
	p.mem.HostWritten().Clear()
	p.forgetGiven()
	if !faulted {
		return nil
	}
	if err := p.tracker.Collect(p.private); err != nil {
		return fmt.Errorf("find the machine's private pages: %w", err)
	}
	return nil
}

// forgetGiven takes out of private what the guest has given back where zeros are
// the view's content too.
func (p *memoryPlan) forgetGiven() {
	given := p.mem.GivenBack()
	if given.Len() == 0 {
		return
	}
	view := p.view
	if view == nil {
		view = p.base
	}
	for page := range given.All() {
		if p.private.Has(page) && view.Lookup(page).Blob == nil && p.base.Lookup(page).Blob == nil {
			p.private.Remove(page)
		}
	}
	given.Clear()
}

// deploy makes memory show exactly what view holds. collect must have been
// called after the guest last ran.
func (p *memoryPlan) deploy(view *lineage.View) (m Moved, err error) {
	var diff iter.Seq2[uint64, uint64]
	if view != p.view {
		diff = lineage.Diff(p.base, view)
	}
	p.access.Note(p.mem, p.private, diff)
	p.calls = 0
	if view == p.view {
		m, err = p.reset()
	} else if m, err = p.move(view); err == nil {
		p.view, p.resets = view, 0
		p.changed.Clear()
	}
	m.Calls = p.calls
	if err != nil {
		return m, err
	}
	p.ran = false
	p.written.Clear()
	return m, p.mem.Revoke(&p.access)
}

// reset puts the private pages back to the view that they were last at.
func (p *memoryPlan) reset() (Moved, error) {
	if p.resets >= learnResets {
		return Moved{Copied: p.private.Len()}, p.copyPrivate()
	}
	p.resets++
	before := p.changed.Len()
	ram := p.mem.Bytes()
	for page := range p.private.All() {
		dst, src := pageOf(ram, page), p.view.Bytes(page)
		switch {
		case src == nil && !guest.IsZero(dst):
			clear(dst)
			p.changed.Add(page)
		case src != nil && !bytes.Equal(dst, src):
			copy(dst, src)
			p.changed.Add(page)
		}
	}
	m := Moved{Copied: p.changed.Len() - before, Compared: p.private.Len()}
	if p.resets < learnResets {
		return m, nil
	}
	mapped, err := p.cool()
	m.Mapped += mapped
	return m, err
}

// move brings memory from wherever it is to another view.
func (p *memoryPlan) move(view *lineage.View) (Moved, error) {
	var m Moved
	small, fresh := p.small, p.fresh
	small.Clear()
	fresh.Clear()
	// Nothing is changed before this is known to be right.
	if err := p.check(view); err != nil {
		return m, err
	}
	var err error
	if m.Mapped, err = p.mapLong(view, small); err != nil {
		return m, err
	}
	for page := range small.All() {
		if !p.private.Has(page) {
			fresh.Add(page)
		}
	}
	if p.private.Len() > keepPrivate {
		if err := p.shrink(small); err != nil {
			return m, err
		}
	}
	// What still differs from base is small: it becomes private and is copied.
	if fresh.Len() > 0 {
		if err := p.mem.Populate(fresh.Runs()); err != nil {
			return m, fmt.Errorf("populate pages of the node: %w", err)
		}
		for range fresh.Runs() {
			p.calls++
		}
	}
	p.private.Union(small)
	if p.ran || p.view == nil {
		p.view = view
		m.Copied = p.private.Len()
		return m, p.copyPrivate()
	}
	// What was private shows the view that it was at: the rest is right already.
	wrong := fresh
	wrong.Union(p.written)
	for first, count := range lineage.Diff(p.view, view) {
		wrong.AddRange(first, count)
	}
	p.view = view
	ram := p.mem.Bytes()
	for page := range wrong.All() {
		if p.private.Has(page) {
			if err := view.CopyPage(pageOf(ram, page), page); err != nil {
				return m, err
			}
			m.Copied++
		}
	}
	return m, nil
}

// check makes sure that what differs from base is right, but for what is going to be mapped
// so that its pages are checked as the guest touches them. If one of those is copied after
// all, for want of mappings, or because it is private already, CopyPage checks it.
func (p *memoryPlan) check(view *lineage.View) error {
	for first, count := range lineage.Diff(p.base, view) {
		for run := range view.Runs(first, count) {
			if run.Count >= mapRun && run.Blob != nil && run.Blob.Paged() {
				continue
			}
			if err := view.Check(run.First, run.Count); err != nil {
				return err
			}
		}
	}
	return nil
}

// copyPrivate gives every private page the view's content.
func (p *memoryPlan) copyPrivate() error {
	ram := p.mem.Bytes()
	for page := range p.private.All() {
		if err := p.view.CopyPage(pageOf(ram, page), page); err != nil {
			return err
		}
	}
	return nil
}

// shrink drops the private copies that are not wanted: what base maps shows.
func (p *memoryPlan) shrink(wanted *dirtytrack.PageSet) error {
	drop := p.private.Clone()
	for page := range wanted.All() {
		drop.Remove(page)
	}
	for first, count := range drop.Runs() {
		if err := p.mem.Discard(first, count); err != nil {
			return fmt.Errorf("give private pages back: %w", err)
		}
		p.calls++
	}
	for page := range drop.All() {
		p.private.Remove(page)
	}
	return nil
}

// candidates are the pages that may differ from the parent's: the private ones, and
// those where another view is mapped. collect must have been called.
func (p *memoryPlan) candidates(parent *lineage.View) (*dirtytrack.PageSet, error) {
	pages := p.private.Clone()
	for first, count := range lineage.Diff(p.base, parent) {
		// What is read there must be there, and right.
		if err := p.base.Check(first, count); err != nil {
			return nil, err
		}
		pages.AddRange(first, count)
	}
	return pages, nil
}

func pageOf(ram []byte, page uint64) []byte {
	return ram[page*lineage.PageSize : (page+1)*lineage.PageSize]
}
