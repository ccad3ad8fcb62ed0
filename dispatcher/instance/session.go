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
	// Stream takes what a handler streams, as it comes: content type, and bytes that are
	// valid during the call, guest.ResultBytes at most in all. nil: it is in Reply.Output.
	Stream func(contentType string, p []byte)

	i        *Instance
	ctx      context.Context
	deadline time.Time
}

// Reply is what a function's driver says: its result, or a question.
type Reply struct {
	Output   []byte // the result, JSON; valid until the session's next call
	Streamed bool   // the handler has streamed it: Output is any bytes, without those that Stream was given
	Asks     bool   // it wants an argument before it goes on
	Want     Want
}

// Converse begins a session. An instance has one at a time.
func (i *Instance) Converse(ctx context.Context, deadline time.Time) Session {
	return Session{i: i, ctx: ctx, deadline: deadline}
}

// Import has modules imported, and the runtime's generators seeded, also where there are none.
// Import and Load return what the code did wrong as a *HandlerError.
func (s Session) Import(modules ...string) error {
	request, err := json.Marshal(append([]string{}, modules...)) // never null
	if err == nil {
		_, err = s.prepare(guest.MsgImport, request)
	}
	return err
}

// Load has the code of a function loaded: a document that the driver knows. It returns
// what the driver tells of that, which is valid until the session's next call.
func (s Session) Load(code []byte) (told []byte, err error) { return s.prepare(guest.MsgLoad, code) }

// Watch has the driver note what is imported from here on, and Watched ends that and returns
// what the driver tells of it, as Load does. A *HandlerError is of a driver that cannot: the
// session goes on.
func (s Session) Watch() error {
	_, err := s.prepare(guest.MsgWatch, []byte("true"))
	return err
}

// Watched ends Watch.
func (s Session) Watched() (told []byte, err error) {
	return s.prepare(guest.MsgWatch, []byte("false"))
}

// Become has the loader that is in every image write the files of a program, whose records
// are those of ABI_MSG_PROGRAM. In the next run of the guest it becomes the program, and
// its stream ends: the session is over. What is wrong with the program is a *HandlerError.
func (s Session) Become(records []byte) error {
	if _, err := s.prepare(guest.MsgProgram, records); err != nil {
		return err
	}
	stream := &s.i.vm.stream
	if err := stream.conn.Send(stream.make(guest.MsgStart, nil)); err != nil {
		return fmt.Errorf("%w: %w", ErrStream, err)
	}
	stream.conn = nil
	return nil
}

func (s Session) prepare(kind uint8, request []byte) (told []byte, err error) {
	f, err := s.i.exchange(s.ctx, s.deadline, s.i.vm.stream.make(kind, request))
	if err != nil {
		return nil, err
	}
	switch f.kind {
	case guest.MsgDone:
		return f.payload, nil
	case guest.MsgError:
		return nil, decodeError(f.payload)
	}
	return nil, fmt.Errorf("%w: message %d in place of DONE", ErrProtocol, f.kind)
}

// Exec has code run in the interpreter, whatever there is in the instance: what it defines
// stays. It returns {value, repr} as JSON, of which either may be absent, valid until the
// session's next call. What the code does wrong is a *HandlerError.
func (s Session) Exec(code string) ([]byte, error) {
	return s.exec(struct {
		Code string `json:"code"`
	}{code})
}

// Files has the driver do steps with files, JSON, and returns {value} as Exec does: a list
// of what came of each. Any *HandlerError is of a driver that cannot.
func (s Session) Files(steps json.RawMessage) ([]byte, error) {
	return s.exec(struct {
		Files json.RawMessage `json:"files"`
	}{steps})
}

func (s Session) exec(ask any) ([]byte, error) {
	request, err := json.Marshal(ask)
	if err != nil {
		return nil, err
	}
	f, err := s.i.exchange(s.ctx, s.deadline, s.i.vm.stream.make(guest.MsgExec, request))
	switch {
	case err != nil:
		return nil, err
	case f.kind == guest.MsgResult && json.Valid(f.payload):
		return f.payload, nil
	case f.kind == guest.MsgError:
		return nil, decodeError(f.payload)
	}
	return nil, fmt.Errorf("%w: message %d in place of a result", ErrProtocol, f.kind)
}

// How says what a handler is told.
type How int

// What a handler is told.
const (
	WithEvent    How = iota // to run, with a whole event
	WithoutEvent            // to run, and to ask for each argument of its event
	Argument                // the argument that it asked for; also how an instance goes on whose snapshot was taken at such a question
	NoArgument              // that there is no such argument
)

// Call tells a handler something, with a context that has its length before it, and runs
// it until it has a result or a question. What the handler did wrong is a *HandlerError.
func (s Session) Call(how How, context, value []byte) (Reply, error) {
	var seed [guest.SeedBytes]byte // of what the runtime draws at random
	rand.Read(seed[:])
	var request []byte
	switch stream := &s.i.vm.stream; how {
	case WithEvent:
		request = stream.make(guest.MsgInvoke, seed[:], context, value)
	case WithoutEvent:
		request = stream.make(guest.MsgInvokeLazy, seed[:], context)
	case Argument:
		request = stream.make(guest.MsgArg, seed[:], context, []byte{1}, value)
	case NoArgument:
		request = stream.make(guest.MsgArg, seed[:], context, []byte{0})
	}
	s.i.vm.stream.piece = pieces{allowed: how == WithEvent, give: s.Stream}
	defer s.over()
	f, err := s.i.exchange(s.ctx, s.deadline, request)
	if err != nil {
		return Reply{}, err
	}
	switch p := &s.i.vm.stream.piece; {
	case f.kind == guest.MsgResult && p.begun:
		return Reply{Output: p.kept, Streamed: true}, nil
	case f.kind == guest.MsgResult && json.Valid(f.payload):
		return Reply{Output: f.payload}, nil
	case f.kind == guest.MsgResult: // such as NaN, which some encoders let pass
		return Reply{}, &HandlerError{Type: "Runtime.MarshalError", Message: "Unable to marshal response: it is not JSON"}
	case f.kind == guest.MsgError:
		return Reply{}, decodeError(f.payload)
	case f.kind != guest.MsgWant:
		return Reply{}, fmt.Errorf("%w: message %d in place of a result", ErrProtocol, f.kind)
	case how == WithEvent:
		return Reply{}, fmt.Errorf("%w: WANT of a function that was given its whole event", ErrProtocol)
	}
	w, err := decodeWant(f.payload)
	return Reply{Asks: true, Want: w}, err
}

// over ends a call: from here on there is no answer to stream.
func (s Session) over() { s.i.stream().piece = pieces{} }
