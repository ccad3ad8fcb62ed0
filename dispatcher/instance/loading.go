package dispatcher

import (
	"sync/atomic"

	"seuss/lineage"
)

// The cold tier: with lineage.VerifyDemand a node's pages stay in their files until
// a guest touches them. The first run from a node on a fresh machine is recorded;
// what it needed becomes the node's loading set. In a later process that is read, in
// its order, while the guest runs already.

// Prefetch says what becomes of a loading set.
type Prefetch int

const (
	// PrefetchBeside reads it while the guest runs already.
	PrefetchBeside Prefetch = iota
	// PrefetchFirst reads it before the guest runs.
	PrefetchFirst
	// PrefetchNone leaves everything to demand.
	PrefetchNone
)

const (
	// missesShare: a run that misses more than one page for so many in the loading
	// set extends it.
	missesShare = 8
	// leastMisses are not worth writing a file for.
	leastMisses = 32
)

// coldState is what a target needs of the cold tier.
type coldState struct {
	begun atomic.Bool // the first use has read the loading set
	saved atomic.Bool // a recording was stored by this process
	set   atomic.Pointer[lineage.LoadingSet]
}

// prefetch begins to read the node's loading set, at the first use of the node.
func (d *Dispatcher) prefetch(t *target) {
	if d.opts.Verify != lineage.VerifyDemand || t.state == nil || !t.cold.begun.CompareAndSwap(false, true) {
		return
	}
	set, err := d.store.LoadingSet(t.node)
	if err != nil {
		d.log.Warn("a loading set is left out", "error", err)
	}
	t.cold.set.Store(&set)
	if len(set) == 0 || d.opts.Prefetch == PrefetchNone {
		return
	}
	read := func() {
		filled, err := t.view.Prefetch(set, func() bool { return d.closing.Load() })
		d.events.prefetched.Add(filled)
		if err != nil { // whoever needs the pages is told
			d.log.Warn("prefetch a loading set", "node", t.node.ID, "error", err)
		}
	}
	if d.opts.Prefetch == PrefetchFirst {
		read()
		return
	}
	d.background(read)
}

// record begins a recording of what the first run on a machine needs.
func (s *shell) record(d *Dispatcher, t *target) {
	set := t.cold.set.Load()
	if set == nil || d.opts.ReadOnly || t.cold.saved.Load() || s.last != nil {
		return
	}
	s.recording = t
	s.m.Memory().RecordPaging(true, len(*set) == 0)
}

// recorded ends the recording and makes a loading set of it, or adds to that which
// there is if much was missing.
func (s *shell) recorded(d *Dispatcher) {
	t := s.recording
	if t == nil {
		return
	}
	s.recording = nil
	pages := s.m.Memory().PagedIn()
	s.m.Memory().RecordPaging(false, false)
	had := *t.cold.set.Load()
	// In a process that has run others most of it is there: that is no recording.
	if uint64(len(pages)) <= max(leastMisses, had.Len()/missesShare) {
		return
	}
	if !t.cold.saved.CompareAndSwap(false, true) {
		return
	}
	d.background(func() {
		if err := d.store.SaveLoadingSet(t.node, lineage.NewLoadingSet(append(had.Pages(), pages...))); err != nil {
			d.log.Warn("a recording is lost", "error", err)
		}
	})
}
