package dispatcher

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"seuss/dirtytrack"
	"seuss/dispatcher/functions"
	"seuss/guest"
	"seuss/lineage"
	"seuss/vmm"
)

// target is a node that a shell can be brought to: loaded, checked against
// this host, its machine state decoded.
type target struct {
	node  *lineage.Node
	state *vmm.State // nil for an image node: it is booted, not restored
	view  *lineage.View
	depth int
	pages uint64 // that its lineage below the base and imports has changed
	run   mean   // of invocations from it, on machines that stood ready

	callsOnce sync.Once
	calls     map[int]uint32 // see unsupported

	cold  coldState
	users atomic.Int32 // leases that stand at it

	written atomic.Pointer[dirtytrack.PageSet] // by instances in new machines; nil: not known
}

// function is what the request path needs of a deployed function.
type function struct {
	spec      functions.Function
	image     *image
	node      *target   // the function node; nil if it has to be made again
	ancestors []*target // from the image node to the function node's parent
	arguments []*target // argument nodes below the function node
	code      []byte    // of a function that is not in the store
}

// catalog caches functions and targets. The store is the truth: whoever
// changes it calls forget.
type catalog struct {
	d         *Dispatcher
	mu        sync.RWMutex
	functions map[string]*function
	specs     map[string]functions.Function // of functions, and of those whose nodes were unloaded
	targets   map[string]*target
	images    map[string]*image
	changes   uint64                 // counts the calls of forget
	features  atomic.Pointer[string] // the first of a list that this host has all of
	prefixes  map[string]int         // digests of lazy invocations' binding prefixes, for the automatic policy
}

func (c *catalog) init(d *Dispatcher) {
	c.d = d
	c.functions = map[string]*function{}
	c.specs = map[string]functions.Function{}
	c.targets = map[string]*target{}
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
		for id, t := range c.targets { // nodes of earlier deployments are gone
			if t.node.Info.Key.Function != name {
				continue
			}
			if _, err := c.d.store.Get(id); err != nil {
				delete(c.targets, id)
			}
		}
		return
	}
	clear(c.functions)
	clear(c.specs)
	clear(c.targets)
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
			n.Info.Key.Lazy != spec.Lazy || n.Info.ImageDigest != f.image.digest {
			continue // of an earlier deployment
		}
		t, err := c.target(n.Info.ID)
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
	chain, err := c.d.store.Lineage(f.node.node)
	if err != nil {
		return nil, fmt.Errorf("function %q: %w", name, err)
	}
	for _, n := range chain {
		if n.Info.ID == f.node.node.Info.ID {
			continue
		}
		t, err := c.target(n.Info.ID)
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
	t := c.targets[n.ID]
	if t == nil {
		return
	}
	delete(c.targets, n.ID)
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

// target loads a node and checks that this host can run it.
func (c *catalog) target(id string) (*target, error) {
	c.mu.RLock()
	t := c.targets[id]
	c.mu.RUnlock()
	if t != nil {
		return t, nil
	}
	// A Snapshot, because the store unloads nodes when it keeps too many.
	snapshot, err := c.d.store.Snapshot(id)
	if err != nil {
		return nil, err
	}
	n := snapshot.Node
	chain, err := c.d.store.Lineage(n)
	if err != nil {
		return nil, err
	}
	t = &target{node: n, view: snapshot.View, depth: len(chain) - 1}
	for _, a := range chain {
		if k := a.Info.Kind; k == lineage.KindFunction || k == lineage.KindArgument || a == n && k != lineage.KindImage {
			t.pages += a.Info.DeltaPages
		}
	}
	if n.Info.Kind != lineage.KindImage {
		if err := c.d.checkCPU(n); err != nil {
			return nil, err
		}
		t.state = new(vmm.State)
		if err := t.state.UnmarshalBinary(snapshot.State); err != nil {
			return nil, fmt.Errorf("node %.12s: %w", id, err)
		}
		t.state = t.state.Adapt(c.d.platform.CPU())
	}
	c.mu.Lock()
	c.targets[id] = t
	c.mu.Unlock()
	return t, nil
}

// unsupported returns the counts of unsupported system calls that the node's
// memory holds: what was called before it was captured.
func (t *target) unsupported() map[int]uint32 {
	t.callsOnce.Do(func() {
		t.calls = map[int]uint32{}
		var page [lineage.PageSize]byte
		held := ^uint64(0)
		word := func(gpa uint64, n int) uint64 {
			if number := gpa / lineage.PageSize; number != held {
				t.view.CopyPage(page[:], number)
				held = number
			}
			if at := gpa % lineage.PageSize; at+uint64(n) <= lineage.PageSize {
				if n == 4 {
					return uint64(binary.LittleEndian.Uint32(page[at:]))
				}
				return binary.LittleEndian.Uint64(page[at:])
			}
			return 0
		}
		table := word(guest.ControlGPA+guest.ControlENOSYSGPA, 8)
		if end := t.view.Pages() * lineage.PageSize; table == 0 || table > end || end-table < 4*guest.Syscalls {
			return // an image node, or a guest that forged it
		}
		for n := range guest.Syscalls {
			if count := word(table+uint64(4*n), 4); count != 0 {
				t.calls[n] = uint32(count)
			}
		}
	})
	return t.calls
}

// checkCPU refuses a node whose code may have chosen instructions that this
// host has not.
func (d *Dispatcher) checkCPU(n *lineage.Node) error {
	var recorded vmm.CPUFeatures
	recorded.Names = n.Info.CPUFeatures.Named
	if len(recorded.Names) > 0 && d.catalog.features.Load() == &recorded.Names[0] {
		return nil // a node has its parent's list, where that is the same
	}
	host := d.platform.CPU().Features
	recorded.XSaveBytes = host.XSaveBytes // the state's own check is exact
	if missing := recorded.Missing(host); len(missing) > 0 {
		return fmt.Errorf("node %.12s, taken on %s: %w: %v", n.Info.ID, n.Info.CPUFeatures.Opaque, ErrCPU, missing)
	}
	if len(recorded.Names) > 0 {
		d.catalog.features.Store(&recorded.Names[0])
	}
	return nil
}

func (d *Dispatcher) cpuFeatures() lineage.CPUFeatures {
	f := d.platform.CPU().Features
	return lineage.CPUFeatures{Opaque: f.String(), Named: f.Names}
}
