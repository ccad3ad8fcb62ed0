package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"seuss/dispatcher/contracts"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/instance"
	"seuss/lineage"
	"seuss/vmm/vsock"
)

// run is the instance's life: it has its limits and its way out, loads the code where
// its snapshot has none, is sent the event, or the argument that an argument snapshot
// stopped at, and has the driver's questions answered until there is a result.
func (i *invocation) run(ctx context.Context) error {
	if i.d.opts.VsockDir != "" {
		socket, err := i.openSocket(i.ways.out(i.d, i.f, i.f.spec.Base(), i.result.RequestID).Places())
		if err != nil {
			return err
		}
		defer socket.close()
	}
	start := i.Start()
	i.progress.Place(i.VM(), start.Node, i.deadline)
	i.Progress = i.progress
	i.MemoryPages = i.memoryLimit(start)
	i.Leave(i)
	i.regions = i.d.opts.Regions.Set(functions.OwnerOf(i.f.spec.Name), i.f.spec.Base(), i.f.regions)
	if err := instance.Share(ctx, i.Instance, &i.regions, i.deadline); err != nil {
		return err
	}
	if i.pool != nil {
		i.away.of, i.away.progress, i.away.lot = &i.loan, i.progress, i.d.lot
		i.away.stay.Owner = functions.OwnerOf(i.f.spec.Name)
		i.Parking = &i.away
	}
	if i.f.contract != nil {
		return i.serve(ctx, start)
	}
	s := i.Converse(ctx, i.deadline)
	s.Stream = i.stream
	var reply instance.Reply
	var err error
	if key := &start.Node.Key; start.Node.Kind == lineage.KindArgument {
		i.bound = append(i.bound, key.Args...)
		reply, err = i.answer(s, key.NextKey)
	} else {
		if start.Node.Kind != lineage.KindFunction {
			err = i.load(s)
		}
		if err == nil {
			if start == i.f.node && i.f.spec.looks.Next() {
				err = i.look(s)
			}
		}
		if err == nil {
			began := time.Now()
			reply, err = s.Call(i.how(), i.context, i.event.raw)
			i.result.Timings.Run = time.Since(began)
		}
	}
	if err == nil && reply.Asks {
		reply, err = i.answerAll(s, reply)
	}
	if !reply.Streamed || i.stream == nil {
		i.result.Output, err = wholeOf(reply, err)
	}
	if i.looked && err == nil {
		i.lost = i.seen(ctx)
	}
	return err
}

// wholeOf is what a handler has answered that nobody was given as it came, or its error.
func wholeOf(reply instance.Reply, err error) ([]byte, error) {
	if err == nil && reply.Streamed {
		return contracts.Answer(reply.Output)
	}
	return append([]byte(nil), reply.Output...), err
}

// serve is run for a program: it becomes ready, where its snapshot is not, and answers.
func (i *invocation) serve(ctx context.Context, start *instance.Snapshot) error {
	contract, program := i.f.contract, i.f.spec.Settings.Program
	waits := start.Node.Key.NextKey
	if start.Node.Kind != lineage.KindFunction {
		err := i.load(i.Converse(ctx, i.deadline))
		if err == nil {
			began := time.Now()
			var ready contracts.Ready
			ready, err = contract.Await(ctx, i.Instance, program, i.deadline)
			waits = ready.Waits
			i.result.Timings.Load += time.Since(began)
		}
		if err != nil {
			return err
		}
	}
	began := time.Now()
	call := contracts.Call{Waits: waits, RequestID: i.result.RequestID, Event: i.event.raw, Context: i.context[4:], Deadline: i.deadline, Port: program.Port, Exchange: i.exchange, Stream: i.stream}
	answer, err := contract.Serve(ctx, i.Instance, program, &call)
	i.result.Timings.Run = time.Since(began)
	if fault := new(contracts.PanicError); errors.As(err, &fault) {
		i.d.log.Error("an exchange with a program panicked", "request_id", i.result.RequestID, "function", i.f.spec.Name, "fault", fault.Value, "stack", string(fault.Stack))
	}
	if err == nil && (i.stream == nil || answer != nil) { // else it was streamed, if it had any bytes
		i.result.Output, err = contracts.Answer(answer)
	}
	return err
}

// how says how the handler is given its event.
func (i *invocation) how() instance.How {
	if i.f.spec.Lazy {
		return instance.WithoutEvent
	}
	return instance.WithEvent
}

// Accept makes it an instance.Outside.
func (i *invocation) Accept(c *vsock.Conn) error {
	return i.ways.accept(c, i.d, i.f, i.f.spec.Base(), i.result.RequestID, i)
}

// Answer makes it an instance.Outside.
func (i *invocation) Answer(request, answer []byte) (int, bool) {
	return i.ways.api(i.d, i.f, i.f.spec.Base(), i.result.RequestID, i).Answer(request, answer), true
}

// answerAll answers the driver's questions until there is a result.
func (i *invocation) answerAll(s instance.Session, reply instance.Reply) (_ instance.Reply, err error) {
	for err == nil && reply.Asks {
		w := reply.Want
		if i.asked += len(w.Key) + bindingBytes; i.asked > maxAsked {
			return reply, fmt.Errorf("%w: it has asked for %d keys, which take more than %d bytes", instance.ErrProtocol, i.answers, maxAsked)
		}
		if w.All {
			w.Key = wholeEvent
		}
		if i.capture != nil {
			if err := i.capture(i, w); err != nil {
				return instance.Reply{}, err
			}
		}
		reply, err = i.answer(s, w.Key)
	}
	return reply, err
}

// Every key that a function asks for is remembered: what that takes is bounded.
const (
	bindingBytes = 256      // beside the key itself
	maxAsked     = 64 << 20 // bytes; a quarter of a million keys
)

// answer gives the handler the argument that it asked for.
func (i *invocation) answer(s instance.Session, key string) (instance.Reply, error) {
	how := instance.Argument
	value, present := i.event.value(key)
	if !present {
		how = instance.NoArgument
	}
	i.answers++
	if i.capture != nil { // or nobody asks what it was
		i.bound = append(i.bound, i.event.binding(key))
	}
	began := time.Now()
	reply, err := s.Call(how, i.context, value)
	i.result.Timings.Run += time.Since(began)
	return reply, err
}

// load imports the code on the base path.
func (i *invocation) load(s instance.Session) error {
	code := i.f.code
	if code == nil {
		var err error
		if code, err = i.d.Deployments.store.Code(i.f.spec.Function); err != nil {
			return err
		}
	}
	began := time.Now()
	var err error
	if i.f.contract != nil {
		err = contracts.Become(s, code)
	} else if code, err = i.d.maker.around(i.f.image, i.f.runtime, &i.f.spec.Function, code); err == nil {
		_, err = s.Load(code)
	}
	i.result.Timings.Load = time.Since(began)
	return err
}

// memoryLimit is how many pages an invocation from s may have written, so that
// with what its function's snapshots hold it stays within the function's memory; 0:
// its guest's memory is limit enough.
func (i *invocation) memoryLimit(s *instance.Snapshot) uint64 {
	limit := uint64(i.f.bounds.MemoryMiB) << 20
	if limit == 0 || limit >= i.f.image.MemoryBytes {
		return 0
	}
	pages := limit / lineage.PageSize
	return max(pages-min(pages, s.Pages), 1)
}

// restore makes the snapshots of a deployed function again. Where nothing can be stored
// it returns the one that they would hang on.
func (d *Dispatcher) restore(ctx context.Context, name string) (*instance.Snapshot, error) {
	unlock, err := d.locks.Lock(ctx, lockOf(name))
	if err != nil {
		return nil, err
	}
	spec, err := d.Lookup(name)
	var code []byte
	if err == nil {
		code, err = d.Deployments.store.Code(spec.Function)
	}
	if err != nil {
		unlock()
		return nil, err
	}
	return d.maker.first(ctx, &spec.Function, code, unlock)
}

// What comes of it when its run has ended: the result, and the machine.

// conclude takes what there is to know from the instance when its run has ended in err,
// turns what the function did wrong into the result's error, in Lambda's words, and
// returns what is the host's error.
func (i *invocation) conclude(err error) error {
	start, r := i.Start(), i.result
	r.Path, r.Pooled, r.NodeID = PathOf(start.Node.Kind), i.Pooled, start.Node.ID
	r.PagesCopied, r.PagesMapped = i.Moved.Copied, i.Moved.Mapped
	r.Timings.Machine = i.waited
	if start.State != nil {
		r.Timings.Deploy = i.Restored
		start.Node.Hit()
	}
	i.Leave(nil)
	i.regions.Close()
	r.NetworkRefused = i.ways.close()
	told := i.Report()
	r.Logs, r.LogsCut = append(r.Logs, told.Logs...), told.LogsCut
	if most := i.f.bounds.OutputBytes; most > 0 {
		r.cutLogs(most)
	}
	r.Unsupported, r.PagesPagedIn, r.Exits = told.Unsupported, told.PagedIn, told.Exits
	r.Timings.Total = time.Since(i.started)
	if i.memory || i.pool == nil { // else it is found out before the machine is reset
		i.measure()
	}
	if i.progress.End() {
		err, r.Output = ErrKilled, nil // at whatever point that was
	}
	i.err = err
	if err == nil {
		return nil
	}
	var own *FunctionError
	var crash *CrashError
	switch {
	case errors.As(err, &own):
		r.Error = own
	case errors.Is(err, ErrTimeout):
		i.d.events.timeouts.Add(1)
		r.Error = &FunctionError{Type: "Sandbox.Timedout", Cause: err,
			Message: fmt.Sprintf("RequestId: %s Error: Task timed out after %.2f seconds", r.RequestID, i.deadline.Sub(i.started).Seconds())}
	case errors.Is(err, ErrKilled):
		r.Error = &FunctionError{Type: "Sandbox.Killed", Cause: err, Message: fmt.Sprintf("RequestId: %s Error: Task was killed after %.2f seconds", r.RequestID, r.Timings.Total.Seconds())}
	case errors.Is(err, ErrMemory):
		i.d.events.outOfMemory.Add(1)
		r.Error = &FunctionError{Type: "Runtime.OutOfMemory", Cause: err, Message: fmt.Sprintf("RequestId: %s Error: Runtime exited with error: signal: killed", r.RequestID)}
	case errors.Is(err, ErrGuestExit):
		r.Error = &FunctionError{Type: "Runtime.ExitError", Cause: err, Message: fmt.Sprintf("RequestId: %s Error: %v", r.RequestID, err)}
	case errors.Is(err, instance.ErrProtocol), errors.Is(err, instance.ErrStream):
		r.Error = &FunctionError{Type: "Runtime.ExitError", Cause: err, Message: fmt.Sprintf("RequestId: %s Error: %v", r.RequestID, err)}
	case errors.As(err, &crash):
		i.d.events.crashes.Add(1)
		r.Crash = crash.Report
		r.Error = &FunctionError{Type: "Runtime.ExitError", Cause: err, Message: fmt.Sprintf("RequestId: %s Error: %s", r.RequestID, crash.Summary)}
	default:
		return err
	}
	if r.Error != nil && r.Error.StackTrace == nil {
		r.Error.StackTrace = []string{}
	}
	return nil
}

// cutLogs drops the output beyond so many bytes.
func (r *Result) cutLogs(most int) {
	for n := range r.Logs {
		text := &r.Logs[n].Text
		if len(*text) > most {
			*text = strings.ToValidUTF8((*text)[:most], "")
			r.Logs, r.LogsCut = r.Logs[:n+1], true
			return
		}
		most -= len(*text)
	}
}

// measure takes the figures that cost a request time, which Total leaves out.
func (i *invocation) measure() {
	r := i.result
	var err error
	if r.Faults, r.PagesDirtied, err = i.Usage(); err != nil {
		i.d.log.Warn("private pages unknown", "error", err)
	}
	if !i.memory {
		return
	}
	if resident, err := i.Resident(); err == nil {
		r.PrivateBytes, r.SharedBytes = resident.Private, resident.Shared
	}
}
