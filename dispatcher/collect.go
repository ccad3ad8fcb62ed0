package dispatcher

import (
	"slices"
	"time"

	"seuss/dispatcher/instance"
	"seuss/lineage"
)

// collectEvery is how often the store is brought back to its budget.
const collectEvery = time.Minute

// Collect removes nodes as lineage.Store.GC does. Nodes at which machines of this
// Dispatcher stand, and those under way, are running. Functions stay deployed.
func (d *Dispatcher) Collect(o lineage.GCOptions) (lineage.GCReport, error) {
	d.deployMu.Lock() // what hangs on a node that is being made is not known yet
	defer d.deployMu.Unlock()
	running := d.running()
	o.Running = func(id string) bool { return running[id] }
	report, err := d.store.GC(o)
	if o.DryRun {
		return report, err
	}
	var gone []*lineage.Node
	for _, r := range report.Removed {
		if r.Node == nil {
			continue // a damaged file
		}
		if _, lerr := d.store.Get(r.ID); lerr != nil {
			gone = append(gone, r.Node)
		}
	}
	d.catalog.gone(gone)
	return report, err
}

// running returns the nodes at which instances stand. A machine is in its pool or
// counted among a node's users, for a moment both. The pools are looked at before
// and after, so that no machine goes unseen that changes from one to the other.
func (d *Dispatcher) running() map[string]bool {
	ids := map[string]bool{}
	d.pools.standing(ids)
	d.catalog.mu.RLock()
	for id, t := range d.catalog.snapshots {
		if t.Held() {
			ids[id] = true
		}
	}
	d.catalog.mu.RUnlock()
	d.pools.standing(ids)
	return ids
}

// gone forgets nodes that were removed.
func (c *catalog) gone(nodes []*lineage.Node) {
	if len(nodes) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
	for _, n := range nodes {
		delete(c.snapshots, n.ID)
		if n.Kind == lineage.KindImage {
			clear(c.images)
		}
	}
	for name, f := range c.functions {
		lost := func(t *instance.Snapshot) bool { return t != nil && c.snapshots[t.Node.ID] != t }
		if lost(f.node) || slices.ContainsFunc(f.ancestors, lost) || slices.ContainsFunc(f.arguments, lost) {
			delete(c.functions, name)
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
