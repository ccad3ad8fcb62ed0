package dispatcher

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"seuss/dispatcher/bounds"
	"seuss/dispatcher/capacity"
	"seuss/dispatcher/chain"
	_ "seuss/dispatcher/contracts/all"
	"seuss/dispatcher/engine"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/instance"
	"seuss/dispatcher/instances"
	"seuss/dispatcher/keyed"
	"seuss/dispatcher/loaded"
	"seuss/dispatcher/outbound"
	"seuss/dispatcher/park"
	"seuss/dispatcher/planner"
	"seuss/dispatcher/pushed"
	"seuss/dispatcher/quota"
	"seuss/dispatcher/state"
	"seuss/dispatcher/state/region"
	"seuss/dispatcher/tasks"
	"seuss/dispatcher/tiers"
	"seuss/images"
	"seuss/images/runtimes"
	_ "seuss/images/runtimes/all"
	"seuss/lineage"
	"seuss/vmm/platform"
)

// DefaultImage is the root image of functions that name none: the default runtime's.
func DefaultImage() string { return runtimes.Default().Name }

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
	// ErrImpure: what came from outside has gone into the state that was to be captured.
	ErrImpure = errors.New("the state is impure")
	// ErrExists: there is a function, or an alias, of that name already.
	ErrExists = errors.New("it exists already")
	// ErrRevision: the function has changed since the caller looked at it.
	ErrRevision = errors.New("the revision is not the current one")
	// ErrUnknownAlias: the function has no alias of that name.
	ErrUnknownAlias = errors.New("unknown alias")
	// ErrInUse: an alias names the version.
	ErrInUse = errors.New("it is in use")
	// ErrFull: a process or its host has no room for one machine more.
	ErrFull = capacity.ErrFull
	// ErrNotAsked: the function ended without asking for the argument.
	ErrNotAsked = errors.New("function did not ask for the argument")
)

// Dispatcher serves invocations from one state directory.
type Dispatcher struct {
	*Deployments
	// Planner lives with plans; nil where nothing can be stored, or Options.Plans is planner.Off.
	Planner *planner.Planner
	// Keeper keeps instances that live on.
	Keeper *instances.Keeper
	// Shared is what functions share.
	Shared *state.Store
	// Chains has what functions have called.
	Chains    *chain.Chains
	opts      Options
	outer     bounds.Outer // of all functions
	platform  platform.Platform
	log       *slog.Logger
	store     *lineage.Store
	host      instance.Host // of all machines
	images    *rootImages
	snapshots *loaded.Snapshots
	cache     *functionCache
	maker     *maker
	pools     *pools
	lot       *park.Lot // where instances that wait are parked
	engine    *engine.Engine
	tasks     *tasks.Group
	costs     costs
	prefixes  prefixes
	events    counters
	ledger    *quota.Ledger // nil without Options.Quota
	past      *planner.Gone
	looking   atomic.Int32 // records of what handlers import that are being written
	sweeping  sync.Mutex   // one removal, collection or reception of nodes at a time

	ownRegions bool // Options.Regions are its own

	instances sync.Map // by request id, while they run; with a VsockDir only
}

// SpoolDir is the folder of a state directory in which archives are unpacked while they
// are imported. It goes when a Dispatcher opens the directory to write.
const SpoolDir = "spool"

// engineDir is the folder of a state directory in which is what was pushed of state.
const engineDir = "engine"

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
	if o.Slots <= 0 {
		o.Slots = o.PoolSize
	}
	if o.Limits == nil {
		limits := capacity.Host{}.Limits()
		o.Limits = &limits
	}
	room := capacity.New(*o.Limits, o.Platform.Capabilities().Machine)
	if err := room.Check(o.PoolSize); err != nil {
		return nil, fmt.Errorf("open dispatcher: %w", err)
	}
	regions := o.Regions == nil
	if regions {
		o.Regions = region.New(region.Options{})
	}
	if o.Budgets == nil {
		o.Budgets = outbound.NewBudgets(o.Slots)
	}
	if o.Progress == nil {
		o.Progress = func(string, float64) {}
	}
	d := &Dispatcher{opts: o, platform: o.Platform, log: o.Log, tasks: tasks.New(), ownRegions: regions, past: planner.NewGone(o.StateDir)}
	store, err := lineage.Open(o.StateDir, lineage.Options{
		ReadOnly: o.ReadOnly, Verify: o.Verify, HotBytes: o.HotBytes, HugePages: o.HugePages,
		Unloaded: func(n *lineage.Node) { d.cache.unloaded(n) },
	})
	if err != nil {
		return nil, fmt.Errorf("open dispatcher: %w", err)
	}
	if !o.ReadOnly {
		// What an import has left that a crash ended.
		if err := os.RemoveAll(filepath.Join(o.StateDir, SpoolDir)); err != nil {
			return nil, fmt.Errorf("open dispatcher: %w", errors.Join(err, store.Close()))
		}
	}
	deployed, err := functions.Open(o.StateDir, functions.Options{ReadOnly: o.ReadOnly})
	if err != nil {
		return nil, fmt.Errorf("open dispatcher: %w", errors.Join(err, store.Close()))
	}
	d.store = store
	d.snapshots = loaded.New(&d.host, store)
	d.host = instance.Host{
		Platform: o.Platform, Room: room, Store: store, Snapshots: d.snapshots.Get, Observer: &d.events, Log: o.Log,
		Background: d.tasks.Background, Closing: d.tasks.Closing,
		ReadOnly: o.ReadOnly, Demand: o.Verify == lineage.VerifyDemand, Prefetch: o.Prefetch,
	}
	d.outer = bounds.Outer{Network: o.Network, HostPorts: o.HostPorts, Timeout: o.FunctionTimeout, MemoryMiB: o.FunctionMemoryMiB, OutputBytes: o.FunctionOutputBytes, Others: o.ForOthers}
	d.Deployments = newDeployments(deployed, &keyed.Locks{}, d.outer.Check)
	d.images = newRootImages(&d.host, images.Store{Dir: filepath.Join(o.StateDir, "images")})
	d.Deployments.catalogue = &runtimes.Catalogue{Store: d.images.store, Pinned: o.RuntimeImages}
	d.lot = park.New(park.Options{Host: functions.DefaultOwner, Instances: o.Instances, Bytes: cmp.Or(o.ParkedBytes, DefaultParkedBytes), Failed: func(err error) {
		d.log.Warn("a parked instance stays as large as it is", "error", err)
	}})
	shared := state.Options{Bytes: o.StateBytes, Host: functions.DefaultOwner}
	d.engine = engine.New(filepath.Join(o.StateDir, engineDir), o.Log)
	if !o.ReadOnly {
		shared.Global = pushed.New(d.engine, o.PushedBytes, functions.DefaultOwner)
	}
	shared.Window = o.Regions.Window
	d.Shared = state.New(shared)
	d.Chains = chain.New(chain.Options{Run: d.chained, Host: functions.DefaultOwner, Asking: o.Slots})
	d.Keeper = newKeeper(d)
	d.pools = newPools(&d.host, room, d.tasks, d.log, poolSizes{o.PoolSize, o.PoolFloor, o.PoolWindow, o.PoolBytes}, d.lot.Want)
	d.costs.ready = d.pools.readyAt
	d.cache = &functionCache{outer: &d.outer, log: d.log, deployments: d.Deployments, nodes: store, snapshots: d.snapshots, images: d.images}
	d.maker = &maker{host: &d.host, outer: &d.outer, store: store, deployed: deployed, images: d.images, snapshots: d.snapshots, pools: d.pools, locks: &keyed.Locks{}, regions: o.Regions, counters: &d.events, progress: o.Progress, loaded: o.Loaded, charges: charges{d}}
	if o.Quota != nil {
		if d.ledger, err = quota.OpenLedger(store); err != nil {
			d.log.Warn("snapshots of imports that were made before are charged to nobody", "error", err)
		}
	}
	if !o.ReadOnly && o.Plans != planner.Off {
		livePlans(d, o.Plans)
	}
	if err := d.Keeper.Restore(); err != nil {
		return nil, fmt.Errorf("open dispatcher: %w", errors.Join(err, store.Close()))
	}
	d.tasks.Background(d.follow)
	if (o.NodeBytes > 0 || o.TierBytes != tiers.Budgets{}) && !o.ReadOnly {
		d.tasks.Every(collectEvery, (&budgets{Dispatcher: d}).collect)
	}
	if n := store.Repaired(); n > 0 {
		d.log.Warn("other users could use the state directory; it is closed to them now", "path", o.StateDir, "entries", n)
	}
	for _, damage := range store.Damaged() {
		d.log.Warn("a damaged file in the state directory is left alone", "path", damage.Path, "error", damage.Err)
	}
	return d, nil
}

// Lot is where instances that wait are parked: who wants a slot that one of them has says
// so there.
func (d *Dispatcher) Lot() *park.Lot { return d.lot }

// Store returns the lineage store, for reading.
func (d *Dispatcher) Store() *lineage.Store { return d.store }

// FunctionStore returns the deployments, for reading.
func (d *Dispatcher) FunctionStore() *functions.Store { return d.Deployments.store }

// Images returns the image store.
func (d *Dispatcher) Images() images.Store { return d.images.store }

// Close waits for running resets, destroys the machines and closes the store.
// Invocations under way must have returned.
func (d *Dispatcher) Close() error {
	d.Chains.Close()
	d.Keeper.Close()
	d.Shared.Close()
	d.engine.Close()
	d.lot.Close()
	d.tasks.Close()
	err := d.pools.close()
	if d.ownRegions {
		d.opts.Regions.Close()
	}
	d.Deployments.store.Close() // before the store gives up the lock
	if err := errors.Join(err, d.store.Close()); err != nil {
		return fmt.Errorf("close dispatcher: %w", err)
	}
	return nil
}
