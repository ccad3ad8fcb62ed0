// Package program declares the contract of plain programs: the event on standard input,
// the answer from standard output. A program is captured when it first reads its input,
// and is over with each answer: it exits with status 0. Another status is the function's
// error, what it wrote to standard error the message.
package program

import (
	"context"
	"errors"
	"fmt"
	"strings"
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
		Await: await, Serve: serve,
	})
}

// maxMessage bounds what of standard error becomes the message of an error, in bytes.
const maxMessage = 64 << 10

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
		err = fmt.Errorf("the program ended before it read its standard input, with exit status %d%s: %w", exit.Status, o.said(": "), lineage.ErrInvalid)
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
	var o output
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
		message := o.said("")
		if message == "" {
			message = fmt.Sprintf("exit status %d", exit.Status)
		}
		return nil, &instance.HandlerError{Type: fmt.Sprintf("Program.ExitStatus%d", exit.Status&0xff), Message: message}
	}
	return nil, err
}

// output is what a program has written.
type output struct {
	answer  []byte
	tooMuch bool // there was more
	errors  []byte
	cut     int // bytes of these that are left out
}

func (o *output) take(i *instance.Instance) {
	i.Output(func(fd uint16, p []byte) bool {
		switch {
		case fd == 1 && !o.tooMuch:
			if o.tooMuch = len(o.answer)+len(p) > contracts.MaxAnswerBytes; !o.tooMuch {
				o.answer = append(o.answer, p...)
			}
		case fd == 2:
			room := min(len(p), maxMessage-len(o.errors))
			o.errors = append(o.errors, p[:room]...)
			o.cut += len(p) - room
		}
		return fd == 1
	})
}

// said is what it wrote to standard error, with a prefix; "" if that is nothing.
func (o *output) said(prefix string) string {
	text := strings.ToValidUTF8(strings.TrimSpace(string(o.errors)), "\uFFFD")
	if text == "" {
		return ""
	}
	if o.cut > 0 {
		text += fmt.Sprintf(" [%d bytes were cut]", o.cut)
	}
	return prefix + text
}
