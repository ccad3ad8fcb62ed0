package instance

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"seuss/lineage"
	"seuss/vmm/platform"
)

// Host is what the machines of one process share. Its fields are set once; it must
// not be copied after its first use.
type Host struct {
	Platform platform.Platform
	// Store holds the nodes that snapshots are of, and takes those that are captured.
	Store *lineage.Store
	// Snapshots finds the snapshot of a node, by its id: a cache of what Load gives.
	Snapshots func(id string) (*Snapshot, error)
	Room      Room // nil: machines are few
	Observer  Observer
	Log       *slog.Logger
	// Background runs f on a goroutine that somebody waits for. It returns false, and
	// f never runs, where it is too late for that.
	Background func(f func()) bool
	// Closing reports that the process is about to end, and hints need not be followed.
	Closing func() bool
	// ReadOnly: nothing can be stored.
	ReadOnly bool
	// Demand: pages are read, and checked, as guests touch them. Loading sets are
	// recorded then, and read as Prefetch says.
	Demand   bool
	Prefetch Prefetch

	features atomic.Pointer[string] // the first of a list that this host has all of
	machines atomic.Uint64          // that were made
}

// Observer is told what happens on machines. Its methods are called from any
// goroutine and must not block.
type Observer interface {
	// Ran: an instance is over. It took so many page faults of the host, and left its
	// VM with so many private pages.
	Ran(faults, private uint64)
	// Restored: a VM was brought to a snapshot.
	Restored(m Moved)
	// Parked: an instance has left its VM; Resumed: it was brought to one.
	Parked(took time.Duration)
	Resumed(took time.Duration)
	// Captured: a snapshot was made.
	Captured()
	// Prefetched: so many pages were read ahead of the guests that need them.
	Prefetched(pages uint64)
}

// checkCPU refuses a node whose code may have chosen instructions that this host has
// not.
func (h *Host) checkCPU(n *lineage.Node) error {
	recorded := n.Info.CPUFeatures.Named
	if len(recorded) > 0 && h.features.Load() == &recorded[0] {
		return nil // a node has its parent's list, where that is the same
	}
	// The extended state's size is left to the state's own check, which is exact.
	if missing := h.Platform.CPU().Features.Lacks(recorded); len(missing) > 0 {
		return fmt.Errorf("node %.12s, taken on %s: %w: %v", n.Info.ID, n.Info.CPUFeatures.Opaque, ErrCPU, missing)
	}
	if len(recorded) > 0 {
		h.features.Store(&recorded[0])
	}
	return nil
}

func (h *Host) cpuFeatures() lineage.CPUFeatures {
	f := h.Platform.CPU().Features
	return lineage.CPUFeatures{Opaque: f.String(), Named: f.Names}
}
