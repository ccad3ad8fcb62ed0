package dispatcher

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"

	"seuss/dispatcher/functions"
	"seuss/dispatcher/instance"
	"seuss/lineage"
)

// invocation is one request on its way.
type invocation struct {
	d        *Dispatcher
	f        *function
	event    *event
	deadline time.Time
	context  []byte // JSON, preceded by its length
	result   *Result
	bound    []lineage.Binding // arguments given so far, in order
	asked    int               // bytes that remembering them takes
	started  time.Time
	deliver  func(*Result) bool
	onReset  func(Reset)
	memory   bool                                                             // the result should tell what the instance takes
	capture  func(i *invocation, l *instance.Instance, w instance.Want) error // not nil: called at each question
}

// Invoke runs a function on an event. What the function does wrong is in the
// Result, its time running out and its death included; an error means that there
// is none: an unknown function, a bad event, a cancelled context, or a failure of
// the host.
func (d *Dispatcher) Invoke(ctx context.Context, req Request) (*Result, error) {
	r, err := d.invoke(ctx, &req)
	if err != nil {
		return nil, fmt.Errorf("invoke %q: %w", req.Function, err)
	}
	return r, nil
}

func (d *Dispatcher) invoke(ctx context.Context, req *Request) (*Result, error) {
	start := time.Now()
	spec := req.Deployment
	var err error
	if spec == nil {
		if spec, err = d.Lookup(req.Function); err != nil {
			return nil, err
		}
	}
	f, err := d.cache.get(spec)
	if err != nil {
		return nil, err
	}
	e, err := f.event(req.Event)
	if err != nil {
		return nil, err
	}
	i := newInvocation(f, e, req, start)
	i.d, i.result.Platform = d, d.platform.Name()
	if (d.opts.AutoArguments || req.AutoArguments) && f.spec.Lazy && !d.opts.ReadOnly {
		i.capture = (*invocation).captureIfWorth
	}
	if req.MaxPath == PathCold {
		return i.cold(ctx)
	}
	t := d.costs.match(f, e, req.MaxPath)
	if t == nil || t.State == nil {
		// The node is gone, or this host needs another one: make it again.
		if t, err = d.restore(ctx, spec.Name); err != nil {
			return nil, err
		}
		if spec, err = d.get(spec.Name); err != nil {
			return nil, err
		}
		if f, err = d.cache.get(spec); err != nil {
			return nil, err
		}
		i.f = f
	}
	if req.Explain {
		reach, err := d.outer.Summarize(&spec.Settings)
		if err != nil {
			return nil, err
		}
		i.result.Bounds = &reach
		i.result.Candidates = d.costs.candidates(f, e, t, req.MaxPath)
	}
	i.result.Timings.Match = time.Since(start)
	l, err := d.pools.lend(ctx, f.image, t, req.Fresh)
	if err != nil {
		return nil, err
	}
	return i.run(ctx, l)
}

func newInvocation(f *function, e *event, req *Request, start time.Time) *invocation {
	id := req.RequestID
	if id == "" {
		id = NewRequestID()
	}
	_, version, _ := strings.Cut(f.spec.Name, ":")
	i := &invocation{f: f, event: e, deadline: start.Add(f.bounds.Time(req.Timeout)), started: start, memory: req.Memory, deliver: req.Deliver, onReset: req.OnReset,
		result: &Result{RequestID: id, Version: version}}
	i.context = i.renderContext(req)
	return i
}

// renderContext makes what the driver turns into Lambda's context object.
func (i *invocation) renderContext(req *Request) []byte {
	name := functions.BaseName(i.f.spec.Name) // no character of it needs quoting
	version := i.result.Version
	if version == "" {
		version = "$LATEST"
	}
	memory := i.f.image.MemoryBytes >> 20
	if m := i.f.bounds.MemoryMiB; m > 0 {
		memory = uint64(m)
	}
	b := make([]byte, 4, 512)
	b = append(b, `{"aws_request_id":`...)
	b = strconv.AppendQuoteToASCII(b, i.result.RequestID)
	b = append(b, `,"function_name":"`...)
	b = append(b, name...)
	b = append(b, `","function_version":"`...)
	b = append(b, version...)
	b = append(b, `","invoked_function_arn":"`...)
	if req.ARN != "" {
		b = append(b, req.ARN...)
	} else {
		b = append(b, ARN(localRegion, localAccount, name, "")...)
	}
	b = append(b, `","memory_limit_in_mb":"`...)
	b = strconv.AppendUint(b, memory, 10)
	b = append(b, `","log_group_name":"/aws/lambda/`...)
	b = append(b, name...)
	b = append(b, `","log_stream_name":`...)
	b = strconv.AppendQuoteToASCII(b, i.result.RequestID)
	b = append(b, `,"identity":null,"client_context":`...)
	if len(req.ClientContext) > 0 {
		b = append(b, req.ClientContext...)
	} else {
		b = append(b, `null`...)
	}
	b = append(b, `,"deadline_ms":`...)
	b = strconv.AppendInt(b, i.deadline.UnixMilli(), 10)
	b = append(b, '}')
	binary.LittleEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

// cold boots a machine for this invocation alone.
func (i *invocation) cold(ctx context.Context) (*Result, error) {
	booted, err := i.d.maker.boot(i.f.image)
	if err != nil {
		return nil, err
	}
	booted.Start().Hold()
	return i.run(ctx, loan{Instance: booted, pools: i.d.pools, waited: booted.Restored})
}

// run runs the invocation on an instance, delivers its result, and gives the machine
// back.
func (i *invocation) run(ctx context.Context, l loan) (*Result, error) {
	began, r := l.Start(), i.result
	r.Path, r.Pooled, r.NodeID = pathOf(began.Node.Kind), l.Pooled, began.Node.ID
	r.PagesCopied, r.PagesMapped = l.Moved.Copied, l.Moved.Mapped
	r.Timings.Shell = l.waited
	if began.State != nil {
		r.Timings.Deploy = l.Restored
		began.Node.Hit()
	}
	err := i.live(ctx, l.Instance)
	i.gather(&l)
	failure, here := i.conclude(err), false
	if failure == nil && i.deliver != nil {
		here = i.deliver(r)
	}
	if failed(err) {
		l.destroy()
	} else {
		l.release(here, i.onReset)
	}
	if failure != nil {
		return nil, failure
	}
	if err == nil && began.State != nil {
		i.d.costs.learn(began, r)
	}
	return r, nil
}
