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
	return l.on(ctx, t, l.begin(ctx))
}

// begin returns what it does first that is asked for nothing by which its driver would seed its
// generators: before it has, no thread of its own goes on.
func (l *life) begin(ctx context.Context) func() error {
	if l.i != nil { // it has begun
		return func() error { return nil }
	}
	return func() error { return l.i.Converse(ctx, time.Now().Add(restTime)).Import() }
}
