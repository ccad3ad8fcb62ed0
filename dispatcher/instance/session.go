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
// when the caller's context does; the instance is over then too. There is nothing to
// close.
type Session struct {
	i        *Instance
	ctx      context.Context
	deadline time.Time
}

// Reply is what a function's driver says: its result, or a question.
type Reply struct {
	Output []byte // the result, JSON; valid until the session's next call
	Asks   bool   // it wants an argument before it goes on
	Want   Want
}

// Converse begins a session. An instance has one at a time.
func (i *Instance) Converse(ctx context.Context, deadline time.Time) Session {
	return Session{i, ctx, deadline}
}

// Import has modules imported. Import and Load return what the code did wrong as a
// *HandlerError.
func (s Session) Import(modules ...string) error {
	request, err := json.Marshal(modules)
	if err != nil {
		return err
	}
	return s.prepare(guest.MsgImport, request)
}

// Load has the code of a function loaded: a document that the driver knows.
func (s Session) Load(code []byte) error { return s.prepare(guest.MsgLoad, code) }

func (s Session) prepare(kind uint8, request []byte) error {
	f, err := s.i.exchange(s.ctx, s.deadline, s.i.vm.stream.make(kind, request))
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

// Invoke runs the handler on an event, with a context that has its length before it; a
// nil event is one of which the handler has to ask for each argument. What the handler
// did wrong is a *HandlerError.
func (s Session) Invoke(context, event []byte) (Reply, error) {
	if event == nil {
		return s.ask(guest.MsgInvokeLazy, context)
	}
	reply, err := s.ask(guest.MsgInvoke, context, event)
	if reply.Asks {
		return Reply{}, fmt.Errorf("%w: WANT of a function that was given its whole event", ErrProtocol)
	}
	return reply, err
}

// Answer gives a handler the argument that it asked for, or says that there is none. It
// is also how an instance goes on whose snapshot was taken at such a question.
func (s Session) Answer(context, value []byte, present bool) (Reply, error) {
	flag := [1]byte{}
	if present {
		flag[0] = 1
	}
	return s.ask(guest.MsgArg, context, flag[:], value)
}

// ask sends a frame, with a seed for what the runtime draws at random, and runs the
// guest until it has a result or a question.
func (s Session) ask(kind uint8, parts ...[]byte) (Reply, error) {
	var seed [guest.SeedBytes]byte
	rand.Read(seed[:])
	f, err := s.i.exchange(s.ctx, s.deadline, s.i.vm.stream.make(kind, seed[:], parts...))
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
