package instance

import (
	"sync/atomic"

	"seuss/lineage"
)

// With Host.Demand a node's pages stay in their files until a guest touches them. The
// first instance of a snapshot on a new VM is recorded; what it needed becomes the
// node's loading set. In a later process that is read, in its order, while the guest
// runs already.

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

// loadingState is what a process knows of a snapshot's loading set.
type loadingState struct {
	begun atomic.Bool // the first use has read the loading set
	saved atomic.Bool // a recording was stored by this process
	set   atomic.Pointer[lineage.LoadingSet]
}

// BeginLoading begins to read the snapshot's loading set, at its first use. Whoever is
// about to wait for a VM for it calls this before.
func (h *Host) BeginLoading(s *Snapshot) {
	if !h.Demand || s.State == nil || !s.loading.begun.CompareAndSwap(false, true) {
		return
	}
	set, err := h.Store.LoadingSet(s.Node)
	if err != nil {
		h.Log.Warn("a loading set is left out", "error", err)
	}
	s.loading.set.Store(&set)
	switch {
	case len(set) == 0 || h.Prefetch == PrefetchNone:
	case h.Prefetch == PrefetchFirst:
		h.load(s, set)
	default:
		h.Background(func() { h.load(s, set) })
	}
}

func (h *Host) load(s *Snapshot, set lineage.LoadingSet) {
	l, err := h.layout(s)
	var apart *lineage.Layout
	if err == nil {
		apart, err = h.together(s)
	}
	if err != nil {
		h.Log.Warn("prefetch a loading set", "node", s.Node.ID, "error", err)
		return
	}
	filled, err := s.View.Prefetch(set, []*lineage.Layout{l, apart}, h.Closing)
	h.Observer.Prefetched(filled)
	if err != nil { // whoever needs the pages is told
		h.Log.Warn("prefetch a loading set", "node", s.Node.ID, "error", err)
	}
}

// record begins a recording of what the instance needs, which is the first on its VM.
func (vm *VM) record(s *Snapshot) {
	set := s.loading.set.Load()
	if set == nil || vm.host.ReadOnly || s.loading.saved.Load() {
		return
	}
	vm.recording = s
	vm.m.Memory().Paging().Record(true, len(*set) == 0)
}

// recorded ends the recording and makes a loading set of it, or adds to that which
// there is if much was missing.
func (vm *VM) recorded() {
	s := vm.recording
	vm.recording = nil
	pages := vm.m.Memory().Paging().Recorded()
	vm.m.Memory().Paging().Record(false, false)
	had := *s.loading.set.Load()
	// In a process that has run others most of it is there: that is no recording.
	if uint64(len(pages)) <= max(leastMisses, had.Len()/missesShare) {
		return
	}
	if !s.loading.saved.CompareAndSwap(false, true) {
		return
	}
	h := vm.host
	h.Background(func() {
		if err := h.Store.SaveLoadingSet(s.Node, lineage.NewLoadingSet(append(had.Pages(), pages...))); err != nil {
			h.Log.Warn("a recording is lost", "error", err)
		}
	})
}
