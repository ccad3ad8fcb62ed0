package dispatcher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"seuss/dispatcher/contracts"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/imports"
	"seuss/dispatcher/instance"
	"seuss/dispatcher/planner"
	"seuss/dispatcher/quota"
	"seuss/images/runtimes"
	"seuss/lineage"
)

// livePlans lets plans be lived with: functions start by them, and as pace says what is
// missing is made beside the requests.
func livePlans(d *Dispatcher, pace planner.Pace) {
	beside := *d.maker
	beside.beside = true
	p := planner.New(d.store, planHost{d, &beside}, d.log)
	d.Planner, d.maker.planner, beside.planner, d.cache.planner = p, p, p, p
	if pace != planner.OnDemand {
		ctx, cancel := context.WithCancel(context.Background())
		d.tasks.Background(func() { <-d.tasks.Ends(); cancel() })
		d.tasks.Background(func() { p.Run(ctx, pace) })
		d.tasks.Background(func() { p.Refits(ctx, pace) })
	}
}

// place is where plans hold of an image's runtime.
func place(img *image, runtime int) planner.Place {
	p := planner.Place{Image: img.Name, Digest: img.Digest, Key: img.runtimeKey(runtime)}
	if runtime < len(img.Runtimes) {
		p.Runtime, _ = runtimes.ByName(img.Runtimes[runtime].Name) // nil: one of another release
	}
	return p
}

// planned walks down from the base to the node that a function starts from by the plans,
// and makes what is missing of the way. A node that cannot be made is passed over: a plan
// fails no deployment.
func (m *maker) planned(ctx context.Context, img *image, runtime int, f *functions.Function, code []byte, base *instance.Snapshot) (*instance.Snapshot, error) {
	if !m.planner.Active() || !startsByPlans(f) {
		return base, nil
	}
	at := place(img, runtime)
	steps, of, err := m.steps(at, f.Name, code)
	if err != nil || len(steps) == 0 {
		return base, err
	}
	s, failed, err := m.walk(ctx, img, base, of, steps)
	switch {
	case err == nil:
		return s, nil
	case ctx.Err() != nil, errors.Is(err, lineage.ErrNotFound), m.beside:
		return nil, err
	}
	if !errors.Is(err, quota.ErrExceeded) { // else it is made when there is room
		m.planner.Failed(at, steps[:failed+1], err)
	}
	return s, nil
}

// steps asks the plans where a function's code starts, and whose plan that is.
func (m *maker) steps(at planner.Place, name string, code []byte) (steps []planner.Step, of string, err error) {
	f, err := plannedOf(name, code)
	if err != nil {
		return nil, "", err
	}
	steps, of = m.planner.Steps(at, f)
	return steps, of, nil
}

// plannedOf is a function as plans see it.
func plannedOf(name string, code []byte) (*planner.Function, error) {
	var request contracts.Load
	err := json.Unmarshal(code, &request)
	return &planner.Function{Name: name, Owner: functions.OwnerOf(name), Files: request.Files, Environment: request.Environment}, err
}

// walk returns the snapshot at the end of steps, or how far it came and which step failed.
// What it makes is charged to owner.
func (m *maker) walk(ctx context.Context, img *image, s *instance.Snapshot, owner string, steps []planner.Step) (_ *instance.Snapshot, failed int, err error) {
	var modules []string
	for n, step := range steps {
		modules = append(modules, step.Modules...)
		next, err := m.imports(ctx, img, s, owner, slices.Clone(modules), len(step.Modules))
		if err != nil {
			return s, n, err
		}
		s = next
	}
	return s, 0, nil
}

// explainStart adds to the candidates of a function why its code hangs on the deepest that is
// no function's. The plans are asked as they are now: it may be on its way.
func explainStart(p *planner.Planner, name string, list []Candidate) {
	if !p.Active() {
		return
	}
	for n, c := range slices.Backward(list) {
		if c.Kind == lineage.KindImport || c.Kind == lineage.KindBase {
			if why, err := p.Why(name); err == nil {
				list[n].Reason += "; " + why.String()
			}
			return
		}
	}
}

// planHost is the dispatcher as the planner has it.
type planHost struct {
	d      *Dispatcher
	beside *maker
}

var _ planner.Host = planHost{}

// Place implements planner.Host. A digest is a name too, and so is the key of a runtime.
func (h planHost) Place(name, runtime string) (planner.Place, error) {
	img, index, err := h.find(name, runtime)
	if err != nil {
		return planner.Place{}, err
	}
	return place(img, index), nil
}

func (h planHost) find(name, runtime string) (*image, int, error) {
	img, err := h.d.images.get(name)
	if err != nil {
		return nil, 0, err
	}
	for n := range img.Runtimes {
		if runtime != "" && img.runtimeKey(n) == runtime {
			return img, n, nil
		}
	}
	return h.d.images.serving(name, runtime)
}

// Current implements planner.Host.
func (h planHost) Current(p planner.Place) bool {
	path, err := h.d.images.store.Find(nameOrDefault(p.Image))
	return err == nil && strings.Contains(path, p.Digest)
}

// Function implements planner.Host.
func (h planHost) Function(name string) (at planner.Place, f *planner.Function, err error) {
	spec, err := h.d.Lookup(name)
	if err != nil {
		return at, nil, err
	}
	img, runtime, err := h.d.images.serving(spec.Image, contracts.Runtime(&spec.Settings))
	if err != nil {
		return at, nil, err
	}
	if at = place(img, runtime); spec.Settings.Program != nil {
		return at, &planner.Function{Name: spec.Name, Elsewhere: true}, nil
	}
	code, err := h.d.Deployments.store.Code(spec.Function)
	if err != nil {
		return at, nil, err
	}
	if f, err = plannedOf(spec.Name, code); err != nil {
		return at, nil, err
	}
	f.Elsewhere = len(spec.Imports) > 0
	return at, f, nil
}

// Settled implements planner.Host: functions that are known are built again when they are
// next asked for.
func (h planHost) Settled() { h.d.images.generation.Add(1) }

// Busy implements planner.Host.
func (h planHost) Busy() bool { return h.d.pools.busy(time.Now()) }

// Deployed implements planner.Host.
func (h planHost) Deployed() (list []planner.Deployed, err error) {
	records, err := h.d.Deployments.store.List()
	calls := map[string]uint64{} // by function and code
	for _, n := range h.d.store.List() {
		if n.Kind == lineage.KindFunction || n.Kind == lineage.KindArgument {
			calls[n.Key.Function+" "+n.Key.CodeDigest] += n.Hits()
		}
	}
	seen := map[string]bool{}
	for _, f := range records {
		code := functions.BaseName(f.Name) + " " + f.CodeDigest
		if seen[code] || !startsByPlans(&f) {
			continue
		}
		seen[code] = true
		img, runtime, failed := h.d.images.serving(f.Image, contracts.Runtime(&f.Settings))
		if failed != nil {
			continue // who invokes it is told
		}
		if at := place(img, runtime); at.Runtime != nil && at.Runtime.Packages != nil {
			list = append(list, planner.Deployed{Place: at, Name: f.Name, Owner: functions.OwnerOf(f.Name), Code: f.CodeDigest, Calls: calls[code]})
		}
	}
	return list, err
}

// startsByPlans reports whether a function does not say itself where it starts, and has no
// variables that packages may look at.
func startsByPlans(f *functions.Function) bool {
	return len(f.Imports) == 0 && f.Snapshot == "" && f.Settings.Program == nil && len(f.Settings.Environment) == 0
}

// Imported implements planner.Host.
func (h planHost) Imported(name string) (*imports.Summary, error) {
	f, err := h.d.Deployments.store.Get(name)
	if err != nil {
		return nil, err
	}
	return h.d.Deployments.store.Imported(&f)
}

// Probe implements planner.Host.
func (h planHost) Probe(ctx context.Context, p planner.Place, probe planner.Probe) (*imports.Record, json.RawMessage, error) {
	img, runtime, err := h.find(p.Digest, p.Key)
	if err != nil {
		return nil, nil, err
	}
	base, err := h.beside.base(ctx, img, runtime)
	if err != nil {
		return nil, nil, err
	}
	code, err := json.Marshal(contracts.Load{Handler: probe.Handler, Files: probe.Files})
	if err != nil {
		return nil, nil, err
	}
	f := &function{spec: &Deployment{Function: functions.Function{Name: "probe", Handler: probe.Handler}}, image: img, runtime: runtime}
	if f.bounds, err = h.d.outer.Of(&f.spec.Settings); err != nil {
		return nil, nil, err
	}
	l, err := h.beside.lend(ctx, img, base)
	if err != nil {
		return nil, nil, err
	}
	defer l.destroy()
	told, err := l.Converse(ctx, time.Now().Add(planner.ProbeTimeout)).Load(code)
	if err != nil {
		return nil, nil, err
	}
	record, err := imports.Decode(told)
	if err != nil {
		return nil, nil, err
	}
	i, err := newInvocation(f, &Request{Event: []byte("{}")}, time.Now())
	if err != nil {
		return nil, nil, err
	}
	reply, err := l.Converse(ctx, i.deadline).Call(i.how(), i.context, i.event.raw)
	return record, slices.Clone(reply.Output), err
}

// Make implements planner.Host.
func (h planHost) Make(ctx context.Context, p planner.Place, owner string, steps []planner.Step) (made bool, err error) {
	img, runtime, err := h.find(p.Digest, p.Key)
	if err != nil {
		return false, err
	}
	base, err := h.beside.base(ctx, img, runtime)
	if err != nil {
		return false, err
	}
	before := planner.Find(h.d.store.Catalogue(), &p, steps)
	_, _, err = h.beside.walk(ctx, img, base, owner, steps)
	if errors.Is(err, quota.ErrExceeded) {
		err = fmt.Errorf("%w: %w", planner.ErrNoRoom, err)
	}
	return err == nil && before == nil, err
}

// Move implements planner.Host.
func (h planHost) Move(ctx context.Context, name string) (moved bool, err error) {
	d := h.d
	free, err := d.locks.Lock(ctx, lockOf(name))
	if err != nil {
		return false, err
	}
	defer free()
	spec, err := d.Lookup(name)
	if err != nil || !startsByPlans(&spec.Function) {
		return false, nil // it has gone, or says itself where it starts
	}
	img, runtime, err := d.images.serving(spec.Image, contracts.Runtime(&spec.Settings))
	if err != nil {
		return false, err
	}
	code, err := d.Deployments.store.Code(spec.Function)
	if err != nil {
		return false, err
	}
	steps, of, err := h.beside.steps(place(img, runtime), name, code)
	if err != nil || len(steps) == 0 {
		return false, err
	}
	base, err := h.beside.base(ctx, img, runtime)
	if err != nil {
		return false, err
	}
	parent, _, err := h.beside.walk(ctx, img, base, of, steps)
	if err != nil {
		return false, err
	}
	var old []*lineage.Node
	for _, n := range d.store.Function(functions.BaseName(name)) {
		k := &n.Key
		if n.Kind != lineage.KindFunction || n.Parent == parent.Node.ID || n.ImageDigest != img.Digest || k.Runtime != img.runtimeKey(runtime) ||
			k.CodeDigest != spec.CodeDigest || k.Handler != spec.Handler || k.Lazy != spec.Lazy {
			continue
		}
		// What somebody has had made of it, or has marked, stays and with it the function.
		if len(d.store.Children(n.ID)) > 0 || len(d.store.Catalogue().NodeMarks(n.ID)) > 0 {
			return false, nil
		}
		old = append(old, n)
	}
	if len(old) == 0 {
		return false, nil // it is there, or is made there when it is next needed
	}
	if _, err := h.beside.function(ctx, img, runtime, &spec.Function, code, parent); err != nil {
		return false, err
	}
	for _, n := range old {
		if err := d.store.Remove(n.ID, false); err != nil && !errors.Is(err, lineage.ErrNotFound) && !errors.Is(err, lineage.ErrHasChildren) {
			return true, err
		}
	}
	return true, nil
}

// What a handler imports is looked at in the first runs of a function's code: the driver is
// asked to note it, and then, when there is a result, what it has noted. Later runs are asked
// nothing, and nothing of it is in a snapshot.

// lookTime bounds how long a result waits for what the driver has noted.
const lookTime = time.Second

// maxLooksKept is how many records are written at a time, of all functions; those beyond are
// lost.
const maxLooksKept = 16

// looksAt says how many runs of a function there are to look at: of a runtime whose driver
// tells what it imports, and with events that are there from the start: where the function
// asks for arguments, it would be in their snapshots.
func (c *functionCache) looksAt(f *function) int {
	at := place(f.image, f.runtime)
	if at.Runtime == nil || at.Runtime.Packages == nil || f.contract != nil || f.spec.Lazy || f.spec.Snapshot != "" {
		return 0
	}
	s, _ := c.deployments.store.Imported(&f.spec.Function) // a hint that cannot be read is none
	return imports.LooksLeft(s)
}

// look has what the handler imports noted. A driver of an earlier release cannot.
func (i *invocation) look(s instance.Session) error {
	err := s.Watch()
	if own := new(instance.HandlerError); errors.As(err, &own) {
		i.f.spec.looks.End()
		return nil
	}
	i.looked = err == nil
	return err
}

// seen asks what was noted. A function that keeps its driver from telling delays its own
// result; the error is one after which the machine is not trusted.
func (i *invocation) seen(ctx context.Context) error {
	until := time.Now().Add(lookTime)
	if i.deadline.Before(until) {
		until = i.deadline
	}
	told, err := i.Converse(ctx, until).Watched()
	var run *imports.Record
	if err == nil {
		run, err = imports.Decode(told)
	}
	if err != nil {
		i.d.log.Warn("what a handler imports is not known", "function", i.f.spec.Name, "error", err)
		return err
	}
	keepRun(i.d, i.f, run)
	return nil
}

// keepRun writes what a run has imported, which nobody waits for.
func keepRun(d *Dispatcher, f *function, run *imports.Record) {
	if d.opts.ReadOnly {
		return
	}
	write := func() {
		defer d.looking.Add(-1)
		if err := d.Deployments.store.AddRun(&f.spec.Function, run); err != nil { // a hint
			d.log.Warn("what a handler imports is not kept", "function", f.spec.Name, "error", err)
		}
	}
	if d.looking.Add(1) > maxLooksKept || !d.tasks.Background(write) {
		d.looking.Add(-1)
	}
}
