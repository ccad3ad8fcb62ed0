package dispatcher

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"seuss/dispatcher/functions"
	"seuss/lineage"
	"seuss/vmm"
)

// becomeInstance gives the machine an identity of its own: from here on it is
// one instance, for one request.
func (s *shell) becomeInstance() error {
	s.ran, s.before = true, s.faults
	return s.m.WriteIdentity(vmm.Identity{})
}

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
	start    *target           // the node that it started from
	from     *target           // the node that the next capture's delta is against
	started  time.Time
	deliver  func(*Result) bool
	reset    bool // here, by this goroutine
	onReset  func(Reset)
	finished bool // finish has been called: result or err is what Invoke returns
	err      error
	memory   bool                                                   // the result should tell what the instance takes
	capture  func(i *invocation, l *lease, w want) (*target, error) // not nil: asked at each WANT
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
	deployment, err := d.Resolve(req.Function)
	if err != nil {
		return nil, err
	}
	f, err := d.catalog.function(deployment)
	if err != nil {
		return nil, err
	}
	e, err := f.event(req.Event)
	if err != nil {
		return nil, err
	}
	i := d.newInvocation(f, e, req, start)
	if (d.opts.AutoArguments || req.AutoArguments) && f.spec.Lazy && !d.opts.ReadOnly {
		i.capture = d.autoCapture
	}
	if req.MaxPath == PathCold {
		return i.finish(i.cold(ctx))
	}
	t := d.match(f, e, req.MaxPath)
	if t == nil || t.state == nil {
		// The node is gone, or this host needs another one: make it again.
		if t, err = d.restoreFunction(ctx, f); err != nil {
			return nil, err
		}
		if f, err = d.catalog.function(deployment); err != nil {
			return nil, err
		}
		i.f = f
	}
	if req.Explain {
		i.result.Candidates = d.candidates(f, e, t, req.MaxPath)
	}
	i.result.Timings.Match = time.Since(start)
	return i.finish(i.warm(ctx, t, req.Fresh))
}

func (d *Dispatcher) newInvocation(f *function, e *event, req *Request, start time.Time) *invocation {
	timeout := req.Timeout
	if timeout <= 0 {
		timeout = time.Duration(f.spec.Settings.TimeoutSec) * time.Second
	}
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	id := req.RequestID
	if id == "" {
		id = newRequestID()
	}
	_, version, _ := strings.Cut(f.spec.Name, ":")
	i := &invocation{d: d, f: f, event: e, deadline: start.Add(timeout), started: start, memory: req.Memory, deliver: req.Deliver, onReset: req.OnReset,
		result: &Result{RequestID: id, Version: version, Platform: d.platform.Name()}}
	i.context = i.renderContext(req)
	return i
}

// newRequestID returns a random UUID (RFC 9562, version 4), as Lambda's are.
func newRequestID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	var t [36]byte
	hex.Encode(t[:8], b[:4])
	hex.Encode(t[9:13], b[4:6])
	hex.Encode(t[14:18], b[6:8])
	hex.Encode(t[19:23], b[8:10])
	hex.Encode(t[24:], b[10:])
	t[8], t[13], t[18], t[23] = '-', '-', '-', '-'
	return string(t[:])
}

// renderContext makes what the driver turns into Lambda's context object.
func (i *invocation) renderContext(req *Request) []byte {
	name := functions.BaseName(i.f.spec.Name) // no character of it needs quoting
	version := i.result.Version
	if version == "" {
		version = "$LATEST"
	}
	memory := i.f.image.config.MemoryBytes >> 20
	if m := i.f.spec.Settings.MemoryMiB; m > 0 {
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
		b = append(b, `arn:aws:lambda:local:000000000000:function:`...)
		b = append(b, name...)
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

// warm runs the invocation from node t.
func (i *invocation) warm(ctx context.Context, t *target, fresh bool) error {
	l, err := i.d.lend(ctx, i.f.image, t, fresh)
	if err != nil {
		return err
	}
	l.onReset = i.onReset
	r := i.result
	r.Path, r.Pooled, r.NodeID = pathOf(t.node.Info.Kind), l.pooled, t.node.Info.ID
	r.Timings.Shell, r.Timings.Deploy = l.waited, l.deploy
	r.PagesCopied, r.PagesMapped = l.moved.copied, l.moved.mapped
	t.node.Hit()
	err = cancellable(ctx, l.m, func() error { return i.run(l, t) })
	i.handOver(l, err)
	if err == nil {
		i.d.learn(t, r)
	}
	return err
}

// cancellable ends the guest's run when ctx ends.
func cancellable(ctx context.Context, m *vmm.Machine, run func() error) error {
	if ctx.Done() == nil {
		return run()
	}
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		m.Interrupt()
		close(interrupted)
	})
	err := run()
	if !stop() {
		<-interrupted // or it might hit the machine's next run
	}
	if errors.Is(err, errInterrupted) {
		return fmt.Errorf("cancelled: %w", context.Cause(ctx))
	}
	return err
}

// cold boots a machine for this invocation alone.
func (i *invocation) cold(ctx context.Context) error {
	s, took, err := i.d.coldBoot(i.f.image)
	if err != nil {
		return err
	}
	l := &lease{shell: s}
	root, err := i.d.catalog.target(i.f.image.root.Info.ID)
	if err != nil {
		l.destroy(i.d)
		return err
	}
	i.result.Path, i.result.NodeID, i.result.Timings.Shell = PathCold, root.node.Info.ID, took
	err = cancellable(ctx, l.m, func() error { return i.run(l, root) })
	i.handOver(l, err)
	return err
}
