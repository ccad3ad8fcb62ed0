package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"

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
	opts     Options
	platform vmm.Platform
	store    *lineage.Store
	images   images.Store
	host     instance.Host // of all machines
	log      *slog.Logger
	catalog  catalog

	deployMu sync.Mutex // one deployment or explicit capture at a time

	poolMu     sync.Mutex
	pools      map[string]*pool // by image digest
	closed     bool
	closing    atomic.Bool    // what is a hint only stops
	resets     sync.WaitGroup // shells on their way back, machines being made
	sizing     chan struct{}  // closed to end the sizing of pools
	collecting chan struct{}  // closed to end keeping the budget
	events     counters

	instances sync.Map // by request id, while they run; with a VsockDir only

	pageCost instance.Mean // of moving a page into a machine
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
		pools:  map[string]*pool{},
	}
	d.catalog.init(d)
	store, err := lineage.Open(o.StateDir, lineage.Options{ReadOnly: o.ReadOnly, Verify: o.Verify, HotBytes: o.HotBytes, HugePages: o.HugePages, Unloaded: d.catalog.unloaded})
	if err != nil {
		return nil, fmt.Errorf("open dispatcher: %w", err)
	}
	d.store = store
	d.host = instance.Host{
		Platform: o.Platform, Store: store, Snapshots: d.catalog.snapshot, Observer: &d.events, Log: o.Log,
		Background: d.background, Closing: d.closing.Load,
		ReadOnly: o.ReadOnly, Demand: o.Verify == lineage.VerifyDemand, Prefetch: o.Prefetch,
	}
	if o.NodeBytes > 0 && !o.ReadOnly {
		stop := make(chan struct{})
		d.collecting = stop
		d.resets.Go(func() { d.keepBudget(stop) })
	}
	if o.PoolWindow > 0 {
		d.sizing = make(chan struct{})
		d.resets.Add(1)
		go d.sizePools()
	}
	for _, damage := range store.Damaged() {
		d.log.Warn("a damaged file in the state directory is left alone", "path", damage.Path, "error", damage.Err)
	}
	return d, nil
}

// Store returns the lineage store, for reading.
func (d *Dispatcher) Store() *lineage.Store { return d.store }

// Images returns the image store.
func (d *Dispatcher) Images() images.Store { return d.images }

// Close waits for running resets, destroys the shells and closes the store.
// Invocations under way must have returned.
func (d *Dispatcher) Close() error {
	d.closing.Store(true)
	d.poolMu.Lock()
	d.closed = true
	pools := d.pools
	d.pools = nil
	if d.collecting != nil {
		close(d.collecting)
		d.collecting = nil
	}
	if d.sizing != nil {
		close(d.sizing)
		d.sizing = nil
	}
	d.poolMu.Unlock()
	d.resets.Wait()
	var errs []error
	for _, p := range pools {
		errs = append(errs, p.close())
	}
	errs = append(errs, d.store.Close())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close dispatcher: %w", err)
	}
	return nil
}

// background runs f on a goroutine that Close waits for; false means that it is
// too late.
func (d *Dispatcher) background(f func()) bool {
	d.poolMu.Lock()
	defer d.poolMu.Unlock()
	if d.closed {
		return false
	}
	d.resets.Go(f)
	return true
}

// foreground is background for work that the caller does himself.
func (d *Dispatcher) foreground(f func()) bool {
	d.poolMu.Lock()
	if d.closed {
		d.poolMu.Unlock()
		return false
	}
	d.resets.Add(1)
	d.poolMu.Unlock()
	defer d.resets.Done()
	f()
	return true
}

// pool returns the image's pool of shells.
func (d *Dispatcher) pool(img *image) (*pool, error) {
	d.poolMu.Lock()
	defer d.poolMu.Unlock()
	if d.closed {
		return nil, ErrClosed
	}
	p := d.pools[img.Digest]
	if p == nil {
		p = newPool(d, img)
		d.pools[img.Digest] = p
	}
	return p, nil
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
