package dispatcher

import (
	"bytes"
	"fmt"
	"iter"

	"seuss/dirtytrack"
	"seuss/lineage"
	"seuss/vmm"
)

// Thresholds of "copy small, map large". A private page that is rewritten in
// place costs a memcpy; a page that is mapped costs a page fault in the host
// and one in the guest's shadow at its next use, and a system call for each
// run. Measured in docs/decisions/reset.md, "Why is a reset a memcpy?".
const (
	// mapRun is the shortest run of pages, lying together in one blob, that is
	// mapped rather than copied.
	mapRun = 64
	// learnResets is how many resets to the same node compare before they copy.
	// A private page that no run in all of them changed is cold: it goes back to
	// being mapped, and later resets need not touch it.
	learnResets = 6
	// keepPrivate bounds the private pages that a shell keeps for the next
	// request.
	keepPrivate = 8192
)

// layout keeps track of what a machine's memory shows: each page is either what
// base maps there, or a private copy.
type layout struct {
	mem     *vmm.Memory
	tracker dirtytrack.Tracker
	// base is the view whose runs are mapped.
	base *lineage.View
	// private holds the pages that are private copies. Their content is known
	// only right after deploy: then it is the target's.
	private *dirtytrack.PageSet

	target  *lineage.View       // of the last deploy
	resets  int                 // deploys to that same target
	changed *dirtytrack.PageSet // private pages that a run changed since resets was 0

	small, fresh *dirtytrack.PageSet // scratch of move
	access       vmm.Access          // scratch of deploy
}

// moved counts what one deployment did.
type moved struct {
	copied, mapped uint64 // pages
}

func newLayout(mem *vmm.Memory) (layout, error) {
	tracker, err := mem.Tracker()
	if err != nil {
		return layout{}, err
	}
	return layout{
		mem: mem, tracker: tracker,
		private: dirtytrack.NewPageSet(mem.Pages()), changed: dirtytrack.NewPageSet(mem.Pages()),
		small: dirtytrack.NewPageSet(mem.Pages()), fresh: dirtytrack.NewPageSet(mem.Pages()),
	}, nil
}

// collect notes the pages that became private since the last call. faulted says
// whether running the guest caused a host page fault: only then can the guest
// have got new private pages.
func (l *layout) collect(faulted bool) error {
	l.private.Union(l.mem.HostWritten())
	l.mem.HostWritten().Clear()
	l.forgetGiven()
	if !faulted {
		return nil
	}
	if err := l.tracker.Collect(l.private); err != nil {
		return fmt.Errorf("find the machine's private pages: %w", err)
	}
	return nil
}

// forgetGiven takes out of private what the guest has given back where zeros are
// the target's content too.
func (l *layout) forgetGiven() {
	given := l.mem.GivenBack()
	if given.Len() == 0 {
		return
	}
	target := l.target
	if target == nil {
		target = l.base
	}
	for page := range given.All() {
		if l.private.Has(page) && target.Lookup(page).Blob == nil && l.base.Lookup(page).Blob == nil {
			l.private.Remove(page)
		}
	}
	given.Clear()
}

// deploy makes memory show exactly what target holds. collect must have been
// called after the guest last ran.
func (l *layout) deploy(target *lineage.View) (m moved, err error) {
	var diff iter.Seq2[uint64, uint64]
	if target != l.target {
		diff = lineage.Diff(l.base, target)
	}
	l.access.Note(l.mem, l.private, diff)
	if target == l.target {
		m, err = l.reset()
	} else if m, err = l.move(target); err == nil {
		l.target, l.resets = target, 0
		l.changed.Clear()
	}
	if err != nil {
		return m, err
	}
	return m, l.mem.Revoke(&l.access)
}

// reset puts the private pages back to the target that they were last at.
func (l *layout) reset() (moved, error) {
	if l.resets >= learnResets {
		l.copyPrivate()
		return moved{copied: l.private.Len()}, nil
	}
	l.resets++
	before := l.changed.Len()
	ram := l.mem.Bytes()
	for page := range l.private.All() {
		dst, src := pageOf(ram, page), l.target.Bytes(page)
		switch {
		case src == nil && !isZero(dst):
			clear(dst)
			l.changed.Add(page)
		case src != nil && !bytes.Equal(dst, src):
			copy(dst, src)
			l.changed.Add(page)
		}
	}
	m := moved{copied: l.changed.Len() - before}
	if l.resets < learnResets {
		return m, nil
	}
	mapped, err := l.cool()
	m.mapped += mapped
	return m, err
}

// cool maps the private pages that no run has changed.
func (l *layout) cool() (mapped uint64, err error) {
	cold := l.private.Clone()
	for page := range l.changed.All() {
		cold.Remove(page)
	}
	var runs []lineage.Run
	for first, count := range cold.Runs() {
		for run := range l.target.Runs(first, count) {
			if err := l.mapRun(run); err != nil {
				return mapped, err
			}
			runs = append(runs, run)
		}
		mapped += count
	}
	for page := range cold.All() {
		l.private.Remove(page)
	}
	if len(runs) > 0 {
		l.base = l.base.With(runs)
	}
	return mapped, nil
}

// move brings memory from wherever it is to another target.
func (l *layout) move(target *lineage.View) (moved, error) {
	var m moved
	var runs []lineage.Run
	small, fresh := l.small, l.fresh
	small.Clear()
	fresh.Clear()
	// What does not differ from base was checked when base was mapped, or is as the
	// guest touches it. Nothing is changed before the rest is known to be right; after
	// that, it costs a load.
	for first, count := range lineage.Diff(l.base, target) {
		for run := range target.Runs(first, count) {
			if run.Count >= mapRun && run.Blob != nil && run.Blob.Paged() {
				continue // checked as the guest touches it
			}
			if err := target.Check(run.First, run.Count); err != nil {
				return m, err
			}
		}
	}
	for first, count := range lineage.Diff(l.base, target) {
		for run := range target.Runs(first, count) {
			if run.Count >= mapRun {
				if err := l.mapRun(run); err != nil {
					return m, err
				}
				m.mapped += run.Count
				runs = append(runs, run)
			}
			for page := run.First; page < run.First+run.Count; page++ {
				switch {
				case run.Count >= mapRun:
					l.private.Remove(page)
				case l.private.Has(page):
					small.Add(page)
				default:
					small.Add(page)
					fresh.Add(page)
				}
			}
		}
	}
	if len(runs) > 0 {
		l.base = l.base.With(runs)
	}
	if l.private.Len() > keepPrivate {
		if err := l.shrink(small); err != nil {
			return m, err
		}
	}
	// What still differs from base is small: it becomes private and is copied.
	if fresh.Len() > 0 {
		if err := l.mem.Populate(fresh.Runs()); err != nil {
			return m, fmt.Errorf("populate pages of the node: %w", err)
		}
	}
	l.private.Union(small)
	l.target = target
	l.copyPrivate()
	m.copied = l.private.Len()
	return m, nil
}

// copyPrivate gives every private page the target's content.
func (l *layout) copyPrivate() {
	ram := l.mem.Bytes()
	for page := range l.private.All() {
		l.target.CopyPage(pageOf(ram, page), page)
	}
}

// shrink drops the private copies that are not wanted: what base maps shows.
func (l *layout) shrink(wanted *dirtytrack.PageSet) error {
	drop := l.private.Clone()
	for page := range wanted.All() {
		drop.Remove(page)
	}
	for first, count := range drop.Runs() {
		if err := l.mem.Discard(first, count); err != nil {
			return fmt.Errorf("give private pages back: %w", err)
		}
	}
	for page := range drop.All() {
		l.private.Remove(page)
	}
	return nil
}

func (l *layout) mapRun(run lineage.Run) error {
	if run.Blob == nil {
		return l.mem.MapZero(run.First, run.Count)
	}
	if run.Blob.Paged() {
		return l.mem.MapPager(run.First, run.Count, run.Blob, run.Page)
	}
	off := run.Blob.DataOffset() + int64(run.Page)*lineage.PageSize
	return l.mem.MapFile(run.First, run.Count, run.Blob.File(), off)
}

// mapAll maps every run of view into fresh memory.
func (l *layout) mapAll(view *lineage.View) error {
	for run := range view.Runs(0, view.Pages()) {
		if run.Blob == nil {
			continue // fresh memory is zero
		}
		if !run.Blob.Paged() {
			if err := view.Check(run.First, run.Count); err != nil {
				return err
			}
		}
		if err := l.mapRun(run); err != nil {
			return fmt.Errorf("map pages %d to %d: %w", run.First, run.First+run.Count-1, err)
		}
	}
	l.base, l.target, l.resets = view, nil, 0
	l.private.Clear()
	return nil
}

func pageOf(ram []byte, page uint64) []byte {
	return ram[page*lineage.PageSize : (page+1)*lineage.PageSize]
}

var zeroPage [lineage.PageSize]byte

func isZero(page []byte) bool { return bytes.Equal(page, zeroPage[:]) }
