package instance

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"seuss/guest"
)

// Session is a conversation with the driver of an instance. It ends at a deadline, or
// when the caller's context does; the instance is over then too.
type Session struct {
	i            *Instance
	deadline     time.Time
	interruption // of a context that can end
}

// Reply is what a function's driver says: its result, or a question.
type Reply struct {
	Output []byte // the result, JSON; valid until the session's next call
	Asks   bool   // it wants an argument before it goes on
	Want   Want
}

// Converse begins a session. An instance has one at a time; it must be closed.
func (i *Instance) Converse(ctx context.Context, deadline time.Time) *Session {
	i.session = Session{i: i, deadline: deadline}
	if ctx.Done() != nil {
		i.session.interruption = interruptOn(ctx, i.vm.m)
	}
	return &i.session
}

// Close ends the session. err is what it ended with, and is returned with the context's
// cause if that was it.
func (s *Session) Close(err error) error {
	if s.ctx == nil {
		return err
	}
	return s.end(err)
}

// Import has modules imported. Import and Load return what the code did wrong as a
// *HandlerError.
func (s *Session) Import(modules ...string) error {
	request, err := json.Marshal(modules)
	if err != nil {
		return err
	}
	return s.prepare(guest.MsgImport, request)
}

// Load has the code of a function loaded: a document that the driver knows.
func (s *Session) Load(code []byte) error { return s.prepare(guest.MsgLoad, code) }

func (s *Session) prepare(kind uint8, request []byte) error {
	f, err := s.exchange(kind, request)
	if err != nil {
		return err
	}
	switch f.kind {
	case guest.MsgDone:
		return nil
	case guest.MsgError:
		return decodeError(f.payload)
	}
	return fmt.Errorf("%w: message %d in place of DONE", ErrProtocol, f.kind)
}

// Invoke runs the handler on a whole event, with a context that has its length before
// it. What the handler did wrong is a *HandlerError.
func (s *Session) Invoke(context, event []byte) (Reply, error) {
	var seed [guest.SeedBytes]byte
	rand.Read(seed[:])
	f, err := s.exchange(guest.MsgInvoke, seed[:], context, event)
	if err == nil && f.kind == guest.MsgWant {
		return Reply{}, fmt.Errorf("%w: WANT of a function that was given its whole event", ErrProtocol)
	}
	return decodeReply(f, err)
}

// InvokeLazy runs the handler on an event of which it has to ask for each argument.
func (s *Session) InvokeLazy(context []byte) (Reply, error) {
	var seed [guest.SeedBytes]byte
	rand.Read(seed[:])
	return decodeReply(s.exchange(guest.MsgInvokeLazy, seed[:], context))
}

// Answer gives a handler the argument that it asked for, or says that there is none. It
// is also how an instance goes on whose snapshot was taken at such a question.
func (s *Session) Answer(context, value []byte, present bool) (Reply, error) {
	var seed [guest.SeedBytes]byte
	rand.Read(seed[:])
	flag := [1]byte{}
	if present {
		flag[0] = 1
	}
	return decodeReply(s.exchange(guest.MsgArg, seed[:], context, flag[:], value))
}

func decodeReply(f frame, err error) (Reply, error) {
	if err != nil {
		return Reply{}, err
	}
	switch f.kind {
	case guest.MsgResult:
		if !json.Valid(f.payload) { // such as NaN, which some encoders let pass
			return Reply{}, &HandlerError{Type: "Runtime.MarshalError", Message: "Unable to marshal response: it is not JSON"}
		}
		return Reply{Output: f.payload}, nil
	case guest.MsgWant:
		w, err := decodeWant(f.payload)
		return Reply{Asks: true, Want: w}, err
	case guest.MsgError:
		return Reply{}, decodeError(f.payload)
	}
	return Reply{}, fmt.Errorf("%w: message %d in place of a result", ErrProtocol, f.kind)
}

// exchange sends a frame and runs the guest until it answers with one, whose payload is
// valid until the next exchange.
func (s *Session) exchange(kind uint8, parts ...[]byte) (frame, error) {
	if err := s.i.vm.stream.send(kind, parts...); err != nil {
		return frame{}, err
	}
	return s.i.runToFrame(s.deadline)
}
