package dispatcher

import (
	"context"
	"fmt"
	"time"

	"seuss/dispatcher/functions"
	"seuss/lineage"
)

// RunOnce runs code that is not deployed: on the image's base node (or the
// import node that spec names), the code is loaded and invoked. Nothing of it is
// stored.
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
	image := spec.Image
	if image == "" {
		if image, err = d.RuntimeImage(spec.Settings.Runtime); err != nil {
			return nil, err
		}
	}
	t, img, runtime, err := d.maker.imported(ctx, image, spec.Settings.Runtime, spec.Imports)
	if err != nil {
		return nil, err
	}
	f := &function{spec: &Deployment{Function: functions.Function{Name: spec.Name, Handler: spec.Handler, Lazy: spec.Lazy, Settings: spec.Settings}}, image: img, runtime: runtime, code: code}
	if f.bounds, err = d.outer.Of(&spec.Settings); err != nil {
		return nil, err
	}
	i, err := newInvocation(f, req, time.Now())
	if err != nil {
		return nil, err
	}
	i.d, i.result.Platform = d, d.platform.Name()
	if i.loan, err = d.pools.lend(ctx, img, t, req.Fresh); err != nil {
		return nil, err
	}
	err = i.conclude(i.run(ctx))
	i.End(false)
	if err != nil {
		return nil, err
	}
	return i.result, nil
}
