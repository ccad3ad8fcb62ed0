package dispatcher

import (
	"fmt"

	"seuss/dirtytrack"
	"seuss/lineage"
	"seuss/vmm"
)

// Thresholds of "copy small, map large". A private page that is rewritten in
// place costs a memcpy; a page that is mapped costs a page fault in the host
// and one in the guest's shadow at its next use, and a system call for each
// run. Measured in RATIONALE.md, "Why is a reset a memcpy?".
const (
	// mapRun is the shortest run of pages, lying together in one blob, that is
	// mapped rather than copied when the shell has no private pages there.
	mapRun = 64
	// keepPrivate bounds the private pages that a shell keeps for the next
	// request; beyond it those that the node has no use for are given back.
	keepPrivate = 8192
)

// layout keeps track of what a shell's memory shows: each page is either what
// base maps there, or a private copy.
type layout struct {
	mem *vmm.Memory
	// base is the view whose runs are mapped.
	base *lineage.View
	// private holds the pages that are private copies. Their content is
	// known only right after deploy: the guest writes to them.
	private *dirtytrack.PageSet
	tracker dirtytrack.Tracker
}

// moved counts what one deployment did.
type moved struct {
	copied, mapped uint64 // pages
}

// collect notes the pages that became private since the last call.
// guestFaulted says whether the vCPU's thread took a page fault: only then can
// the guest have got new private pages.
func (l *layout) collect(guestFaulted bool) error {
	l.private.Union(l.mem.HostWritten())
	l.mem.HostWritten().Clear()
	if !guestFaulted {
		return nil
	}
	if err := l.tracker.Collect(l.private); err != nil {
		return fmt.Errorf("find the machine's private pages: %w", err)
	}
	return nil
}

// deploy makes memory show exactly what target holds. collect must have been
// called after the guest last ran.
func (l *layout) deploy(target *lineage.View) (moved, error) {
	var m moved
	// Long runs that differ are mapped; that moves base towards target.
	if target != l.base {
		runs, err := l.mapLarge(target, &m)
		if err != nil {
			return m, err
		}
		if len(runs) > 0 {
			l.base = l.base.With(runs)
		}
		// What still differs is small: it becomes private and is copied below.
		if err := l.mem.Populate(func(yield func(first, count uint64) bool) {
			for first, count := range lineage.Diff(l.base, target) {
				if !yield(first, count) {
					return
				}
			}
		}); err != nil {
			return m, fmt.Errorf("populate pages of the node: %w", err)
		}
		for first, count := range lineage.Diff(l.base, target) {
			l.private.AddRange(first, count)
		}
	}
	if err := l.shrink(target); err != nil {
		return m, err
	}
	ram := l.mem.Bytes()
	for page := range l.private.All() {
		dst := ram[page*lineage.PageSize : (page+1)*lineage.PageSize]
		if src := target.Bytes(page); src != nil {
			copy(dst, src)
		} else {
			clear(dst)
		}
	}
	m.copied = l.private.Len()
	return m, nil
}

// mapLarge maps the runs of target that differ from base, are long, and hold
// no private page. It returns them.
func (l *layout) mapLarge(target *lineage.View, m *moved) ([]lineage.Run, error) {
	var mapped []lineage.Run
	for first, count := range lineage.Diff(l.base, target) {
		if count < mapRun {
			continue
		}
		for run := range target.Runs(first, count) {
			if run.Count < mapRun {
				continue
			}
			if err := l.mapRun(run); err != nil {
				return nil, err
			}
			for page := run.First; page < run.First+run.Count; page++ {
				l.private.Remove(page)
			}
			m.mapped += run.Count
			mapped = append(mapped, run)
		}
	}
	return mapped, nil
}

func (l *layout) mapRun(run lineage.Run) error {
	if run.Blob == nil {
		return l.mem.MapZero(run.First, run.Count)
	}
	off := run.Blob.DataOffset() + int64(run.Page)*lineage.PageSize
	return l.mem.MapFile(run.First, run.Count, run.Blob.File(), off)
}

// shrink gives private pages back when there are too many: where base shows
// what target wants, dropping the copy is enough.
func (l *layout) shrink(target *lineage.View) error {
	if l.private.Len() <= keepPrivate {
		return nil
	}
	differ := dirtytrack.NewPageSet(l.mem.Pages())
	for first, count := range lineage.Diff(l.base, target) {
		differ.AddRange(first, count)
	}
	for first, count := range l.private.Clone().Runs() {
		start := first
		flush := func(end uint64) error {
			if end == start {
				return nil
			}
			for page := start; page < end; page++ {
				l.private.Remove(page)
			}
			return l.mem.Discard(start, end-start)
		}
		for page := first; page < first+count; page++ {
			if differ.Has(page) {
				if err := flush(page); err != nil {
					return err
				}
				start = page + 1
			}
		}
		if err := flush(first + count); err != nil {
			return err
		}
	}
	return nil
}

// mapAll maps every run of view into fresh memory.
func (l *layout) mapAll(view *lineage.View) error {
	for run := range view.Runs(0, view.Pages()) {
		if run.Blob == nil {
			continue // fresh memory is zero
		}
		if err := l.mapRun(run); err != nil {
			return fmt.Errorf("map pages %d to %d: %w", run.First, run.First+run.Count-1, err)
		}
	}
	l.base = view
	l.private.Clear()
	return nil
}
