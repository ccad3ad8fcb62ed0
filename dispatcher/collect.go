package dispatcher

import (
	"time"

	"seuss/lineage"
)

// collectEvery is how often the store is brought back to its budget.
const collectEvery = time.Minute

// Collect removes nodes as lineage.Store.GC does. Nodes at which machines of this
// Dispatcher stand, and those under way, are running. Functions stay deployed.
func (d *Dispatcher) Collect(o lineage.GCOptions) (lineage.GCReport, error) {
	d.sweeping.Lock()
	defer d.sweeping.Unlock()
	running := d.running()
	o.Running = func(id string) bool { return running[id] }
	if d.Planner.Active() {
		wanted := d.Planner.Wanted()
		o.Wanted = func(id string) bool { return wanted[id] }
	}
	return d.store.GC(o)
}

// running returns the nodes at which instances stand. A machine is in its pool or
// counted among a node's users, for a moment both. The pools are looked at before
// and after, so that no machine goes unseen that changes from one to the other.
func (d *Dispatcher) running() map[string]bool {
	ids := map[string]bool{}
	d.pools.standing(ids)
	d.snapshots.held(ids)
	d.pools.standing(ids)
	return ids
}

// sweepEvery is how long a cache may hold what has changed.
const sweepEvery = time.Second

// follow lets go of what is kept of nodes and deployments that have changed: whoever
// asks is given what is true, but nobody may ask.
func (d *Dispatcher) follow() {
	for changed := d.store.Catalogue().Watch(); ; {
		select {
		case <-d.tasks.ends:
			return
		case <-changed:
		}
		changed = d.store.Catalogue().Watch() // before looking, so that no change is missed
		d.cache.sweep()
		select {
		case <-d.tasks.ends:
			return
		case <-time.After(sweepEvery):
		}
	}
}

// collectBudget collects if the store has outgrown its budget.
func (d *Dispatcher) collectBudget(time.Time) {
	if d.store.DiskBytes() <= d.opts.NodeBytes {
		return
	}
	report, err := d.Collect(lineage.GCOptions{Budget: d.opts.NodeBytes})
	if err != nil {
		d.log.Error("the store could not be brought back to its budget", "error", err)
		return
	}
	d.log.Info("collected", "removed", len(report.Removed), "bytes_freed", report.BytesFreed, "bytes_left", report.BytesAfter, "within_budget", report.WithinBudget)
}
