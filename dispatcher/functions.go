package dispatcher

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"seuss/dispatcher/access"
	"seuss/dispatcher/contracts"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/instance"
	"seuss/dispatcher/plan"
	"seuss/dispatcher/planner"
	"seuss/dispatcher/quota"
	"seuss/lineage"
)

// MaxWarmUps bounds the invocations before a capture.
const MaxWarmUps = 1000

// code checks what is deployed, and encodes its code. A program's handler is its command
// where none is named.
func (spec *FunctionSpec) code() ([]byte, error) {
	program := spec.Settings.Program
	contract, err := contracts.Of(&spec.Settings)
	if err != nil {
		return nil, err
	}
	if len(spec.Files) == 0 && program == nil && spec.Snapshot == "" {
		return nil, errors.New("it has no files")
	}
	for name := range spec.Files {
		if name == "" || path.IsAbs(name) || path.Clean(name) != name || name == ".." || strings.HasPrefix(name, "../") || strings.ContainsRune(name, 0) {
			return nil, fmt.Errorf("file name %q is not a clean relative path", name)
		}
	}
	f := functions.Function{Name: spec.Name, Handler: spec.Handler, Settings: spec.Settings}
	if err := contract.Check(&f, spec.Files, contracts.Asked{Lazy: spec.Lazy, Imports: len(spec.Imports), WarmUps: len(spec.WarmUp)}); err != nil {
		return nil, err
	}
	if program != nil {
		if spec.Handler == "" {
			spec.Handler = contracts.HandlerOf(program)
			f.Handler = spec.Handler
		}
		return encodeCode(contract.Document(&f, spec.Files))
	}
	if !strings.Contains(spec.Handler, ".") {
		return nil, fmt.Errorf("handler %q is not of the form module.function", spec.Handler)
	}
	if len(spec.WarmUp) > MaxWarmUps {
		return nil, fmt.Errorf("%d warm-up invocations, at most %d are allowed", len(spec.WarmUp), MaxWarmUps)
	}
	for n, e := range spec.WarmUp {
		if _, err := parseEvent(e, false); err != nil {
			return nil, fmt.Errorf("warm-up event %d: %w", n+1, err)
		}
	}
	return encodeCode(contracts.Load{Handler: spec.Handler, Files: spec.Files, Environment: spec.Settings.Environment, WarmUp: spec.WarmUp, Snapshot: spec.Snapshot})
}

// checkpoint finds the instance's node that a function is to be made of, and takes over what
// that says of it.
func (m *maker) checkpoint(spec *FunctionSpec) error {
	if spec.Snapshot == "" {
		return nil
	}
	n, err := m.store.Get(spec.Snapshot)
	switch {
	case err != nil:
		return err
	case functions.OwnerOf(n.Key.Function) != functions.OwnerOf(spec.Name) && n.Info.Private():
		return fmt.Errorf("snapshot %q: %w", spec.Snapshot, lineage.ErrNotFound)
	case n.Kind != lineage.KindInstance:
		return fmt.Errorf("snapshot %.12s is of kind %s: a function is made of an instance's checkpoint (seussctl instance checkpoint): %w", n.ID, n.Kind, lineage.ErrInvalid)
	case n.Key.Contract != "" || spec.Settings.Program != nil:
		return fmt.Errorf("snapshot %.12s: only a function of a runtime's driver is made of a checkpoint, not a program: %w", n.ID, lineage.ErrInvalid)
	case len(spec.Files) > 0 || len(spec.Imports) > 0 || spec.Image != "" && spec.Image != n.Info.ImageDigest:
		return fmt.Errorf("files, imports or an image beside snapshot %.12s: what the function is lies in that: %w", n.ID, lineage.ErrInvalid)
	case spec.Settings.Runtime != "" && spec.Settings.Runtime != n.Key.Runtime:
		return fmt.Errorf("runtime %.64q beside snapshot %.12s: what it runs on lies in that: %w", spec.Settings.Runtime, n.ID, lineage.ErrInvalid)
	case spec.Handler == "" && spec.Lazy && !n.Key.Lazy:
		return fmt.Errorf("lazy arguments beside snapshot %.12s, whose handler has none: name a handler too: %w", n.ID, lineage.ErrInvalid)
	}
	spec.Snapshot, spec.Image, spec.Files = n.ID, n.Info.ImageDigest, map[string][]byte{}
	if spec.Settings.Runtime = n.Key.Runtime; spec.Handler == "" {
		spec.Handler, spec.Lazy = n.Key.Handler, n.Key.Lazy
	}
	if spec.Handler == "" {
		return fmt.Errorf("snapshot %.12s is of an instance without a handler: name one that code has defined in it, with --handler (seussctl function deploy --help): %w", n.ID, lineage.ErrInvalid)
	}
	return nil
}

// hangs returns the function, other than that of name, whose node hangs below one of these;
// "": there is none.
func hangs(s *lineage.Store, name string, nodes []*lineage.Node) string {
	for _, n := range nodes {
		if n.Kind == lineage.KindFunction && n.Key.Function != name {
			return n.Key.Function
		}
		if other := hangs(s, name, s.Children(n.ID)); other != "" {
			return other
		}
	}
	return ""
}

func encodeCode(l contracts.Load) ([]byte, error) {
	code, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	if len(code) > functions.MaxCodeBytes {
		return nil, fmt.Errorf("its code takes %d bytes encoded, at most %d are allowed", len(code), functions.MaxCodeBytes)
	}
	return code, nil
}

// Deploy stores a function and captures its node: the code imported and
// compiled. If the code does not load, nothing is stored and the error is a
// *FunctionError.
func (d *Dispatcher) Deploy(ctx context.Context, spec FunctionSpec) (*lineage.Node, error) {
	n, err := d.deploy(ctx, &spec)
	if err != nil {
		return nil, fmt.Errorf("deploy function %q: %w", spec.Name, err)
	}
	return n, nil
}

func (d *Dispatcher) deploy(ctx context.Context, spec *FunctionSpec) (*lineage.Node, error) {
	if !functions.ValidFunction(spec.Name) {
		return nil, fmt.Errorf("name %q is not 1 to 64 of A-Z a-z 0-9 _ -, with an owner and a slash before them if it is not the default one: %w", spec.Name, lineage.ErrInvalid)
	}
	if err := d.maker.checkpoint(spec); err != nil {
		return nil, err
	}
	if err := d.ownProgram(spec); err != nil {
		return nil, err
	}
	code, err := spec.code()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", lineage.ErrInvalid, err)
	}
	free, err := d.lock(ctx, spec.Name)
	if err != nil {
		return nil, err
	}
	defer free()
	unlock, err := d.lockQuota(ctx, spec.Name)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := d.checkQuota(spec.Name, code); err != nil {
		return nil, err
	}
	deployed := d.Deployments.store
	old, missing := deployed.Get(spec.Name)
	if missing == nil && spec.Create {
		return nil, fmt.Errorf("%w: %q", ErrExists, spec.Name)
	}
	if err := checkRevision(&old, spec.Revision); err != nil {
		return nil, err
	}
	spec.Settings.KeepReach(&old.Settings)
	if err := d.outer.Check(&spec.Settings); err != nil {
		return nil, err
	}
	image := spec.Image
	if image == "" {
		if image, err = d.imageOf(&spec.Settings); err != nil {
			return nil, err
		}
	}
	record := functions.Function{
		Name: spec.Name, ID: old.ID, Handler: spec.Handler, Lazy: spec.Lazy,
		Image: image, Imports: slices.Clone(spec.Imports), Snapshot: spec.Snapshot,
		Settings: spec.Settings, LastVersion: old.LastVersion, Aliases: old.Aliases, Attached: old.Attached,
	}
	if missing != nil {
		record.ID = NewRequestID() // what there is of an older one of that name is not its own
	}
	record.Settings.Revision = NewRequestID()
	record.CodeDigest = functions.CodeDigest(code)
	s, err := d.maker.of(ctx, &record, code)
	if err != nil {
		return nil, err
	}
	lost := leaving(d, []functions.Function{old}, &record)
	if _, err := deployed.Put(record, code); err != nil {
		return nil, err
	}
	gone(d, lost)
	d.dropOldNodes(spec.Name, s.Node.Info.Parent)
	if reach, err := d.outer.Summarize(&record.Settings); err == nil { // Check has read it
		d.log.Info("deployed", "function", record.Name, "contract", cmp.Or(s.Node.Info.Key.Contract, contracts.Driver), "network", reach.Network, "host_ports", reach.HostPorts, "timeout_ms", reach.TimeoutMS, "memory_mib", reach.MemoryMiB, "output_bytes", reach.OutputBytes)
	}
	return s.Node, nil
}

// lockQuota keeps an owner with a quota from deploying two functions at a time, of which
// each alone would be within it.
func (d *Dispatcher) lockQuota(ctx context.Context, name string) (unlock func(), err error) {
	owner := functions.OwnerOf(name)
	if d.opts.Quota == nil || d.opts.Quota(owner) == (access.Quota{}) {
		return func() {}, nil
	}
	return d.locks.Lock(ctx, "owner "+owner)
}

// checkQuota refuses what would take its owner beyond his quota: a deployment of code
// under name, or another snapshot of it, where code is nil.
func (d *Dispatcher) checkQuota(name string, code []byte) error {
	owner := functions.OwnerOf(name)
	if d.opts.Quota == nil {
		return nil
	}
	q := d.opts.Quota(owner)
	if q == (access.Quota{}) {
		return nil
	}
	var use quota.Use
	var err error
	if code != nil {
		if use.Functions, use.CodeBytes, err = d.Deployments.store.With(functions.BaseName(name), code); err != nil {
			return err
		}
	}
	if err := use.Check(owner, q); err != nil {
		return err
	}
	return charges{d}.within(owner, "")
}

// charges holds owners to what their snapshots may take.
type charges struct{ *Dispatcher }

// within refuses another snapshot, below parent, to an owner who has used up his quota of
// them: how large it will be is not known. Those of imports that were made in his name, and on
// which nothing hangs, make room first.
func (d charges) within(owner, parent string) error {
	if d.opts.Quota == nil || owner == "" {
		return nil
	}
	q := d.opts.Quota(owner)
	if q.NodeBytes == 0 {
		return nil
	}
	check := func() error { return quota.Use{NodeBytes: d.ledger.Bytes(owner) + 1}.Check(owner, q) }
	if check() == nil {
		return nil
	}
	d.sweeping.Lock()
	defer d.sweeping.Unlock()
	running, wanted := d.running(), map[string]bool{}
	if d.Planner.Active() {
		wanted = d.Planner.Wanted()
	}
	// One that has gone may leave another with nothing on it.
	for again := true; again && check() != nil; {
		again = false
		for _, n := range d.ledger.Idle(owner) {
			if n.ID == parent || running[n.ID] || wanted[n.ID] || check() == nil {
				continue
			}
			if err := d.store.Remove(n.ID, false); err == nil { // else it is marked, or used again
				again = true
			}
		}
	}
	return check()
}

// capture makes a snapshot, below parent, in an owner's name, if it is within his quota: one
// after the other, or each of several would find the room that there is for one.
func (d charges) capture(ctx context.Context, owner, parent string, make func() (*instance.Snapshot, error)) (*instance.Snapshot, error) {
	if d.opts.Quota == nil || owner == "" || d.opts.Quota(owner).NodeBytes == 0 {
		return make()
	}
	free, err := d.locks.Lock(ctx, "the snapshots of owner "+owner)
	if err != nil {
		return nil, err
	}
	defer free()
	if err := d.within(owner, parent); err != nil {
		return nil, err
	}
	return make()
}

// note notes in whose name a snapshot was made that is everybody's.
func (d charges) note(owner, id string) {
	if d.opts.Quota == nil || owner == "" {
		return
	}
	if err := d.ledger.Charge(id, owner); err != nil {
		d.log.Warn("a snapshot is charged to nobody once the daemon ends", "node", id, "owner", owner, "error", err)
	}
}

// dropOldNodes removes the nodes that no deployment of the function, of whatever
// version, starts from any more. parent is where the unversioned one hangs, "" if it may
// hang anywhere.
func (d *Dispatcher) dropOldNodes(name, parent string) {
	records, err := d.Deployments.store.Versions(name)
	if err != nil {
		d.log.Warn("old nodes are kept", "function", name, "error", err)
		return
	}
	for _, n := range d.store.Function(name) {
		k := &n.Info.Key
		used := slices.ContainsFunc(records, func(f functions.Function) bool {
			if k.CodeDigest != f.CodeDigest || k.Handler != f.Handler || k.Lazy != f.Lazy {
				return false
			}
			return n.Info.Kind != lineage.KindFunction || f.Name != name || parent == "" || n.Info.Parent == parent
		})
		if used || lived(d.store, n) {
			continue
		}
		if err := d.store.Remove(n.Info.ID, true); err != nil && !errors.Is(err, lineage.ErrNotFound) {
			d.log.Warn("an old node could not be removed", "node", n.Info.ID, "error", err)
		}
	}
}

// leaving returns what is known of the code that goes with deployments of one function; next,
// if there is one, takes the place of one of them. Of code that another version has nothing
// goes.
func leaving(d *Dispatcher, going []functions.Function, next *functions.Function) (list []plan.Loaded) {
	if len(going) == 0 || going[0].Name == "" || next != nil && going[0].CodeDigest == next.CodeDigest {
		return nil
	}
	base := functions.BaseName(going[0].Name)
	stay, err := d.Deployments.store.Versions(base)
	if err != nil {
		return nil // one that cannot be read may have it
	}
	known := map[string]bool{}
	for _, f := range stay {
		if !slices.ContainsFunc(going, func(g functions.Function) bool { return g.Name == f.Name }) {
			known[f.CodeDigest] = true
		}
	}
	for i := range going {
		digest := going[i].CodeDigest
		loaded, err := d.Deployments.store.Imported(&going[i])
		if known[digest] || loaded == nil || err != nil {
			continue
		}
		known[digest] = true
		calls := uint64(0)
		for _, n := range d.store.Function(base) {
			if n.Info.Key.CodeDigest == digest {
				calls += n.Hits()
			}
		}
		list = append(list, planner.LoadedOf(base, calls, loaded))
	}
	return list
}

// gone notes what leaving has found, for plans to come. That is a hint: a disk that does not take it keeps nobody
// from removing what he has deployed.
func gone(d *Dispatcher, list []plan.Loaded) {
	if err := d.past.Add(list); err != nil {
		d.log.Warn("what is known of code that is gone is lost", "error", err)
	}
}

// lived reports whether a node is an instance's, or one hangs below it: these are kept until
// somebody removes them, or a collection does.
func lived(s *lineage.Store, n *lineage.Node) bool {
	return n.Info.Kind == lineage.KindInstance || slices.ContainsFunc(s.Children(n.Info.ID), func(child *lineage.Node) bool { return lived(s, child) })
}

// RemoveFunction removes a deployment and the nodes that no other version of it
// needs. Without a version in the name all versions go.
func (d *Dispatcher) RemoveFunction(name string) error {
	unlock, err := d.lockSoon(name)
	if err != nil {
		return fmt.Errorf("remove function %q: %w", name, err)
	}
	defer unlock()
	f, err := d.Deployments.store.Get(name)
	if errors.Is(err, lineage.ErrNotFound) {
		return fmt.Errorf("%w: %q", ErrUnknownFunction, name)
	}
	base := functions.BaseName(name)
	if base != name {
		lost := leaving(d, []functions.Function{f}, nil)
		if err := d.removeVersion(&f); err != nil {
			return fmt.Errorf("remove function %q: %w", name, err)
		}
		gone(d, lost)
		d.dropOldNodes(base, "")
		return nil
	}
	versions, err := d.Deployments.store.Versions(base)
	if err != nil && len(versions) == 0 {
		return fmt.Errorf("remove function %q: %w", name, err)
	}
	if other := hangs(d.store, base, d.store.Function(name)); other != "" {
		return fmt.Errorf("remove function %q: function %q was deployed from a checkpoint of it: remove that one first: %w", name, other, lineage.ErrHasChildren)
	}
	lost := leaving(d, versions, nil)
	for _, n := range d.store.Function(name) {
		if err := d.store.Remove(n.Info.ID, true); err != nil && !errors.Is(err, lineage.ErrNotFound) {
			return fmt.Errorf("remove function %q: %w", name, err)
		}
	}
	gone(d, lost)
	// The unversioned record goes last: until then the removal can be repeated.
	for _, v := range slices.Backward(versions) {
		if err := d.Deployments.store.Remove(v.Name); err != nil {
			return err
		}
	}
	return nil
}

// RemoveNode removes a node by id or prefix; cascade takes its descendants
// along, otherwise a node with descendants is refused.
func (d *Dispatcher) RemoveNode(idOrPrefix string, cascade bool) error {
	d.sweeping.Lock()
	defer d.sweeping.Unlock()
	n, err := d.store.Get(idOrPrefix)
	if err != nil {
		return err
	}
	return d.store.Remove(n.Info.ID, cascade)
}
