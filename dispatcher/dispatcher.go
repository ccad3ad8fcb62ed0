package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"

	"seuss/dispatcher/functions"
	"seuss/dispatcher/instance"
	"seuss/images"
	"seuss/lineage"
	"seuss/vmm"
)

// DefaultImage is the root image of functions that name none.
const DefaultImage = "python"

// Errors. Those that are not listed come from the packages below and say what
// failed on what.
var (
	// ErrUnknownFunction: no function of that name is deployed.
	ErrUnknownFunction = errors.New("unknown function")
	// ErrNoImage: no root image of that name has been built.
	ErrNoImage = errors.New("no such image")
	// ErrBadEvent: the event is not JSON, too large, or not an object where one is needed.
	ErrBadEvent = errors.New("bad event")
	// ErrClosed: the Dispatcher was closed.
	ErrClosed = errors.New("dispatcher is closed")
	// ErrNotLazy: argument snapshots need a function deployed with lazy arguments.
	ErrNotLazy = errors.New("function was not deployed with lazy arguments")
	// ErrExists: there is a function, or an alias, of that name already.
	ErrExists = errors.New("it exists already")
	// ErrRevision: the function has changed since the caller looked at it.
	ErrRevision = errors.New("the revision is not the current one")
	// ErrUnknownAlias: the function has no alias of that name.
	ErrUnknownAlias = errors.New("unknown alias")
	// ErrInUse: an alias names the version.
	ErrInUse = errors.New("it is in use")
	// ErrNotAsked: the function ended without asking for the argument.
	ErrNotAsked = errors.New("function did not ask for the argument")
)

// Dispatcher serves invocations from one state directory.
type Dispatcher struct {
	opts      Options
	platform  vmm.Platform
	store     *lineage.Store
	functions *functions.Store
	images    images.Store
	host      instance.Host // of all machines
	log       *slog.Logger
	catalog   catalog

	deployMu sync.Mutex // one deployment or explicit capture at a time

	tasks  *tasks
	pools  *pools
	costs  costs
	events counters

	instances sync.Map // by request id, while they run; with a VsockDir only
}

// Open opens the state directory. The platform must outlive the Dispatcher.
func Open(o Options) (*Dispatcher, error) {
	if o.Platform == nil {
		return nil, errors.New("open dispatcher: no platform given")
	}
	if o.PoolSize <= 0 {
		o.PoolSize = DefaultPoolSize
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := checkVsock(&o); err != nil {
		return nil, fmt.Errorf("open dispatcher: %w", err)
	}
	if o.Network != nil && o.Network.Log == nil {
		o.Network.Log = o.Log
	}
	if o.Progress == nil {
		o.Progress = func(string, float64) {}
	}
	d := &Dispatcher{
		opts: o, platform: o.Platform, log: o.Log,
		images: images.Store{Dir: filepath.Join(o.StateDir, "images")},
		tasks:  newTasks(),
	}
	d.catalog.init(d)
	store, err := lineage.Open(o.StateDir, lineage.Options{ReadOnly: o.ReadOnly, Verify: o.Verify, HotBytes: o.HotBytes, HugePages: o.HugePages, Unloaded: d.catalog.unloaded})
	if err != nil {
		return nil, fmt.Errorf("open dispatcher: %w", err)
	}
	d.store = store
	if d.functions, err = functions.Open(o.StateDir, functions.Options{ReadOnly: o.ReadOnly}); err != nil {
		return nil, fmt.Errorf("open dispatcher: %w", errors.Join(err, store.Close()))
	}
	d.host = instance.Host{
		Platform: o.Platform, Store: store, Snapshots: d.catalog.snapshot, Observer: &d.events, Log: o.Log,
		Background: d.tasks.background, Closing: d.tasks.closing.Load,
		ReadOnly: o.ReadOnly, Demand: o.Verify == lineage.VerifyDemand, Prefetch: o.Prefetch,
	}
	d.pools = newPools(&d.host, d.tasks, d.log, poolSizes{o.PoolSize, o.PoolFloor, o.PoolWindow, o.PoolBytes})
	d.costs.ready = d.pools.readyAt
	if o.NodeBytes > 0 && !o.ReadOnly {
		d.tasks.every(collectEvery, d.collectBudget)
	}
	for _, damage := range store.Damaged() {
		d.log.Warn("a damaged file in the state directory is left alone", "path", damage.Path, "error", damage.Err)
	}
	return d, nil
}

// Store returns the lineage store, for reading.
func (d *Dispatcher) Store() *lineage.Store { return d.store }

// FunctionStore returns the deployments, for reading.
func (d *Dispatcher) FunctionStore() *functions.Store { return d.functions }

// Images returns the image store.
func (d *Dispatcher) Images() images.Store { return d.images }

// Close waits for running resets, destroys the machines and closes the store.
// Invocations under way must have returned.
func (d *Dispatcher) Close() error {
	d.tasks.close()
	err := d.pools.close()
	d.functions.Close() // before the store gives up the lock
	if err := errors.Join(err, d.store.Close()); err != nil {
		return fmt.Errorf("close dispatcher: %w", err)
	}
	return nil
}

// image is a root image that machines can be made for.
type image struct {
	*instance.Image
	root *lineage.Node
}

// openImage finds an image by name and registers its root node. The content is
// checked against its digest when the root node is first made.
func (d *Dispatcher) openImage(name string) (*image, error) {
	if name == "" {
		name = DefaultImage
	}
	path, err := d.images.Find(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %q (build it with: seussctl image build): %w", ErrNoImage, name, err)
	}
	img, root, err := d.host.OpenImage(name, path)
	if err != nil {
		return nil, err
	}
	return &image{img, root}, nil
}

func (d *Dispatcher) checkContext(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("cancelled: %w", err)
	}
	return nil
}
