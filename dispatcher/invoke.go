package dispatcher

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"seuss/guest"
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
	onReset  func(Reset)
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
	i := &invocation{d: d, f: f, event: e, deadline: start.Add(timeout), started: start, memory: req.Memory, onReset: req.OnReset, result: &Result{RequestID: id, Version: version, Platform: d.platform.Name()}}
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
	name := lineage.FunctionOf(i.f.spec.Name) // no character of it needs quoting
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
	i.giveBack(l, err)
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
	i.giveBack(l, err)
	return err
}

// giveBack takes what is left to know from the shell and returns it.
func (i *invocation) giveBack(l *lease, err error) {
	r := i.result
	r.Logs = append(r.Logs, l.logs.take()...)
	r.LogsCut = l.m.Stats().ConsoleDropped > 0
	if calls, cerr := l.m.UnsupportedCalls(); cerr == nil && len(calls) > 0 {
		r.Unsupported = nameCalls(calls, i.start.unsupported())
	}
	if i.memory || l.pool == nil { // else it is found out before the machine is reset
		i.measure(l)
	}
	_, paged := l.m.Memory().PagingStats()
	r.PagesPagedIn, l.paged = paged-l.paged, paged
	var crash *CrashError
	if errors.As(err, &crash) || errors.Is(err, ErrMemory) {
		l.destroy(i.d) // a reset would do; but a crash may be the machine's fault
		return
	}
	l.release(i.d)
}

// measure takes the figures that cost a request time, which Total leaves out.
func (i *invocation) measure(l *lease) {
	r := i.result
	r.Timings.Total = time.Since(i.started)
	if err := l.collect(); err != nil {
		i.d.log.Warn("private pages unknown", "error", err)
	}
	r.Faults, r.PagesDirtied = l.faults-l.before, l.layout.private.Len()
	l.account()
	if !i.memory {
		return
	}
	if resident, err := l.m.Memory().Resident(); err == nil {
		r.PrivateBytes, r.SharedBytes = resident.Private, resident.Shared
	}
}

// nameCalls names the unsupported system calls that were made since before.
func nameCalls(counts, before map[int]uint32) map[string]uint32 {
	named := map[string]uint32{}
	for number, n := range counts {
		if n > before[number] {
			named[guest.SyscallName(number)] = n - before[number]
		}
	}
	return named
}

// finish turns what the function did wrong into the result's error, in
// Lambda's words; other errors are the host's.
func (i *invocation) finish(err error) (*Result, error) {
	r := i.result
	if r.Timings.Total == 0 {
		r.Timings.Total = time.Since(i.started)
	}
	var failed *FunctionError
	var crash *CrashError
	switch {
	case err == nil:
	case errors.As(err, &failed):
		r.Error = failed
	case errors.Is(err, ErrTimeout):
		i.d.events.timeouts.Add(1)
		r.Error = &FunctionError{Type: "Sandbox.Timedout", cause: err,
			Message: fmt.Sprintf("RequestId: %s Error: Task timed out after %.2f seconds", r.RequestID, i.deadline.Sub(i.started).Seconds())}
	case errors.Is(err, ErrMemory):
		i.d.events.outOfMemory.Add(1)
		r.Error = &FunctionError{Type: "Runtime.OutOfMemory", cause: err, Message: fmt.Sprintf("RequestId: %s Error: Runtime exited with error: signal: killed", r.RequestID)}
	case errors.Is(err, ErrGuestExit):
		r.Error = &FunctionError{Type: "Runtime.ExitError", cause: err, Message: fmt.Sprintf("RequestId: %s Error: %v", r.RequestID, err)}
	case errors.Is(err, errProtocol), errors.Is(err, errStream):
		r.Error = &FunctionError{Type: "Runtime.ExitError", cause: err, Message: fmt.Sprintf("RequestId: %s Error: %v", r.RequestID, err)}
	case errors.As(err, &crash):
		i.d.events.crashes.Add(1)
		r.Crash = crash.Report
		r.Error = &FunctionError{Type: "Runtime.ExitError", cause: err, Message: fmt.Sprintf("RequestId: %s Error: %s", r.RequestID, crash.Summary)}
	default:
		return nil, err
	}
	if r.Error != nil && r.Error.StackTrace == nil {
		r.Error.StackTrace = []string{}
	}
	return r, nil
}

// run talks to the driver until there is a result.
func (i *invocation) run(l *lease, t *target) error {
	i.start, i.from = t, t
	l.memoryPages = i.memoryLimit(t)
	defer func() { l.memoryPages = 0 }()
	l.outbound = i.d.opts.Network.Open(i.result.RequestID)
	defer func() {
		i.result.NetworkRefused = l.outbound.Close()
		l.outbound = nil
	}()
	if i.d.opts.VsockDir != "" {
		front, err := i.openFront(l)
		if err != nil {
			return err
		}
		defer front.close()
	}
	switch t.node.Info.Kind {
	case lineage.KindImage, lineage.KindBase, lineage.KindImport:
		if err := i.load(l); err != nil {
			return err
		}
		return i.converse(l, nil)
	case lineage.KindFunction:
		return i.converse(l, nil)
	case lineage.KindArgument:
		return i.converse(l, &t.node.Info.Key)
	}
	return fmt.Errorf("node %.12s has kind %q, from which nothing can be invoked", t.node.Info.ID, t.node.Info.Kind)
}

// converse sends the event, or the argument that an argument node stopped at,
// and answers the driver's questions until there is a result.
func (i *invocation) converse(l *lease, stopped *lineage.Key) (err error) {
	var f frame
	if stopped != nil {
		i.bound = append(i.bound, stopped.Args...)
		f, err = i.answer(l, stopped.NextKey)
	} else {
		var seed [guest.SeedBytes]byte
		rand.Read(seed[:])
		start := time.Now()
		if i.f.spec.Lazy {
			f, err = l.exchange(i.deadline, guest.MsgInvokeLazy, seed[:], i.context)
		} else {
			f, err = l.exchange(i.deadline, guest.MsgInvoke, seed[:], i.context, i.event.raw)
		}
		i.result.Timings.Run = time.Since(start)
	}
	for err == nil && f.kind == guest.MsgWant {
		var w want
		if w, err = i.want(f.payload); err != nil {
			break
		}
		if w.all {
			w.key = wholeEvent
		}
		if err = i.captureAt(l, w); err != nil {
			return err
		}
		f, err = i.answer(l, w.key)
	}
	if err != nil {
		return err
	}
	switch f.kind {
	case guest.MsgResult:
		if !json.Valid(f.payload) { // such as NaN, which Python's encoder lets pass
			return &FunctionError{Type: "Runtime.MarshalError", Message: "Unable to marshal response: it is not JSON"}
		}
		i.result.Output = append(i.result.Output, f.payload...)
		return nil
	case guest.MsgError:
		return decodeError(f.payload)
	}
	return fmt.Errorf("%w: message %d in place of a result", errProtocol, f.kind)
}

// Every key that a function asks for is remembered: what that takes is bounded.
const (
	bindingBytes = 256      // beside the key itself
	maxAsked     = 64 << 20 // bytes; a quarter of a million keys
)

// want decodes the driver's question.
func (i *invocation) want(payload []byte) (want, error) {
	w, err := decodeWant(payload)
	if err != nil {
		return want{}, err
	}
	if !i.f.spec.Lazy {
		return want{}, fmt.Errorf("%w: WANT of a function that was given its whole event", errProtocol)
	}
	if i.asked += len(w.key) + bindingBytes; i.asked > maxAsked {
		return want{}, fmt.Errorf("%w: it has asked for %d keys, which take more than %d bytes", errProtocol, len(i.bound), maxAsked)
	}
	return w, nil
}

// load imports the code on the base path.
func (i *invocation) load(l *lease) error {
	code := i.f.code
	if code == nil {
		var err error
		if code, err = i.d.store.FunctionCode(i.f.spec); err != nil {
			return err
		}
	}
	start := time.Now()
	err := l.prepareDriver(i.deadline, guest.MsgLoad, code)
	i.result.Timings.Load = time.Since(start)
	return err
}

// answer gives the function the argument that it asked for.
func (i *invocation) answer(l *lease, key string) (frame, error) {
	value, present := i.event.value(key)
	i.bound = append(i.bound, i.event.binding(key))
	flag := []byte{0}
	if present {
		flag[0] = 1
	}
	var seed [guest.SeedBytes]byte
	rand.Read(seed[:])
	start := time.Now()
	f, err := l.exchange(i.deadline, guest.MsgArg, seed[:], i.context, flag, value)
	i.result.Timings.Run += time.Since(start)
	return f, err
}

func (i *invocation) captureAt(l *lease, w want) error {
	if i.capture == nil {
		return nil
	}
	t, err := i.capture(i, l, w)
	if err != nil {
		return err
	}
	if t != nil {
		i.from = t
		i.result.Captured = append(i.result.Captured, t.node.Info.ID)
	}
	return nil
}

// restoreFunction makes the nodes of a deployed function again. Where nothing
// can be stored it returns the node that they would hang on.
func (d *Dispatcher) restoreFunction(ctx context.Context, f *function) (*target, error) {
	d.deployMu.Lock()
	defer d.deployMu.Unlock()
	code, err := d.store.FunctionCode(f.spec)
	if err != nil {
		return nil, err
	}
	parent, err := d.imported(ctx, f.spec.Image, f.spec.Imports)
	if err != nil {
		return nil, err
	}
	if d.opts.ReadOnly {
		return parent, nil // the code is loaded for this invocation alone
	}
	t, err := d.functionNode(ctx, &f.spec, code, parent)
	if err != nil {
		return nil, err
	}
	d.catalog.forget(f.spec.Name)
	return t, nil
}
