package dispatcher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"seuss/dispatcher/bounds"
	"seuss/dispatcher/contracts"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/imports"
	"seuss/dispatcher/instance"
	"seuss/dispatcher/keyed"
	"seuss/dispatcher/loaded"
	"seuss/dispatcher/planner"
	"seuss/dispatcher/quota"
	"seuss/dispatcher/state/region"
	"seuss/dispatcher/surroundings"
	"seuss/guest"
	"seuss/images/runtimes"
	"seuss/lineage"
)

// maker finds the snapshots that functions start from, and makes those that there are
// not: base, imports, function. Who makes one holds its lock, and that of no other:
// others wait for it who need the same, and nobody else.
type maker struct {
	host      *instance.Host
	outer     *bounds.Outer
	store     *lineage.Store
	deployed  *functions.Store
	images    *rootImages
	snapshots *loaded.Snapshots
	pools     *pools
	locks     *keyed.Locks // by what is made
	planner   *planner.Planner
	regions   *region.Host
	counters  *counters
	charges   charges // of what is made in somebody's name
	beside    bool    // on machines of its own, which are made only where there is room for them
	progress  func(step string, fraction float64)
	loaded    func(Loaded) // nil: nobody wants to know
	others    Others       // nil: there are none
}

// make finds the child of a node that is wanted, or has it made.
func (m *maker) make(ctx context.Context, parent string, wanted func(*lineage.Info) bool, key string, make func() (*instance.Snapshot, error)) (*instance.Snapshot, error) {
	find := func() *lineage.Node {
		for _, n := range m.store.Children(parent) {
			if wanted(&n.Info) {
				return n
			}
		}
		return nil
	}
	n := find()
	if n == nil {
		unlock, err := m.locks.Lock(ctx, key)
		if err != nil {
			return nil, err
		}
		defer unlock()
		if n = find(); n == nil { // or somebody else has made it
			if err := ctx.Err(); err != nil {
				return nil, fmt.Errorf("cancelled: %w", err)
			}
			return make()
		}
	}
	return m.snapshots.Get(n.ID)
}

// boot boots an image on a machine of its own until the driver of a runtime is ready.
func (m *maker) boot(img *image, runtime int) (*instance.Instance, error) {
	root, err := m.snapshots.Get(img.root.ID)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	vm, err := m.pools.make(img, root)
	if err != nil {
		return nil, err
	}
	i, err := instance.Boot(vm, runtime, root)
	if err != nil {
		return nil, err
	}
	i.Restored = time.Since(began)
	return i, nil
}

// base returns the image's base snapshot of a runtime.
func (m *maker) base(ctx context.Context, img *image, runtime int) (*instance.Snapshot, error) {
	key := lineage.Key{Runtime: img.runtimeKey(runtime)}
	wanted := func(i *lineage.Info) bool {
		return i.Kind == lineage.KindBase && i.ABIVersion == guest.KernelVersion && i.Key.Runtime == key.Runtime
	}
	return m.make(ctx, img.root.ID, wanted, "the base of image "+img.Digest+" "+key.Runtime, func() (*instance.Snapshot, error) {
		m.progress("booting image "+img.Name, -1)
		i, err := m.boot(img, runtime)
		if err != nil {
			return nil, err
		}
		defer i.Destroy()
		m.progress("capturing the base snapshot", -1)
		return i.Capture(instance.Capture{Kind: lineage.KindBase, Key: key, Saved: i.Restored})
	})
}

// Bounds of what is imported in snapshots of its own, one below the other.
const (
	MaxImports     = 256 // modules
	maxImportBytes = 256 // of a module's name
)

func checkImports(modules []string) error {
	if len(modules) > MaxImports {
		return fmt.Errorf("%d imports, at most %d are allowed: %w", len(modules), MaxImports, lineage.ErrInvalid)
	}
	for _, name := range modules {
		if name == "" || len(name) > maxImportBytes {
			return fmt.Errorf("import %.40q is not of 1 to %d bytes: %w", name, maxImportBytes, lineage.ErrInvalid)
		}
	}
	return nil
}

// lend makes an instance for something to be captured.
func (m *maker) lend(ctx context.Context, img *image, s *instance.Snapshot) (loan, error) {
	if m.beside {
		return m.pools.beside(img, s)
	}
	return m.pools.lend(ctx, nil, img, s, false)
}

// imported walks down one import node for each module: functions that share a prefix
// of their imports share the nodes. Those that are made are charged to owner; "": nobody.
func (m *maker) imported(ctx context.Context, imageName, runtimeName, owner string, modules []string) (_ *instance.Snapshot, _ *image, runtime int, _ error) {
	if err := checkImports(modules); err != nil {
		return nil, nil, 0, err
	}
	img, runtime, err := m.images.serving(imageName, runtimeName)
	if err != nil {
		return nil, nil, 0, err
	}
	s, err := m.base(ctx, img, runtime)
	for n := 0; err == nil && n < len(modules); n++ {
		s, err = m.imports(ctx, img, s, owner, modules[:n+1], 1)
	}
	return s, img, runtime, err
}

// imports returns the snapshot below parent in which the last n of the modules are
// imported too.
func (m *maker) imports(ctx context.Context, img *image, parent *instance.Snapshot, owner string, modules []string, n int) (*instance.Snapshot, error) {
	wanted := func(i *lineage.Info) bool {
		return i.Kind == lineage.KindImport && slices.Equal(i.Key.Imports, modules)
	}
	added := modules[len(modules)-n:]
	name := strings.Join(added, ", ")
	return m.make(ctx, parent.Node.ID, wanted, fmt.Sprintf("import %s below %.12s", name, parent.Node.ID), func() (*instance.Snapshot, error) {
		if err := m.charges.within(owner, parent.Node.ID); err != nil { // before anything takes long
			return nil, fmt.Errorf("import %s: %w", name, err)
		}
		m.progress("importing "+name, -1)
		l, err := m.lend(ctx, img, parent)
		if err != nil {
			return nil, err
		}
		defer l.release(false, nil)
		began := time.Now()
		if err := l.Converse(ctx, began.Add(loadTimeout)).Import(added...); err != nil {
			return nil, fmt.Errorf("import %s: %w", name, err)
		}
		saved := time.Since(began)
		s, err := m.charges.capture(ctx, owner, parent.Node.ID, func() (*instance.Snapshot, error) {
			s, err := l.Capture(instance.Capture{Kind: lineage.KindImport, Key: lineage.Key{Imports: slices.Clone(modules)}, Saved: saved})
			if err == nil {
				m.charges.note(owner, s.Node.ID)
			}
			return s, err
		})
		if errors.Is(err, quota.ErrExceeded) {
			err = fmt.Errorf("import %s: %w", name, err)
		}
		return s, err
	})
}

// function returns the snapshot with the code loaded, below parent.
func (m *maker) function(ctx context.Context, img *image, runtime int, f *functions.Function, code []byte, parent *instance.Snapshot) (*instance.Snapshot, error) {
	contract, err := programs(&f.Settings)
	if err != nil {
		return nil, err
	}
	key := lineage.Key{Function: functions.BaseName(f.Name), Handler: f.Handler, CodeDigest: f.CodeDigest, Lazy: f.Lazy, Runtime: img.runtimeKey(runtime)}
	if contract != nil {
		key.Contract = contract.Name
	}
	wanted := func(i *lineage.Info) bool {
		k := &i.Key
		return i.Kind == lineage.KindFunction && k.Function == key.Function && k.Handler == key.Handler &&
			k.CodeDigest == key.CodeDigest && k.Lazy == key.Lazy
	}
	return m.make(ctx, parent.Node.ID, wanted, "function "+key.Function, func() (*instance.Snapshot, error) {
		l, err := m.lend(ctx, img, parent)
		if err != nil {
			return nil, err
		}
		defer l.release(false, nil)
		began := time.Now()
		shared := m.regions.Set(functions.OwnerOf(f.Name), key.Function, nil)
		defer shared.Close()
		if err := instance.Share(ctx, l.Instance, &shared, began.Add(loadTimeout)); err != nil {
			return nil, err
		}
		session := l.Converse(ctx, began.Add(loadTimeout))
		var told []byte
		if contract == nil {
			var request []byte
			if request, err = m.around(img, runtime, f, code); err == nil {
				told, err = session.Load(request)
			}
		} else if err = contracts.Become(session, code); err == nil {
			key.NextKey, err = m.await(ctx, img, l.Instance, contract, f, code, began.Add(loadTimeout))
		}
		saved := time.Since(began)
		var imported *imports.Record
		if err == nil && contract == nil {
			imported = m.decodeImports(f, told)
			err = m.warmUp(ctx, l.Instance, &function{spec: &Deployment{Function: *f}, image: img, runtime: runtime}, code)
		}
		if told := l.Report(); m.loaded != nil && !errors.Is(context.Cause(ctx), errCame) { // what was printed is no invocation's
			m.loaded(Loaded{f, told.Logs, told.LogsCut, err})
		}
		if err == nil && errors.Is(context.Cause(ctx), errCame) {
			err = errCame
		}
		if err != nil {
			return nil, err
		}
		s, err := l.Capture(instance.Capture{Kind: lineage.KindFunction, Key: key, Saved: saved})
		if err != nil {
			return nil, err
		}
		parent.Node.Hit() // code has been loaded in it: what a collection should know
		m.counters.coded(parent.Node, imported)
		if contract != nil {
			m.host.Log.Info("a program is ready and captured", "function", f.Name, "contract", contract.Name, "ready", contract.Ready, "node", s.Node.Info.ID, "after_ms", saved.Milliseconds())
		} else if err := m.deployed.SaveImports(f, imported); err != nil { // a hint
			m.host.Log.Warn("what a function imports is not kept", "function", f.Name, "error", err)
		}
		return s, nil
	})
}

// await runs a program until it is ready, and says what it waits for. One whose instances
// would share what their generators give is refused, unless that is allowed.
func (m *maker) await(ctx context.Context, img *image, i *instance.Instance, c *contracts.Contract, f *functions.Function, code []byte, deadline time.Time) (waits string, err error) {
	ready, err := c.Await(ctx, i, f.Settings.Program, deadline)
	if err != nil || ready.Told || f.Settings.Program.SharedGenerators {
		return ready.Waits, err
	}
	taken, err := i.Taken()
	if err != nil {
		return "", err
	}
	files, err := contracts.FilesOf(code, m.store.ImagePath(img.Digest))
	if err != nil {
		return "", err
	}
	defer files.Close()
	return ready.Waits, contracts.CheckGenerators(f.Settings.Program, taken, files)
}

// around makes of code the request with which it is loaded: Lambda's variables are in it.
func (m *maker) around(img *image, runtime int, f *functions.Function, code []byte) ([]byte, error) {
	within, err := m.outer.Of(&f.Settings)
	if err != nil {
		return nil, err
	}
	about := surroundings.Function{Function: f, MemoryMiB: memoryOf(img, &within)}
	if rt := &img.Runtimes[runtime]; rt.Name != "" {
		r, err := runtimes.ByName(rt.Name)
		if err != nil {
			return nil, err
		}
		about.Runtime = r.LambdaName(rt.Version)
	}
	return about.AddTo(code)
}

// memoryOf is what a function is told that it has, in MiB.
func memoryOf(img *image, within *bounds.Function) uint64 {
	if within.MemoryMiB > 0 {
		return uint64(within.MemoryMiB)
	}
	return img.MemoryBytes >> 20
}

// decodeImports reads what a driver tells of a load. What is out of bounds comes from a
// function that lies, or an odd driver: the function is loaded all the same.
func (m *maker) decodeImports(f *functions.Function, told []byte) *imports.Record {
	r, err := imports.Decode(told)
	if err != nil {
		m.host.Log.Warn("what a function imports is not known", "function", f.Name, "error", err)
	}
	return r
}

// warmUp invokes a function that has just been loaded on the events that came with its
// code. What the function does lazily at its first use is then in the node that is
// captured next (SEUSS calls it anticipatory optimisation).
func (m *maker) warmUp(ctx context.Context, l *instance.Instance, f *function, code []byte) error {
	var request contracts.Load
	if err := json.Unmarshal(code, &request); err != nil {
		return fmt.Errorf("code of function %q: %w", f.spec.Name, err)
	}
	if len(request.WarmUp) == 0 {
		return nil
	}
	var err error
	if f.bounds, err = m.outer.Of(&f.spec.Settings); err != nil {
		return err
	}
	for n, raw := range request.WarmUp {
		i, err := newInvocation(f, &Request{Event: raw}, time.Now())
		if err == nil {
			session := l.Converse(ctx, i.deadline)
			var reply instance.Reply
			if reply, err = session.Call(i.how(), i.context, i.event.raw); err == nil && reply.Asks {
				_, err = i.answerAll(session, reply)
			}
		}
		if err != nil {
			return fmt.Errorf("warm-up event %d: %w", n+1, err)
		}
	}
	return nil
}

// of returns the snapshot that a deployment's code is loaded in. Where nothing can be
// stored it is the one that it would hang on. What is removed while it is needed here
// is made again, once.
func (m *maker) of(ctx context.Context, f *functions.Function, code []byte) (*instance.Snapshot, error) {
	s, err := m.try(ctx, f, code)
	if errors.Is(err, lineage.ErrNotFound) {
		s, err = m.try(ctx, f, code)
	}
	return s, err
}

func (m *maker) try(ctx context.Context, f *functions.Function, code []byte) (*instance.Snapshot, error) {
	if f.Snapshot != "" {
		return m.kept(ctx, f, code)
	}
	parent, img, runtime, err := m.imported(ctx, f.Image, contracts.Runtime(&f.Settings), functions.OwnerOf(f.Name), f.Imports)
	if err != nil || m.host.ReadOnly {
		return parent, err // the code is loaded for one invocation alone
	}
	if parent, err = m.planned(ctx, img, runtime, f, code, parent); err != nil {
		return nil, err
	}
	return m.function(ctx, img, runtime, f, code, parent)
}

// kept is try for a function that hangs on an instance's checkpoint.
func (m *maker) kept(ctx context.Context, f *functions.Function, code []byte) (*instance.Snapshot, error) {
	parent, err := m.snapshots.Get(f.Snapshot)
	if errors.Is(err, lineage.ErrNotFound) {
		err = fmt.Errorf("the checkpoint %.12s that it was deployed from was removed, and nothing else has its state: import it again, or deploy the function from another: %w", f.Snapshot, err)
	}
	if err != nil || m.host.ReadOnly {
		return parent, err
	}
	img, runtime, err := m.images.serving(f.Image, contracts.Runtime(&f.Settings))
	if err != nil {
		return nil, err
	}
	return m.function(ctx, img, runtime, f, code, parent)
}

// Base returns the image's base node: the runtime started, nothing else. If there is
// none for this host it boots the image and captures it.
func (d *Dispatcher) Base(ctx context.Context, imageName, runtime string) (*lineage.Node, error) {
	return d.Import(ctx, imageName, runtime, nil)
}

// Import returns the node below the image's base in which modules are imported, in
// that order; it captures it if there is none. Runtime is as of a function; "" is the
// image's first.
func (d *Dispatcher) Import(ctx context.Context, imageName, runtime string, modules []string) (*lineage.Node, error) {
	s, _, _, err := d.maker.imported(ctx, imageName, runtime, "", modules)
	if err != nil {
		return nil, err
	}
	return s.Node, nil
}
