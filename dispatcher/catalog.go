package dispatcher

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"seuss/dispatcher/functions"
	"seuss/dispatcher/instance"
	"seuss/lineage"
)

// function is what the request path needs of a deployed function.
type function struct {
	spec      functions.Function
	image     *image
	node      *instance.Snapshot   // the function node; nil if it has to be made again
	ancestors []*instance.Snapshot // from the image node to the function node's parent
	arguments []*instance.Snapshot // argument nodes below the function node
	code      []byte               // of a function that is not in the store
}

// catalog caches functions and snapshots. The store is the truth: whoever
// changes it calls forget.
type catalog struct {
	d         *Dispatcher
	mu        sync.RWMutex
	functions map[string]*function
	specs     map[string]functions.Function // of functions, and of those whose nodes were unloaded
	snapshots map[string]*instance.Snapshot
	images    map[string]*image
	changes   uint64         // counts the calls of forget
	prefixes  map[string]int // digests of lazy invocations' binding prefixes, for the automatic policy
}

func (c *catalog) init(d *Dispatcher) {
	c.d = d
	c.functions = map[string]*function{}
	c.specs = map[string]functions.Function{}
	c.snapshots = map[string]*instance.Snapshot{}
	c.images = map[string]*image{}
	c.prefixes = map[string]int{}
}

// forget drops what is known about a function and its versions; name "" drops everything.
func (c *catalog) forget(name string) {
	name = functions.BaseName(name)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
	if name != "" {
		for deployment := range c.functions { // its versions as well
			if functions.BaseName(deployment) == name {
				delete(c.functions, deployment)
			}
		}
		for deployment := range c.specs {
			if functions.BaseName(deployment) == name {
				delete(c.specs, deployment)
			}
		}
		for id, t := range c.snapshots { // nodes of earlier deployments are gone
			if t.Node.Info.Key.Function != name {
				continue
			}
			if _, err := c.d.store.Get(id); err != nil {
				delete(c.snapshots, id)
			}
		}
		return
	}
	clear(c.functions)
	clear(c.specs)
	clear(c.snapshots)
	clear(c.images)
}

func (c *catalog) image(name string) (*image, error) {
	c.mu.RLock()
	img := c.images[name]
	c.mu.RUnlock()
	if img != nil {
		return img, nil
	}
	img, err := c.d.openImage(name)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.images[name] = img
	c.mu.Unlock()
	return img, nil
}

// function returns what is known about a deployed function.
func (c *catalog) function(name string) (*function, error) {
	c.mu.RLock()
	f, changes := c.functions[name], c.changes
	c.mu.RUnlock()
	if f != nil {
		return f, nil
	}
	f, err := c.build(name)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	if c.changes == changes { // or what was built may be out of date
		c.functions[name], c.specs[name] = f, f.spec
	}
	c.mu.Unlock()
	return f, nil
}

func (c *catalog) build(name string) (*function, error) {
	c.mu.RLock()
	spec, known := c.specs[name]
	c.mu.RUnlock()
	var err error
	if !known {
		spec, err = c.d.functions.Get(name)
	}
	if errors.Is(err, lineage.ErrNotFound) {
		return nil, fmt.Errorf("%w: %q", ErrUnknownFunction, name)
	} else if err != nil {
		return nil, err
	}
	f := &function{spec: spec}
	if f.image, err = c.image(spec.Image); err != nil {
		return nil, fmt.Errorf("function %q: %w", name, err)
	}
	for _, n := range c.d.store.Function(functions.BaseName(name)) {
		if n.Info.Key.CodeDigest != spec.CodeDigest || n.Info.Key.Handler != spec.Handler ||
			n.Info.Key.Lazy != spec.Lazy || n.Info.ImageDigest != f.image.Digest {
			continue // of an earlier deployment
		}
		t, err := c.snapshot(n.Info.ID)
		if err != nil {
			return nil, fmt.Errorf("function %q: %w", name, err)
		}
		if n.Info.Kind == lineage.KindFunction {
			f.node = t
		} else if n.Info.Kind == lineage.KindArgument {
			f.arguments = append(f.arguments, t)
		}
	}
	if f.node == nil {
		return f, nil
	}
	chain, err := c.d.store.Lineage(f.node.Node)
	if err != nil {
		return nil, fmt.Errorf("function %q: %w", name, err)
	}
	for _, n := range chain {
		if n.Info.ID == f.node.Node.Info.ID {
			continue
		}
		t, err := c.snapshot(n.Info.ID)
		if err != nil {
			return nil, fmt.Errorf("function %q: %w", name, err)
		}
		f.ancestors = append(f.ancestors, t)
	}
	return f, nil
}

// unloaded lets go of a node's memory: the store has too much of it. The function is
// built again, from what is known of it, when it is next asked for.
func (c *catalog) unloaded(n *lineage.Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.snapshots[n.ID]
	if t == nil {
		return
	}
	delete(c.snapshots, n.ID)
	uses := func(f *function) bool {
		return f.node == t || slices.Contains(f.arguments, t) || slices.Contains(f.ancestors, t)
	}
	if n.Kind == lineage.KindFunction { // nearly always, and then only one deployment's
		if f := c.functions[n.Key.Function]; f != nil && uses(f) {
			delete(c.functions, n.Key.Function)
			if f.spec.LastVersion == 0 {
				return
			}
		}
	}
	for name, f := range c.functions {
		if uses(f) {
			delete(c.functions, name)
		}
	}
}

// snapshot returns what is loaded of a node, or loads it.
func (c *catalog) snapshot(id string) (*instance.Snapshot, error) {
	c.mu.RLock()
	s := c.snapshots[id]
	c.mu.RUnlock()
	if s != nil {
		return s, nil
	}
	s, err := c.d.host.Load(id)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.snapshots[id] = s
	c.mu.Unlock()
	return s, nil
}
