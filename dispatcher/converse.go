package dispatcher

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"seuss/guest"
	"seuss/lineage"
)

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
		if code, err = i.d.functions.Code(i.f.spec); err != nil {
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
	code, err := d.functions.Code(f.spec)
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
