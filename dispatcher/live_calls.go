package dispatcher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"seuss/dispatcher/instances"
	"seuss/dispatcher/instances/archive"
	"seuss/lineage"
	"seuss/vmm/vsock"
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
	if l.f.contract != nil {
		return l.ask(ctx, t, c)
	}
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
	if l.f.contract != nil {
		return nil, &instances.Refusal{Err: fmt.Errorf("its files are out of reach: a runtime's driver copies files, and it is a program: have it read and write them, or forward a port of it: %w", lineage.ErrInvalid)}
	}
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

// Dial connects to a TCP port of its guest. The connection takes room where it is off its
// machine: where there is none it is refused, and the instance goes on.
func (l *life) Dial(ctx context.Context, t instances.Turn, port uint16, output instances.Output) (instances.Port, error) {
	if !l.d.lot.Take(&l.away.stay, l.Bytes()+vsock.StreamBytes) {
		if err := l.room(); err != nil { // what it had is somebody else's by now
			return nil, err
		}
		return nil, &instances.Refusal{Err: fmt.Errorf("%w: there is no room for the bytes of a connection more: allow more (serve --parked-memory)", instances.ErrTooMany)}
	}
	l.output = output
	defer func() { l.output = nil }()
	begin := l.begin(ctx)
	var c *vsock.Conn
	var refused error
	err := l.on(ctx, t, func() error {
		err := begin()
		if err == nil {
			c, refused = l.i.Inbound().Dial(port)
		}
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case refused != nil:
		return nil, &instances.Refusal{Err: refused}
	}
	return vsock.NewStream(c), nil
}

// Step lets it do what it has to do by itself.
func (l *life) Step(ctx context.Context, t instances.Turn, output instances.Output) error {
	l.output = output
	defer func() { l.output = nil }()
	return l.on(ctx, t, l.begin(ctx))
}

// begin returns what it does first that is asked for nothing by which its driver would seed its
// generators: before it has, no thread of its own goes on.
func (l *life) begin(ctx context.Context) func() error {
	if l.i != nil || l.f.contract != nil { // it has begun, or nobody can seed anything
		return func() error { return nil }
	}
	return func() error { return l.i.Converse(ctx, time.Now().Add(restTime)).Import() }
}
