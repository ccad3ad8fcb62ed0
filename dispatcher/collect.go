package dispatcher

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"seuss/dispatcher/tiers"
	"seuss/guest"
	"seuss/lineage"
)

// collectEvery is how often the store is brought back to its budget.
const collectEvery = time.Minute

// Collect removes nodes as lineage.Store.GC does. Nodes at which machines of this
// Dispatcher stand, and those under way, are running. Functions stay deployed.
func (d *Dispatcher) Collect(o lineage.GCOptions) (lineage.GCReport, error) {
	d.sweeping.Lock()
	defer d.sweeping.Unlock()
	return d.store.GC(collection(d, o))
}

// collection says which nodes are running, and which plans want. sweeping is held.
func collection(d *Dispatcher, o lineage.GCOptions) lineage.GCOptions {
	running := d.running()
	o.Running = func(id string) bool { return running[id] }
	if d.Planner.Active() {
		wanted := d.Planner.Wanted()
		o.Wanted = func(id string) bool { return wanted[id] }
	}
	return o
}

// running returns the nodes at which instances stand. A machine is in its pool or
// counted among a node's users, for a moment both. The pools are looked at before
// and after, so that no machine goes unseen that changes from one to the other.
func (d *Dispatcher) running() map[string]bool {
	ids := map[string]bool{}
	d.pools.standing(ids)
	d.snapshots.Held(ids)
	d.pools.standing(ids)
	d.Keeper.Uses(ids)
	for _, n := range d.store.Kind(lineage.KindFunction) { // on a checkpoint: it cannot be made again
		if parent, err := d.store.Get(n.Parent); err == nil && parent.Kind == lineage.KindInstance {
			ids[n.ID] = true
		}
	}
	return ids
}

// sweepEvery is how long a cache may hold what has changed.
const sweepEvery = time.Second

// follow lets go of what is kept of nodes and deployments that have changed: whoever
// asks is given what is true, but nobody may ask.
func (d *Dispatcher) follow() {
	for changed := d.store.Catalogue().Watch(); ; {
		select {
		case <-d.tasks.Ends():
			return
		case <-changed:
		}
		changed = d.store.Catalogue().Watch() // before looking, so that no change is missed
		d.cache.sweep()
		select {
		case <-d.tasks.Ends():
			return
		case <-time.After(sweepEvery):
		}
	}
}

// FitTiers brings the tiers of a Dispatcher to the budgets of Options.TierBytes. The error matches
// tiers.ErrOver where what must stay takes more.
func FitTiers(d *Dispatcher) (tiers.Report, error) {
	d.sweeping.Lock()
	defer d.sweeping.Unlock()
	return tiers.Fit(d.opts.TierBytes, d.store, &d.images.packages, collection(d, lineage.GCOptions{}))
}

// budgets brings the store, and its tiers, back to what they may take. What cannot be done is
// said when it begins, and not each time.
type budgets struct {
	*Dispatcher
	tiers, nodes string // what was in the way at last
}

func (b *budgets) collect(time.Time) {
	r, err := FitTiers(b.Dispatcher)
	if (r != tiers.Report{}) {
		b.log.Info("tiers were collected", "nodes_removed", r.Nodes, "layers_removed", r.Layers)
	}
	b.say(&b.tiers, "a tier could not be brought back to its budget", err)
	if b.opts.NodeBytes == 0 || b.store.DiskBytes() <= b.opts.NodeBytes {
		b.nodes = ""
		return
	}
	report, err := b.Collect(lineage.GCOptions{Budget: b.opts.NodeBytes})
	if len(report.Removed) > 0 {
		b.log.Info("collected", "removed", len(report.Removed), "bytes_freed", report.BytesFreed, "bytes_left", report.BytesAfter)
	}
	if err == nil && !report.WithinBudget {
		err = fmt.Errorf("the nodes, of %d bytes: %w: pinned, tagged and running nodes and all above them stay", b.opts.NodeBytes, tiers.ErrOver)
	}
	b.say(&b.nodes, "the store could not be brought back to its budget", err)
}

// say logs what is in the way, once while it is the same.
func (b *budgets) say(last *string, text string, err error) {
	now := ""
	if err != nil {
		now = err.Error()
	}
	if now != *last && err != nil {
		b.log.Error(text, "error", err)
	}
	*last = now
}

// RemovedImage says what went.
type RemovedImage struct {
	Image string   `json:"image"` // digest
	Nodes []string `json:"nodes"` // ids of those that went with it
	// Names are those that the image still has: then only the one that was given went.
	Names []string `json:"names,omitempty"`
}

// RemoveImage removes an image, by name or digest, and the nodes that were taken from it,
// for which it asks for cascade. Of an image with other names the name alone is taken away, without cascade.
func (d *Dispatcher) RemoveImage(ref string, cascade bool) (done RemovedImage, err error) {
	d.sweeping.Lock()
	defer d.sweeping.Unlock()
	path, err := d.images.store.Find(ref)
	if err != nil {
		return done, err
	}
	done.Image, done.Nodes = strings.TrimSuffix(filepath.Base(path), guest.ImageSuffix), []string{}
	if done.Names, err = d.images.store.Unname(ref, cascade); err != nil || done.Names != nil {
		return done, err
	}
	for _, n := range d.store.Kind(lineage.KindImage) {
		if n.Info.ImageDigest != done.Image {
			continue
		}
		below := d.descendants(n.Info.ID)
		if len(below) > 0 && !cascade {
			return done, &imageInUseError{ref, len(below)}
		}
		if err := d.store.Remove(n.Info.ID, true); err != nil {
			return done, err
		}
		done.Nodes = append(append(done.Nodes, below...), n.Info.ID)
	}
	return done, d.images.packages.Removing(func() error { return d.images.store.Remove(ref) })
}

// imageInUseError: nodes were taken from an image that is to be removed.
type imageInUseError struct {
	ref   string
	nodes int
}

func (e *imageInUseError) Error() string {
	return fmt.Sprintf("image %s has %d snapshots; remove them too with --cascade", e.ref, e.nodes)
}

func (e *imageInUseError) Unwrap() error { return lineage.ErrHasChildren }

func (d *Dispatcher) descendants(id string) (ids []string) {
	for _, child := range d.store.Children(id) {
		ids = append(append(ids, child.Info.ID), d.descendants(child.Info.ID)...)
	}
	return ids
}
