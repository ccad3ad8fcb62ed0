package functionapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"seuss/dispatcher/chain"
	"seuss/dispatcher/engine"
	"seuss/dispatcher/state"
)

// Answer is what comes of a request.
type Answer struct {
	Status int
	// Meta of a value that has one is in the headers Seuss-Size and Seuss-Version.
	Meta *state.Meta
	JSON bool // what Body is; else bytes
	Body []byte
	// Err is of which Body is the document; nil: it was done.
	Err error

	undo func() // undoes what nobody learns of; nil: it stays
	sent func() // is called once it is on its way; nil: nothing is to be done
}

// Later is an answer for which somebody has to wait; ctx ends the wait.
type Later func(ctx context.Context) Answer

// Headers of answers.
const (
	HeaderSize    = "Seuss-Size"
	HeaderVersion = "Seuss-Version"
)

// append appends the answer as HTTP/1.1 has it.
func (a *Answer) append(b []byte, head, last bool) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(a.Status), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(a.Status)...)
	b = append(b, "\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(a.Body)), 10)
	b = append(b, "\r\nContent-Type: "...)
	b = append(b, a.ContentType()...)
	if a.Meta != nil {
		b = append(b, "\r\n"+HeaderSize+": "...)
		b = strconv.AppendInt(b, a.Meta.Size, 10)
		b = append(b, "\r\n"+HeaderVersion+": "...)
		b = strconv.AppendUint(b, a.Meta.Version, 10)
	}
	if last {
		b = append(b, "\r\nConnection: close"...)
	}
	b = append(b, "\r\n\r\n"...)
	if head {
		return b
	}
	return append(b, a.Body...)
}

// Write answers a request that net/http has read.
func (a *Answer) Write(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", a.ContentType())
	h.Set("Content-Length", strconv.Itoa(len(a.Body)))
	if a.Meta != nil {
		h.Set(HeaderSize, strconv.FormatInt(a.Meta.Size, 10))
		h.Set(HeaderVersion, strconv.FormatUint(a.Meta.Version, 10))
	}
	w.WriteHeader(a.Status)
	_, _ = w.Write(a.Body) // who has gone hears nothing
}

// ContentType is that of the body.
func (a *Answer) ContentType() string {
	if a.JSON {
		return "application/json"
	}
	return "application/octet-stream"
}

// Problem is the document of an error.
type Problem struct {
	Error   string `json:"error"` // by which programs tell errors apart
	Message string `json:"message"`
	// Of an error of a function that was called: its own type, and its trace.
	Type  string   `json:"type,omitempty"`
	Trace []string `json:"trace,omitempty"`
}

// problems are the errors that programs tell apart.
var problems = []struct {
	err    error
	status int
	name   string
}{
	{state.ErrForbidden, http.StatusForbidden, "Forbidden"},
	{state.ErrNotFound, http.StatusNotFound, "NotFound"},
	{state.ErrNotPushed, http.StatusNotFound, "NotFound"},
	{state.ErrChanged, http.StatusPreconditionFailed, "Changed"},
	{state.ErrFenced, http.StatusPreconditionFailed, "Fenced"},
	{state.ErrDeadlock, http.StatusConflict, "Deadlock"},
	{state.ErrNotHeld, http.StatusConflict, "NotHeld"},
	{state.ErrTooLarge, http.StatusRequestEntityTooLarge, "TooLarge"},
	{state.ErrFull, http.StatusInsufficientStorage, "Full"},
	{engine.ErrDiskFull, http.StatusInsufficientStorage, "DiskFull"},
	{engine.ErrDamaged, http.StatusInternalServerError, "Damaged"},
	{engine.ErrClosed, http.StatusServiceUnavailable, "Unavailable"},
	{state.ErrTooMany, http.StatusTooManyRequests, "TooMany"},
	{state.ErrKey, http.StatusBadRequest, "Invalid"},
	{state.ErrRange, http.StatusBadRequest, "Invalid"},
	{chain.ErrForbidden, http.StatusForbidden, "Forbidden"},
	{chain.ErrNotFound, http.StatusNotFound, "NotFound"},
	{chain.ErrMismatch, http.StatusConflict, "Mismatch"},
	{chain.ErrDeadlock, http.StatusConflict, "Deadlock"},
	{chain.ErrTooDeep, http.StatusTooManyRequests, "TooDeep"},
	{chain.ErrTooMany, http.StatusTooManyRequests, "TooMany"},
	{chain.ErrFull, http.StatusInsufficientStorage, "Full"},
	{chain.ErrTooLarge, http.StatusRequestEntityTooLarge, "TooLarge"},
	{chain.ErrTimeout, http.StatusRequestTimeout, "Timeout"},
	{chain.ErrCancelled, http.StatusConflict, "Cancelled"},
	{chain.ErrRefused, http.StatusServiceUnavailable, "Refused"},
	{chain.ErrInvalid, http.StatusBadRequest, "Invalid"},
	{chain.ErrClosed, http.StatusServiceUnavailable, "Unavailable"},
	{ErrInvalid, http.StatusBadRequest, "Invalid"},
	{context.DeadlineExceeded, http.StatusRequestTimeout, "Timeout"},
	{state.ErrEnded, http.StatusServiceUnavailable, "Unavailable"},
	{state.ErrNoGlobal, http.StatusServiceUnavailable, "Unavailable"},
	{context.Canceled, http.StatusServiceUnavailable, "Unavailable"},
}

// failed is the answer that is an error.
func failed(err error) Answer {
	for _, p := range problems {
		if errors.Is(err, p.err) {
			return problem(p.status, p.name, err)
		}
	}
	return problem(http.StatusInternalServerError, "Failed", err)
}

func problem(status int, name string, err error) Answer {
	a := document(status, Problem{Error: name, Message: err.Error()})
	a.Err = err
	return a
}

func document(status int, v any) Answer {
	b, err := json.Marshal(v)
	if err != nil {
		return Answer{Status: http.StatusInternalServerError}
	}
	return Answer{Status: status, JSON: true, Body: b}
}

// done is the answer about a value, or an error.
func done(m state.Meta, err error) Answer {
	if err != nil {
		return failed(err)
	}
	return Answer{Status: http.StatusOK, Meta: &m}
}

// read is done with the value's bytes.
func read(p []byte, m state.Meta, err error) Answer {
	a := done(m, err)
	if err == nil {
		a.Body = p
	}
	return a
}
