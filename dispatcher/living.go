package dispatcher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"seuss/dispatcher/functions"
	"seuss/dispatcher/instance"
	"seuss/dispatcher/instances"
	"seuss/dispatcher/instances/archive"
	"seuss/lineage"
)

// What an instance that lives on can be asked for: the verbs of an instances.Body.

// call checks a Call.
func (l *life) call(c *instances.Call) (*invocation, error) {
	request := &Request{Event: c.Event, Timeout: time.Duration(c.Timeout)}
	switch {
	case c.Code != nil:
		return &invocation{f: l.f, deadline: time.Now().Add(l.f.bounds.Time(request.Timeout))}, request.Check()
	case l.f.spec.Handler == "":
		return nil, fmt.Errorf("it has no handler, as it is of an image: exec code in it: %w", lineage.ErrInvalid)
	}
	return newInvocation(l.f, request, time.Now())
}

// Do runs code, or handles an event.
func (l *life) Do(ctx context.Context, t instances.Turn, c *instances.Call) (*instances.Answer, error) {
	call, err := l.call(c)
	if err != nil {
		return nil, &instances.Refusal{Err: err}
	}
	a := &instances.Answer{}
	l.output = c.Output
	defer func() { l.output = nil }()
	err = l.on(ctx, t, func() error {
		s := l.i.Converse(ctx, call.deadline)
		if c.Code != nil {
			out, err := s.Exec(*c.Code)
			if err == nil {
				err = json.Unmarshal(out, a)
			}
			return err
		}
		reply, err := s.Call(call.how(), call.context, call.event.raw)
		if err == nil && reply.Asks {
			reply, err = call.answerAll(s, reply)
		}
		a.Value, err = wholeOf(reply, err)
		return err
	})
	var own *FunctionError
	if errors.As(err, &own) && l.i != nil {
		a.Error, err = own, nil
	}
	return a, err
}

// Files does steps with its files, by its driver.
func (l *life) Files(ctx context.Context, t instances.Turn, steps []archive.Step) (list []archive.Result, err error) {
	request, err := json.Marshal(steps)
	if err != nil {
		return nil, &instances.Refusal{Err: err}
	}
	err = l.on(ctx, t, func() error {
		out, err := l.i.Converse(ctx, time.Now().Add(filesTime)).Files(request)
		if err == nil {
			answer := struct{ Value *[]archive.Result }{&list}
			err = json.Unmarshal(out, &answer)
		}
		return err
	})
	var own *FunctionError
	if errors.As(err, &own) && l.i != nil {
		err = &instances.Refusal{Err: fmt.Errorf("its runtime's driver copies no files (an image that was built by an earlier release has to be built anew): %w: %w", own, archive.ErrFiles)}
	}
	return list, err
}

// filesTime bounds a batch of steps with files, which is a mebibyte or so.
const filesTime = 30 * time.Second

// Step lets it do what it has to do by itself.
func (l *life) Step(ctx context.Context, t instances.Turn) error {
	begins := l.i == nil
	return l.on(ctx, t, func() error {
		if begins { // its generators are seeded before anything else
			return l.i.Converse(ctx, time.Now().Add(restTime)).Import()
		}
		return nil
	})
}

// Fork returns n others that are what it is.
func (l *life) Fork(ctx context.Context, t instances.Turn, n int) ([]instances.Body, error) {
	if l.i != nil && l.i.Parked().Bytes() > forkWhole && !l.d.opts.ReadOnly {
		if _, err := l.Checkpoint(ctx, t); err != nil {
			return nil, err
		}
	}
	var of *instance.Copy
	switch {
	case l.i != nil:
		var err error
		if of, err = instance.NewCopy(l.i); err != nil {
			return nil, err
		}
		defer of.Drop()
	case l.copy != nil:
		of = l.copy
	case !l.fresh:
		return nil, errOver
	}
	list := make([]instances.Body, n)
	for at := range list {
		other := &life{d: l.d, own: l.own, spec: l.spec, img: l.img, f: l.f, fresh: of == nil}
		if of != nil {
			other.copy = of.Clone()
		}
		other.init(l.node)
		list[at] = other
	}
	return list, nil
}

// Memory is its guest's.
func (l *life) Memory() (lineage.Memory, error) {
	switch {
	case l.i != nil:
		return l.i.Parked().Memory()
	case l.copy != nil:
		return l.copy.Memory()
	case l.fresh:
		return lineage.Memory{Node: l.node.Node, View: l.node.View}, nil
	}
	return lineage.Memory{}, errOver
}

// Checkpoint makes a node of what it is.
func (l *life) Checkpoint(ctx context.Context, t instances.Turn) (string, error) {
	if l.d.opts.ReadOnly {
		return "", &instances.Refusal{Err: lineage.ErrReadOnly}
	}
	if l.fresh {
		return l.Node(), nil
	}
	if err := l.d.checkQuota(functions.Key(l.own, ""), nil); err != nil {
		return "", &instances.Refusal{Err: err}
	}
	err := l.on(ctx, t, func() error {
		key := l.node.Node.Info.Key.Clone()
		key.Function = functions.Key(l.own, functions.NameOf(functions.BaseName(l.f.spec.Name)))
		key.Handler, key.CodeDigest, key.Lazy = l.f.spec.Handler, l.f.spec.CodeDigest, l.f.spec.Lazy
		s, err := l.i.Capture(instance.Capture{Kind: lineage.KindInstance, Key: key})
		if err != nil {
			return err
		}
		l.become(s)
		return nil
	})
	if err != nil {
		return "", err
	}
	return l.Node(), nil
}

// become notes the node that it is now.
func (l *life) become(s *instance.Snapshot) {
	s.Hold()
	l.node.Release()
	l.node = s
}

// Rollback makes it what it was at a node.
func (l *life) Rollback(_ context.Context, node string) error {
	other := &life{d: l.d, own: l.own}
	s, err := other.ofSnapshot(node)
	if err == nil && other.img.Digest != l.img.Digest {
		err = fmt.Errorf("snapshot %.12s is of another image: %w", s.Node.ID, lineage.ErrInvalid)
	}
	if err != nil {
		return &instances.Refusal{Err: err}
	}
	l.end(nil)
	l.become(s)
	f := *l.f
	f.spec = other.f.spec
	l.f, l.fresh = &f, true
	return nil
}
