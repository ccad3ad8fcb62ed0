package dispatcher

import (
	"context"
	"fmt"
	"time"

	"seuss/dispatcher/instance"
	"seuss/lineage"
)

// live is the instance's life: it has its way out and its limits, loads the code where
// its snapshot has none, is sent the event, or the argument that an argument snapshot
// stopped at, and has the driver's questions answered until there is a result.
func (i *invocation) live(ctx context.Context, l *instance.Instance) error {
	began := l.Start()
	way := i.d.opts.Network.Open(i.result.RequestID, i.f.spec.Base(), i.d.opts.Budgets).Within(i.f.bounds.Within)
	if i.d.opts.VsockDir != "" {
		socket, err := i.openSocket(l, way.Places())
		if err != nil {
			way.Close()
			return err
		}
		defer socket.close()
	}
	l.MemoryPages = i.memoryLimit(began)
	l.Leave(way)
	s := l.Converse(ctx, i.deadline)
	var reply instance.Reply
	var err error
	switch began.Node.Kind {
	case lineage.KindImage, lineage.KindBase, lineage.KindImport:
		if err = i.load(s); err == nil {
			reply, err = i.send(s)
		}
	case lineage.KindFunction:
		reply, err = i.send(s)
	case lineage.KindArgument:
		key := &began.Node.Key
		i.bound = append(i.bound, key.Args...)
		reply, err = i.answer(s, key.NextKey)
	default:
		err = fmt.Errorf("node %.12s has kind %q, from which nothing can be invoked", began.Node.ID, began.Node.Kind)
	}
	if err == nil && reply.Asks {
		reply, err = i.answerAll(s, l, reply)
	}
	i.result.Output = append(i.result.Output, reply.Output...)
	err = s.Close(err)
	i.result.NetworkRefused = way.Close()
	return err
}

// answerAll answers the driver's questions until there is a result.
func (i *invocation) answerAll(s *instance.Session, l *instance.Instance, reply instance.Reply) (_ instance.Reply, err error) {
	for err == nil && reply.Asks {
		w := reply.Want
		if i.asked += len(w.Key) + bindingBytes; i.asked > maxAsked {
			return reply, fmt.Errorf("%w: it has asked for %d keys, which take more than %d bytes", instance.ErrProtocol, len(i.bound), maxAsked)
		}
		if w.All {
			w.Key = wholeEvent
		}
		if i.capture != nil {
			if err := i.capture(i, l, w); err != nil {
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

// send has the handler run.
func (i *invocation) send(s *instance.Session) (reply instance.Reply, err error) {
	began := time.Now()
	if i.f.spec.Lazy {
		reply, err = s.InvokeLazy(i.context)
	} else {
		reply, err = s.Invoke(i.context, i.event.raw)
	}
	i.result.Timings.Run = time.Since(began)
	return reply, err
}

// answer gives the handler the argument that it asked for.
func (i *invocation) answer(s *instance.Session, key string) (instance.Reply, error) {
	value, present := i.event.value(key)
	i.bound = append(i.bound, i.event.binding(key))
	began := time.Now()
	reply, err := s.Answer(i.context, value, present)
	i.result.Timings.Run += time.Since(began)
	return reply, err
}

// load imports the code on the base path.
func (i *invocation) load(s *instance.Session) error {
	code := i.f.code
	if code == nil {
		var err error
		if code, err = i.d.Deployments.store.Code(i.f.spec.Function); err != nil {
			return err
		}
	}
	began := time.Now()
	err := s.Load(code)
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
	spec, err := d.get(name)
	if err != nil {
		return nil, err
	}
	code, err := d.Deployments.store.Code(spec.Function)
	if err != nil {
		return nil, err
	}
	return d.maker.of(ctx, &spec.Function, code)
}
