// Package program declares the contract of plain programs: the event on standard input,
// the answer from standard output. A program is captured when it first reads its input,
// and is over with each answer: it exits with status 0. Another status is the function's
// error, what it wrote to standard error the message.
package program

import (
	"context"
	"errors"
	"fmt"
	"time"

	"seuss/dispatcher/contracts"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/instance"
	"seuss/guest"
	"seuss/lineage"
	"seuss/vmm/vsock"
)

func init() {
	contracts.Register(&contracts.Contract{
		Name: "program", Title: "a program on standard input and output",
		Ready: "it reads its standard input for the first time",
		Await: await, Serve: serve, Live: &contracts.Live{Own: true, Meet: meet, Type: enter},
	})
}

func await(ctx context.Context, i *instance.Instance, _ *functions.Program, deadline time.Time) (contracts.Ready, error) {
	var in *vsock.Conn
	i.Meet(func(c *vsock.Conn) error {
		if c.HostPort() != guest.StdinPort || in != nil {
			return errors.New("a program has its standard input, once")
		}
		in = c
		return nil
	})
	var o output
	o.take(i)
	err := i.Until(ctx, deadline, func() bool { return in != nil })
	if err == nil {
		err = i.Rest(deadline)
	}
	var exit *instance.ExitError
	switch {
	case errors.As(err, &exit):
		err = fmt.Errorf("the program ended before it read its standard input, with exit status %d%s: %w", exit.Status, o.said.After(": "), lineage.ErrInvalid)
	case err != nil:
		err = fmt.Errorf("the program has not read its standard input: %w", err)
	case len(o.answer) > 0:
		err = fmt.Errorf("the program has written %.40q to its standard output before it read its input: every answer would lack it: %w", o.answer, lineage.ErrInvalid)
	}
	i.Keep(in)
	return contracts.Ready{}, err
}

func serve(ctx context.Context, i *instance.Instance, _ *functions.Program, call *contracts.Call) ([]byte, error) {
	in := i.Kept()
	if in == nil {
		return nil, fmt.Errorf("the program does not read its standard input: %w", instance.ErrStream)
	}
	o := output{stream: call.Stream}
	o.take(i)
	err := in.Send(call.Event)
	if err == nil {
		err = in.CloseWrite()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", instance.ErrStream, err)
	}
	err = i.Until(ctx, call.Deadline, func() bool { return o.tooMuch })
	var exit *instance.ExitError
	switch {
	case o.tooMuch:
		return nil, contracts.TooLarge()
	case errors.As(err, &exit) && exit.Status == 0:
		return o.answer, nil
	case exit != nil:
		message := o.said.After("")
		if message == "" {
			message = fmt.Sprintf("exit status %d", exit.Status)
		}
		return nil, &instance.HandlerError{Type: fmt.Sprintf("Program.ExitStatus%d", exit.Status&0xff), Message: message}
	}
	return nil, err
}

// output is what a program has written.
type output struct {
	stream  contracts.Stream // takes the answer; nil: it is kept
	answer  []byte
	bytes   int  // of the answer
	tooMuch bool // there was more
	said    contracts.Said
}

func (o *output) take(i *instance.Instance) {
	i.Output(func(fd uint16, p []byte) bool {
		switch {
		case fd == 1 && !o.tooMuch:
			switch o.bytes += len(p); {
			case o.bytes > contracts.MaxAnswerBytes:
				o.tooMuch = true
			case o.stream != nil:
				o.stream("", p)
			default:
				o.answer = append(o.answer, p...)
			}
		case fd == 2:
			o.said.Add(p)
		}
		return fd == 1
	})
}
