package dispatcher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"seuss/guest"
	"seuss/lineage"
)

// loadRequest is the payload of LOAD, and the form in which code is stored.
type loadRequest struct {
	Handler string            `json:"handler"`
	Files   map[string][]byte `json:"files"` // encoding/json writes them in base64, keys sorted
}

func (spec *FunctionSpec) code() ([]byte, error) {
	if len(spec.Files) == 0 {
		return nil, errors.New("it has no files")
	}
	for name := range spec.Files {
		if name == "" || path.IsAbs(name) || path.Clean(name) != name || name == ".." || strings.HasPrefix(name, "../") || strings.ContainsRune(name, 0) {
			return nil, fmt.Errorf("file name %q is not a clean relative path", name)
		}
	}
	if !strings.Contains(spec.Handler, ".") {
		return nil, fmt.Errorf("handler %q is not of the form module.function", spec.Handler)
	}
	code, err := json.Marshal(loadRequest{Handler: spec.Handler, Files: spec.Files})
	if err != nil {
		return nil, err
	}
	if len(code) > lineage.MaxCodeBytes {
		return nil, fmt.Errorf("its code takes %d bytes encoded, at most %d are allowed", len(code), lineage.MaxCodeBytes)
	}
	return code, nil
}

// Deploy stores a function and captures its node: the code imported and
// compiled. If the code does not load, nothing is stored and the error is a
// *FunctionError.
func (d *Dispatcher) Deploy(ctx context.Context, spec FunctionSpec) (*lineage.Node, error) {
	d.deployMu.Lock()
	defer d.deployMu.Unlock()
	t, err := d.deploy(ctx, &spec)
	if err != nil {
		return nil, fmt.Errorf("deploy function %q: %w", spec.Name, err)
	}
	return t.node, nil
}

func (d *Dispatcher) deploy(ctx context.Context, spec *FunctionSpec) (*target, error) {
	if !lineage.ValidFunctionName(spec.Name) {
		return nil, fmt.Errorf("name %q is not 1 to 64 of A-Z a-z 0-9 _ -: %w", spec.Name, lineage.ErrInvalid)
	}
	code, err := spec.code()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", lineage.ErrInvalid, err)
	}
	parent, err := d.imported(ctx, spec.Image, spec.Imports)
	if err != nil {
		return nil, err
	}
	d.opts.Progress("loading function "+spec.Name, -1)
	record := lineage.Function{
		Name: spec.Name, Handler: spec.Handler, Lazy: spec.Lazy,
		Image: nameOrDefault(spec.Image), Imports: slices.Clone(spec.Imports),
	}
	record.CodeDigest = lineage.CodeDigest(code)
	t, err := d.functionNode(ctx, &record, code, parent)
	if err != nil {
		return nil, err
	}
	if _, err := d.store.PutFunction(record, code); err != nil {
		return nil, err
	}
	d.catalog.forget(spec.Name)
	d.dropOldNodes(&record, parent)
	d.catalog.forget(spec.Name)
	return t, nil
}

// functionNode returns the node with the code loaded, below parent.
func (d *Dispatcher) functionNode(ctx context.Context, f *lineage.Function, code []byte, parent *target) (*target, error) {
	key := lineage.Key{Function: f.Name, Handler: f.Handler, CodeDigest: f.CodeDigest, Lazy: f.Lazy}
	for _, n := range d.store.Children(parent.node.Info.ID) {
		k := &n.Info.Key
		if n.Info.Kind == lineage.KindFunction && k.Function == key.Function && k.Handler == key.Handler &&
			k.CodeDigest == key.CodeDigest && k.Lazy == key.Lazy {
			return d.catalog.target(n.Info.ID)
		}
	}
	s, err := d.take(ctx, f.Image, parent)
	if err != nil {
		return nil, err
	}
	defer s.release(d)
	start := time.Now()
	if err := cancellable(ctx, s.m, func() error { return s.prepareDriver(start.Add(bootTimeout), guest.MsgLoad, code) }); err != nil {
		return nil, err
	}
	return d.capture(s.shell, parent, lineage.KindFunction, key, time.Since(start), lineage.Purity{})
}

// dropOldNodes removes nodes of earlier deployments under the same name.
func (d *Dispatcher) dropOldNodes(f *lineage.Function, parent *target) {
	for _, n := range d.store.Function(f.Name) {
		k := &n.Info.Key
		current := k.CodeDigest == f.CodeDigest && k.Handler == f.Handler && k.Lazy == f.Lazy
		if current && n.Info.Kind == lineage.KindArgument || current && n.Info.Parent == parent.node.Info.ID {
			continue
		}
		if err := d.store.Remove(n.Info.ID, true); err != nil && !errors.Is(err, lineage.ErrNotFound) {
			d.log.Warn("an old node could not be removed", "node", n.Info.ID, "error", err)
		}
	}
}

// RemoveFunction removes a function and its nodes.
func (d *Dispatcher) RemoveFunction(name string) error {
	d.deployMu.Lock()
	defer d.deployMu.Unlock()
	if _, err := d.store.GetFunction(name); errors.Is(err, lineage.ErrNotFound) {
		return fmt.Errorf("%w: %q", ErrUnknownFunction, name)
	}
	for _, n := range d.store.Function(name) {
		if err := d.store.Remove(n.Info.ID, true); err != nil && !errors.Is(err, lineage.ErrNotFound) {
			return fmt.Errorf("remove function %q: %w", name, err)
		}
	}
	d.catalog.forget(name)
	return d.store.RemoveFunction(name)
}

// RemoveNode removes a node by id or prefix; cascade takes its descendants
// along, otherwise a node with descendants is refused.
func (d *Dispatcher) RemoveNode(idOrPrefix string, cascade bool) error {
	d.deployMu.Lock()
	defer d.deployMu.Unlock()
	n, err := d.store.Get(idOrPrefix)
	if err != nil {
		return err
	}
	if err := d.store.Remove(n.Info.ID, cascade); err != nil {
		return err
	}
	d.catalog.forget("")
	return nil
}
