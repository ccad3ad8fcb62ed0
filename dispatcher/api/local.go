package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/chain"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/imports"
	"seuss/dispatcher/instances"
	"seuss/dispatcher/layers"
	"seuss/dispatcher/planner"
	"seuss/dispatcher/state"
	"seuss/dispatcher/tiers"
	"seuss/lineage"
	"seuss/lineage/oci"
)

// Kept is a store of snapshots as a noun of the service. Nothing runs on it: what
// needs machines is Local's.
type Kept struct {
	Store *lineage.Store
	// Wanted returns the ids of the nodes that plans want; nil: nobody asks.
	Wanted func() map[string]bool
}

// NewKept is Kept of a store with the plans in its directory.
func NewKept(s *lineage.Store) Kept {
	return Kept{s, func() map[string]bool { return planner.WantedIn(s) }}
}

// wanted is Wanted, in any case.
func (k Kept) wanted() map[string]bool {
	if k.Wanted == nil {
		return nil
	}
	return k.Wanted()
}

var _ Snapshots = Kept{}

// Snapshots implements the noun.
func (k Kept) Snapshots(context.Context) ([]*Snapshot, error) {
	return k.SnapshotsWhere(func(*lineage.Node) bool { return true }), nil
}

// SnapshotsWhere is Snapshots of those that are wanted: others are not described, which
// takes files and marks to be looked at.
func (k Kept) SnapshotsWhere(wanted func(*lineage.Node) bool) []*Snapshot {
	list := []*Snapshot{}
	planned := k.wanted()
	for _, n := range k.Store.List() {
		if wanted(n) {
			item := SnapshotOf(k.Store, n)
			item.Planned = planned[n.ID]
			list = append(list, item)
		}
	}
	return list
}

// Snapshot implements the noun.
func (k Kept) Snapshot(_ context.Context, ref string) (*Snapshot, error) {
	return k.describe(k.Store.Get(ref))
}

func (k Kept) describe(n *lineage.Node, err error) (*Snapshot, error) {
	if err != nil {
		return nil, err
	}
	item := SnapshotOf(k.Store, n)
	item.Planned = n.Kind == lineage.KindImport && k.wanted()[n.ID]
	return item, nil
}

// RemoveSnapshot implements the noun.
func (k Kept) RemoveSnapshot(_ context.Context, ref string, cascade bool) error {
	n, err := k.Store.Get(ref)
	if err != nil {
		return err
	}
	return k.Store.Remove(n.ID, cascade)
}

// Collect implements the noun.
func (k Kept) Collect(_ context.Context, ask GC) (lineage.GCReport, error) {
	o, err := ask.options()
	if err != nil {
		return lineage.GCReport{}, err
	}
	wanted := k.wanted()
	o.Wanted = func(id string) bool { return wanted[id] }
	return k.Store.GC(o)
}

func (g *GC) options() (lineage.GCOptions, error) {
	if g.UnusedMS < 0 {
		return lineage.GCOptions{}, fmt.Errorf("collect: unused for %d ms: %w", g.UnusedMS, lineage.ErrInvalid)
	}
	return lineage.GCOptions{Budget: g.BudgetBytes, Unused: time.Duration(g.UnusedMS) * time.Millisecond, Damaged: g.Damaged, DryRun: g.DryRun}, nil
}

// Mark implements the noun.
func (k Kept) Mark(_ context.Context, m Mark) error {
	if m.Action == Untag {
		return k.Store.Marks().RemoveTag(m.Tag)
	}
	n, err := k.Store.Get(m.Node)
	if err != nil {
		return err
	}
	switch m.Action {
	case Pin:
		return k.Store.Marks().Pin(n.ID, m.At)
	case Unpin:
		return k.Store.Marks().Unpin(n.ID)
	case Tag:
		return k.Store.Marks().SetTag(m.Tag, n.ID)
	case Expire:
		return k.Store.Marks().SetExpiry(n.ID, m.At)
	}
	return fmt.Errorf("mark %s: action %q: %w", n.ID, m.Action, lineage.ErrInvalid)
}

// Reform implements the noun.
func (k Kept) Reform(_ context.Context, ref string, ask Reform) (done Reformed, err error) {
	var form lineage.Form
	switch ask.Form {
	case lineage.FormPages.String():
		form = lineage.FormPages
	case lineage.FormDifferences.String():
		form = lineage.FormDifferences
	default:
		return done, fmt.Errorf("form %q: want pages or differences: %w", ask.Form, lineage.ErrInvalid)
	}
	n, err := k.Store.Get(ref)
	if err != nil {
		return done, err
	}
	done.Before, done.After, err = k.Store.Reform(n.ID, form)
	return done, err
}

// Flatten implements the noun.
func (k Kept) Flatten(_ context.Context, ref string, ask Flatten) (*Snapshot, error) {
	n, err := k.Store.Get(ref)
	if err != nil {
		return nil, err
	}
	onto := ""
	if ask.Onto != "" {
		a, err := k.Store.Get(ask.Onto)
		if err != nil {
			return nil, err
		}
		onto = a.ID
	}
	return k.describe(k.Store.Flatten(n.ID, onto))
}

// Local is the service in this process.
type Local struct {
	*dispatcher.Dispatcher
	Kept
	published *layers.Store
}

var _ Hosted = Local{}

// NewLocal makes the service of a dispatcher, which it does not own.
func NewLocal(d *dispatcher.Dispatcher) Local {
	return Local{d, Kept{d.Store(), func() map[string]bool {
		if !d.Planner.Active() {
			return nil
		}
		return d.Planner.Wanted()
	}}, layers.New(d.Store().Dir())}
}

// Values implements the noun.
func (l Local) Values() *state.Store { return l.Shared }

// Layers are the published ones.
func (l Local) Layers() *layers.Store { return l.published }

// LayeredImage is the image of a name with layers above it, the later ones above the earlier.
func (l Local) LayeredImage(ctx context.Context, image string, list []layers.Version) (string, error) {
	return l.published.Image(ctx, l.Dispatcher.Images(), image, list)
}

// Replica is the deployments for the other members of a cluster.
func (l Local) Replica() dispatcher.Replica { return dispatcher.Replica{Dispatcher: l.Dispatcher} }

// Functions implements the noun.
func (l Local) Functions(context.Context) ([]Function, error) {
	records, err := l.Dispatcher.Functions()
	return l.functionsOf(records), err
}

// FunctionsWhere is Functions of some owners, and of them those that are wanted: others
// are not read, or not described.
func (l Local) FunctionsWhere(owners []string, wanted func(key string) bool) ([]Function, error) {
	var records []functions.Function
	var failed error
	for _, owner := range owners {
		list, err := l.Owned(owner)
		for _, f := range list {
			if wanted(f.Name) {
				records = append(records, f)
			}
		}
		failed = errors.Join(failed, err)
	}
	return l.functionsOf(records), failed
}

func (l Local) functionsOf(records []functions.Function) []Function {
	list := []Function{}
	for _, f := range records {
		list = append(list, FunctionOf(l.Kept.Store, l.FunctionStore(), f, l.Dispatcher.Outer()))
	}
	return list
}

// Describe describes a deployment.
func (l Local) Describe(deployment string) (*Function, error) {
	f, err := l.Dispatcher.Function(deployment)
	if err != nil {
		return nil, err
	}
	doc := FunctionOf(l.Kept.Store, l.FunctionStore(), f, l.Outer())
	return &doc, nil
}

// FunctionImports implements the noun.
func (l Local) FunctionImports(_ context.Context, name string) (*imports.Record, error) {
	deployment, err := l.Resolve(name)
	if err != nil {
		return nil, err
	}
	f, err := l.Dispatcher.Function(deployment)
	if err != nil {
		return nil, err
	}
	return ImportsOf(l.FunctionStore(), f)
}

// ImportsOf returns what the load of a deployment's code has imported. The error matches
// lineage.ErrNotFound if that is not known.
func ImportsOf(deployed *functions.Store, f functions.Function) (*imports.Record, error) {
	r, err := deployed.Imports(&f)
	if r == nil && err == nil {
		err = fmt.Errorf("what function %q imports is not known: its runtime does not tell, or it has imported nothing that its image's base had not: %w", f.Name, lineage.ErrNotFound)
	}
	return r, err
}

// Deploy implements the noun.
func (l Local) Deploy(ctx context.Context, spec dispatcher.FunctionSpec) (*Snapshot, error) {
	return l.describe(l.Dispatcher.Deploy(ctx, spec))
}

// Update implements the noun.
func (l Local) Update(_ context.Context, name string, ask Update) (*Function, error) {
	if err := ask.check(name); err != nil {
		return nil, err
	}
	f, err := l.Configure(name, ask.Revision, ask.Apply)
	if err == nil && ask.URL.Set {
		f, err = l.Attach(name, dispatcher.Latest, "", ask.attach)
	}
	if err != nil {
		return nil, fmt.Errorf("update %q: %w", name, err)
	}
	doc := FunctionOf(l.Kept.Store, l.FunctionStore(), f, l.Outer())
	return &doc, nil
}

// RemoveFunction implements the noun.
func (l Local) RemoveFunction(_ context.Context, deployment string) error {
	return l.Dispatcher.RemoveFunction(deployment)
}

// Explain implements the noun.
func (l Local) Explain(_ context.Context, name string, event []byte) ([]dispatcher.Candidate, error) {
	return l.Dispatcher.Explain(name, event)
}

// RemoveSnapshot implements the noun.
func (l Local) RemoveSnapshot(_ context.Context, ref string, cascade bool) error {
	return l.Dispatcher.RemoveNode(ref, cascade)
}

// Collect implements the noun: what runs is kept.
func (l Local) Collect(_ context.Context, ask GC) (lineage.GCReport, error) {
	o, err := ask.options()
	if err != nil {
		return lineage.GCReport{}, err
	}
	return l.Dispatcher.Collect(o)
}

// Base implements the noun.
func (l Local) Base(ctx context.Context, image, runtime string) (*Snapshot, error) {
	return l.describe(l.Dispatcher.Base(ctx, image, runtime))
}

// Import implements the noun.
func (l Local) Import(ctx context.Context, image, runtime string, modules []string) (*Snapshot, error) {
	return l.describe(l.Dispatcher.Import(ctx, image, runtime, modules))
}

// CaptureArgument implements the noun.
func (l Local) CaptureArgument(ctx context.Context, function string, c dispatcher.Capture) (*Snapshot, error) {
	return l.describe(l.Dispatcher.CaptureArgument(ctx, function, c))
}

// Receive implements the noun.
func (l Local) Receive(ctx context.Context, src *oci.Source, tag string) (*Imported, error) {
	done, err := l.Dispatcher.Receive(ctx, src, tag)
	if err != nil {
		return nil, err
	}
	return l.Imported(done), nil
}

// Imported describes what an import did.
func (k Kept) Imported(done *dispatcher.Received) *Imported {
	doc := &Imported{Node: SnapshotOf(k.Store, done.Node), Added: []*Snapshot{}, Bytes: done.Bytes, Skipped: done.Skipped, NameTaken: done.NameTaken}
	for _, n := range done.Added {
		doc.Added = append(doc.Added, SnapshotOf(k.Store, n))
	}
	return doc
}

// ListImages implements the noun.
func (l Local) ListImages(context.Context) ([]Image, error) { return ImagesOf(l.Dispatcher.Images()) }

// RemoveImage implements the noun.
func (l Local) RemoveImage(_ context.Context, ref string, cascade bool) (dispatcher.RemovedImage, error) {
	return l.Dispatcher.RemoveImage(ref, cascade)
}

// Refresh implements the noun.
func (l Local) Refresh(context.Context) error { return l.Dispatcher.Refresh() }

// Pools implements the noun.
func (l Local) Pools(context.Context) ([]dispatcher.PoolStats, error) {
	return l.Dispatcher.Pools(), nil
}

// Tiers implements the noun.
func (l Local) Tiers(context.Context) (tiers.Tiers, error) {
	return l.Dispatcher.Stats().Tiers, nil
}

// Instances implements the noun.
func (l Local) Instances(context.Context) ([]dispatcher.Instance, error) {
	return l.Dispatcher.Instances(), nil
}

// StateDir returns the state directory.
func (l Local) StateDir() string { return l.Kept.Store.Dir() }

// Watch returns a channel that is closed when the snapshots change.
func (l Local) Watch() <-chan struct{} { return l.Kept.Store.Catalogue().Watch() }

// Live keeps instances that live on.
func (l Local) Live() *instances.Keeper { return l.Dispatcher.Keeper }

// Chained has what functions have called.
func (l Local) Chained() *chain.Chains { return l.Dispatcher.Chains }
