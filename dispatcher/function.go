package dispatcher

import (
	"fmt"
	"log/slog"
	"slices"

	"seuss/dispatcher/bounds"
	"seuss/dispatcher/chain"
	"seuss/dispatcher/contracts"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/instance"
	"seuss/dispatcher/loaded"
	"seuss/dispatcher/planner"
	"seuss/dispatcher/state"
	"seuss/dispatcher/state/region"
	"seuss/lineage"
)

// function is what the request path needs of a deployed function. It does not change.
type function struct {
	spec      *Deployment
	image     *image
	runtime   int                  // of the image's, that it is started on
	node      *instance.Snapshot   // the function node; nil if it has to be made again
	ancestors []*instance.Snapshot // from the image node to the function node's parent
	arguments []*instance.Snapshot // argument nodes below the function node
	code      []byte               // of a function that is not in the store
	bounds    bounds.Function
	shares    state.Rights
	calls     chain.Rights
	contract  *contracts.Contract // nil: a driver's
	regions   region.Rights       // by the shares that its deployment names; nil: it names none

	changed <-chan struct{} // closed when it has nodes that are not here, or less
	images  uint64          // rootImages.generation
}

func (f *function) uses(s *instance.Snapshot) bool {
	return f.node == s || slices.Contains(f.arguments, s) || slices.Contains(f.ancestors, s)
}

// programs returns the contract of a deployment that is a program's; nil: it is a driver's.
func programs(s *functions.Settings) (*contracts.Contract, error) {
	if s.Program == nil {
		return nil, nil
	}
	return contracts.Of(s)
}

// functionCache builds functions, and keeps each with its deployment as long as neither
// that nor nodes nor image change: it asks each of them.
type functionCache struct {
	outer       *bounds.Outer
	log         *slog.Logger
	deployments *Deployments
	nodes       *lineage.Store
	snapshots   *loaded.Snapshots
	images      *rootImages
	planner     *planner.Planner // nil: nothing is planned
}

// get returns what is known of a deployment.
func (c *functionCache) get(spec *Deployment) (*function, error) {
	if f := spec.built.Load(); f != nil && c.current(f) {
		return f, nil
	}
	f, err := c.build(spec)
	if err != nil {
		return nil, err
	}
	spec.built.Store(f)
	return f, nil
}

func (c *functionCache) current(f *function) bool {
	select {
	case <-f.changed:
		return false
	default:
		return f.images == c.images.generation.Load()
	}
}

// reaches notes what of others a deployment lets the function reach.
func (f *function) reaches(s *functions.Settings) (err error) {
	if f.shares, err = state.ParseRights(s.Shares); err != nil {
		return err
	}
	if f.calls, err = chain.ParseRights(s.Calls); err != nil {
		return err
	}
	shares := f.shares
	f.regions = region.ByShare(func(share string) region.Access { return region.Access(shares[share]) })
	return nil
}

// isOf reports whether a node of a function's is of a deployment of it that runs in an image.
func isOf(n *lineage.Node, f *functions.Function, img *image, runtime int) bool {
	k := &n.Key
	return k.CodeDigest == f.CodeDigest && k.Handler == f.Handler && k.Lazy == f.Lazy && n.ImageDigest == img.Digest && k.Runtime == img.runtimeKey(runtime)
}

func (c *functionCache) build(spec *Deployment) (_ *function, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("function %q: %w", spec.Name, err)
		}
	}()
	name := functions.BaseName(spec.Name)
	f := &function{spec: spec, images: c.images.generation.Load()}
	if f.image, f.runtime, err = c.images.serving(spec.Image, contracts.Runtime(&spec.Settings)); err != nil {
		return nil, err
	}
	if f.contract, err = programs(&spec.Settings); err != nil {
		return nil, err
	}
	if f.bounds, err = c.outer.Of(&spec.Settings); err != nil {
		return nil, err
	}
	if err = f.reaches(&spec.Settings); err != nil {
		return nil, err
	}
	if beyond, _ := c.outer.Exceeds(&spec.Settings); len(beyond) > 0 { // the error would have been Of's
		c.log.Warn("a function has less than it was deployed with", "function", spec.Name, "not_allowed", beyond)
	}
	nodes := c.nodes.Catalogue()
	f.changed = nodes.WatchFunction(name)
	for _, n := range nodes.Function(name) {
		if !isOf(n, &spec.Function, f.image, f.runtime) {
			continue // of an earlier deployment
		}
		s, err := c.snapshots.Get(n.Info.ID)
		if err != nil {
			return nil, err
		}
		if n.Info.Kind == lineage.KindFunction {
			f.node = s
		} else if n.Info.Kind == lineage.KindArgument {
			f.arguments = append(f.arguments, s)
		}
	}
	if f.node == nil {
		f.changed = nodes.Watch() // its image may go, of which no node of the function would tell
		return f, nil
	}
	spec.looks.Begin(func() int { return c.looksAt(f) })
	if startsByPlans(&spec.Function) {
		c.planner.Touched(spec.Name, functions.OwnerOf(name), f.image.Digest, f.image.runtimeKey(f.runtime))
	}
	chain, err := nodes.Lineage(f.node.Node)
	if err != nil {
		return nil, err
	}
	for _, n := range chain[:len(chain)-1] {
		s, err := c.snapshots.Get(n.Info.ID)
		if err != nil {
			return nil, err
		}
		f.ancestors = append(f.ancestors, s)
	}
	return f, nil
}

// unloaded lets go of a node's memory: the store has too much of it. The function is
// built again, from what is known of it, when it is next asked for.
func (c *functionCache) unloaded(n *lineage.Node) {
	s := c.snapshots.Drop(n.ID)
	if s == nil {
		return
	}
	drop := func(spec *Deployment) bool {
		f := spec.built.Load()
		return f != nil && f.uses(s) && spec.built.CompareAndSwap(f, nil)
	}
	if n.Kind == lineage.KindFunction { // nearly always, and then only one deployment's
		if spec := c.deployments.kept(n.Key.Function); spec != nil && drop(spec) && spec.LastVersion == 0 {
			return
		}
	}
	c.deployments.mu.RLock()
	defer c.deployments.mu.RUnlock()
	for _, spec := range c.deployments.known {
		drop(spec)
	}
}

// sweep lets go of what has changed: it is built again if somebody asks.
func (c *functionCache) sweep() {
	c.snapshots.Sweep()
	c.deployments.sweep(c.current)
}
