package dispatcher

import (
	"context"
	"fmt"
	"time"

	"seuss/dispatcher/contracts"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/instance"
	"seuss/lineage"
)

// RunOnce runs code that is not deployed: on the image's base node, the import node that
// plans have for what it asks for, or the one that spec names, which are made if there are
// none, or in a machine that is booted for it, the code is loaded and invoked. Nothing of it is stored. What has no meaning for
// such code is refused by its name: the error matches lineage.ErrInvalid.
func (d *Dispatcher) RunOnce(ctx context.Context, spec FunctionSpec, req Request) (*Result, error) {
	r, err := d.runOnce(ctx, &spec, &req)
	if err != nil {
		return nil, fmt.Errorf("run %q: %w", spec.Name, err)
	}
	return r, nil
}

func (d *Dispatcher) runOnce(ctx context.Context, spec *FunctionSpec, req *Request) (*Result, error) {
	code, err := spec.code()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", lineage.ErrInvalid, err)
	}
	if !functions.ValidFunction(spec.Name) {
		return nil, fmt.Errorf("name %q is not 1 to 64 of A-Z a-z 0-9 _ -: %w", spec.Name, lineage.ErrInvalid)
	}
	if err := d.outer.Check(&spec.Settings); err != nil {
		return nil, err
	}
	if err := checkOnce(spec, req); err != nil {
		return nil, err
	}
	f := &function{spec: &Deployment{Function: functions.Function{Name: spec.Name, Handler: spec.Handler, Lazy: spec.Lazy, Settings: spec.Settings}}, code: code}
	if f.bounds, err = d.outer.Of(&spec.Settings); err != nil {
		return nil, err
	}
	if f.contract, err = programs(&spec.Settings); err != nil {
		return nil, err
	}
	var t *instance.Snapshot
	image, runtime := spec.Image, contracts.Runtime(&spec.Settings)
	if image == "" {
		image, err = d.imageOf(&spec.Settings)
	}
	switch {
	case err != nil:
	case req.MaxPath == PathCold:
		f.image, f.runtime, err = d.images.serving(image, runtime)
	default:
		t, f.image, f.runtime, err = d.maker.imported(ctx, image, runtime, functions.OwnerOf(spec.Name), spec.Imports)
		if err == nil && len(spec.Imports) == 0 {
			t, err = d.maker.planned(ctx, f.image, f.runtime, &f.spec.Function, code, t)
		}
	}
	if err != nil {
		return nil, err
	}
	i, err := newInvocation(f, req, time.Now())
	if err != nil {
		return nil, err
	}
	i.d, i.result.Platform = d, d.platform.Name()
	if t == nil {
		i.loan, err = i.cold()
	} else {
		i.loan, err = d.pools.lend(ctx, i.progress, f.image, t, req.Fresh)
	}
	if err != nil {
		return nil, err
	}
	err = i.conclude(i.run(ctx))
	i.End(false)
	if err != nil {
		return nil, err
	}
	return i.result, nil
}

// checkOnce refuses what code that is not deployed cannot be asked for.
func checkOnce(spec *FunctionSpec, req *Request) error {
	none := func(what, why string) error {
		return fmt.Errorf("%s is for functions that are deployed: %s: %w", what, why, lineage.ErrInvalid)
	}
	switch {
	case req.MaxPath == PathFunction, req.MaxPath == PathArgument:
		return none(fmt.Sprintf("from %q", req.MaxPath), "other code has no snapshot of its own; want cold or base")
	case req.Explain:
		return none("explain", "other code has no snapshots to choose from")
	case req.AutoArguments:
		return none("auto_arguments", "nothing is kept of other code")
	case len(spec.WarmUp) > 0:
		return none("warm_up", "nothing is kept of other code")
	case spec.Snapshot != "":
		return none("snapshot", "create an instance of it (seussctl instance create --snapshot), or deploy it")
	case spec.Create, spec.Revision != "":
		return none("create or revision", "other code takes nobody's name")
	case spec.Settings.Concurrency != nil:
		return none("concurrency", "other code runs once")
	}
	return req.Check()
}
