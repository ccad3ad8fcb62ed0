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

	"seuss/dispatcher/functions"
	"seuss/dispatcher/instance"
	"seuss/lineage"
)

// loadRequest is the payload of LOAD, and the form in which code is stored.
type loadRequest struct {
	Handler string            `json:"handler"`
	Files   map[string][]byte `json:"files"` // encoding/json writes them in base64, keys sorted
	// Environment is set before the code is imported.
	Environment map[string]string `json:"environment,omitempty"`
	// WarmUp are events on which the function is invoked before its node is
	// captured. They are the dispatcher's business; the driver reads past them.
	WarmUp []json.RawMessage `json:"warm_up,omitempty"`
}

// MaxWarmUps bounds the invocations before a capture.
const MaxWarmUps = 1000

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
	if len(spec.WarmUp) > MaxWarmUps {
		return nil, fmt.Errorf("%d warm-up invocations, at most %d are allowed", len(spec.WarmUp), MaxWarmUps)
	}
	for n, e := range spec.WarmUp {
		if _, err := parseEvent(e); err != nil {
			return nil, fmt.Errorf("warm-up event %d: %w", n+1, err)
		}
	}
	code, err := json.Marshal(loadRequest{Handler: spec.Handler, Files: spec.Files, Environment: spec.Settings.Environment, WarmUp: spec.WarmUp})
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
	d.deployMu.Lock()
	defer d.deployMu.Unlock()
	t, err := d.deploy(ctx, &spec)
	if err != nil {
		return nil, fmt.Errorf("deploy function %q: %w", spec.Name, err)
	}
	return t.Node, nil
}

func (d *Dispatcher) deploy(ctx context.Context, spec *FunctionSpec) (*instance.Snapshot, error) {
	if !functions.ValidName(spec.Name) {
		return nil, fmt.Errorf("name %q is not 1 to 64 of A-Z a-z 0-9 _ -: %w", spec.Name, lineage.ErrInvalid)
	}
	old, err := d.functions.Get(spec.Name)
	if err == nil && spec.Create {
		return nil, fmt.Errorf("%w: %q", ErrExists, spec.Name)
	}
	if err := checkRevision(&old, spec.Revision); err != nil {
		return nil, err
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
	record := functions.Function{
		Name: spec.Name, Handler: spec.Handler, Lazy: spec.Lazy,
		Image: nameOrDefault(spec.Image), Imports: slices.Clone(spec.Imports),
		Settings: spec.Settings, LastVersion: old.LastVersion, Aliases: old.Aliases,
	}
	record.Settings.Revision = newRequestID()
	record.CodeDigest = functions.CodeDigest(code)
	t, err := d.functionNode(ctx, &record, code, parent)
	if err != nil {
		return nil, err
	}
	if _, err := d.functions.Put(record, code); err != nil {
		return nil, err
	}
	d.catalog.forget(spec.Name)
	d.dropOldNodes(spec.Name, parent)
	d.catalog.forget(spec.Name)
	return t, nil
}

// functionNode returns the node with the code loaded, below parent.
func (d *Dispatcher) functionNode(ctx context.Context, f *functions.Function, code []byte, parent *instance.Snapshot) (*instance.Snapshot, error) {
	key := lineage.Key{Function: functions.BaseName(f.Name), Handler: f.Handler, CodeDigest: f.CodeDigest, Lazy: f.Lazy}
	for _, n := range d.store.Children(parent.Node.Info.ID) {
		k := &n.Info.Key
		if n.Info.Kind == lineage.KindFunction && k.Function == key.Function && k.Handler == key.Handler &&
			k.CodeDigest == key.CodeDigest && k.Lazy == key.Lazy {
			return d.catalog.snapshot(n.Info.ID)
		}
	}
	l, err := d.take(ctx, f.Image, parent)
	if err != nil {
		return nil, err
	}
	defer l.release(false, nil)
	start := time.Now()
	session := l.Converse(ctx, start.Add(loadTimeout))
	if err := session.Close(session.Load(code)); err != nil {
		return nil, err
	}
	saved := time.Since(start)
	if err := d.warmUp(ctx, l.Instance, f, code); err != nil {
		return nil, err
	}
	return l.Capture(instance.Capture{Kind: lineage.KindFunction, Key: key, Saved: saved})
}

// dropOldNodes removes the nodes that no deployment of the function, of whatever
// version, starts from any more. parent is where the unversioned one hangs.
func (d *Dispatcher) dropOldNodes(name string, parent *instance.Snapshot) {
	records, err := d.functions.Versions(name)
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
			return n.Info.Kind == lineage.KindArgument || f.Name != name || parent == nil || n.Info.Parent == parent.Node.Info.ID
		})
		if used {
			continue
		}
		if err := d.store.Remove(n.Info.ID, true); err != nil && !errors.Is(err, lineage.ErrNotFound) {
			d.log.Warn("an old node could not be removed", "node", n.Info.ID, "error", err)
		}
	}
}

// RemoveFunction removes a deployment and the nodes that no other version of it
// needs. Without a version in the name all versions go.
func (d *Dispatcher) RemoveFunction(name string) error {
	d.deployMu.Lock()
	defer d.deployMu.Unlock()
	f, err := d.functions.Get(name)
	if errors.Is(err, lineage.ErrNotFound) {
		return fmt.Errorf("%w: %q", ErrUnknownFunction, name)
	}
	base := functions.BaseName(name)
	defer d.catalog.forget(base)
	if base != name {
		if err := d.removeVersion(&f); err != nil {
			return fmt.Errorf("remove function %q: %w", name, err)
		}
		d.catalog.forget(base)
		d.dropOldNodes(base, nil)
		return nil
	}
	versions, err := d.functions.Versions(base)
	if err != nil && len(versions) == 0 {
		return fmt.Errorf("remove function %q: %w", name, err)
	}
	for _, n := range d.store.Function(name) {
		if err := d.store.Remove(n.Info.ID, true); err != nil && !errors.Is(err, lineage.ErrNotFound) {
			return fmt.Errorf("remove function %q: %w", name, err)
		}
	}
	// The unversioned record goes last: until then the removal can be repeated.
	for _, v := range slices.Backward(versions) {
		d.catalog.forget(base)
		if err := d.functions.Remove(v.Name); err != nil {
			return err
		}
	}
	return nil
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

// ImageMemory returns the bytes of RAM of an image's guests.
func (d *Dispatcher) ImageMemory(image string) (bytes uint64, err error) {
	img, err := d.catalog.image(nameOrDefault(image))
	if err != nil {
		return 0, err
	}
	return img.MemoryBytes, nil
}
