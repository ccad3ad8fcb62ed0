package dispatcher

import (
	"context"
	"errors"
	"fmt"
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
	i.progress.Place(i.Machine(), start.Node, i.deadline)
	i.Progress = i.progress
	i.MemoryPages = i.memoryLimit(start)
	i.Leave(i)
	if i.pool != nil {
		i.away.of, i.away.progress, i.away.lot = &i.loan, i.progress, i.d.lot
		i.away.stay.Owner = functions.OwnerOf(i.f.spec.Name)
		i.Parking = &i.away
	}
	if i.f.contract != nil {
		return i.serve(ctx, start)
	}
	s := i.Converse(ctx, i.deadline)
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
			began := time.Now()
			reply, err = s.Call(i.how(), i.context, i.event.raw)
			i.result.Timings.Run = time.Since(began)
		}
	}
	if err == nil && reply.Asks {
		reply, err = i.answerAll(s, reply)
	}
	i.result.Output = append(i.result.Output, reply.Output...)
	return err
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
	call := contracts.Call{Waits: waits, RequestID: i.result.RequestID, Event: i.event.raw, Context: i.context[4:], Deadline: i.deadline, Port: program.Port, Exchange: i.exchange}
	streamed := false
	if i.stream != nil {
		call.Stream = func(contentType string, p []byte) {
			streamed = true
			i.stream(contentType, p)
		}
	}
	answer, err := contract.Serve(ctx, i.Instance, program, &call)
	i.result.Timings.Run = time.Since(began)
	if fault := new(contracts.PanicError); errors.As(err, &fault) {
		i.d.log.Error("an exchange with a program panicked", "request_id", i.result.RequestID, "function", i.f.spec.Name, "fault", fault.Value, "stack", string(fault.Stack))
	}
	if err == nil && !streamed {
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
	return i.ways.accept(c, i.d, i.f, i.f.spec.Base(), i.result.RequestID)
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
	unlock, err := d.locks.lock(ctx, lockOf(name))
	if err != nil {
		return nil, err
	}
	defer unlock()
	spec, err := d.Lookup(name)
	if err != nil {
		return nil, err
	}
	code, err := d.Deployments.store.Code(spec.Function)
	if err != nil {
		return nil, err
	}
	return d.maker.of(ctx, &spec.Function, code)
}
