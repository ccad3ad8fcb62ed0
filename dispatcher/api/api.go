// Package api holds the documents of the native HTTP API that dispatcher/http/native
// serves and seussctl speaks (the API is described by /openapi.json), the nouns of
// the service, and the one table of its errors: code, HTTP status, exit code.
//
// It keeps no state. Units are in the fields' names; sizes are bytes.
package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/admission"
	"seuss/dispatcher/bounds"
	"seuss/dispatcher/sched"
	"seuss/lineage"
)

// Code tells errors apart for programs.
type Code string

// The codes.
const (
	Failed          Code = "failed" // see the message
	Invalid         Code = "invalid"
	UnknownFunction Code = "unknown_function"
	NoImage         Code = "no_image"
	NotFound        Code = "not_found"
	Ambiguous       Code = "ambiguous"
	HasChildren     Code = "has_children"
	BadEvent        Code = "bad_event"
	Conflict        Code = "conflict"
	NotLazy         Code = "not_lazy"
	Killed          Code = "killed" // somebody who may has ended it
	NotAsked        Code = "not_asked"
	Impure          Code = "impure"         // a state that was to be captured
	QuotaExceeded   Code = "quota_exceeded" // what the owner may have
	NotAllowed      Code = "not_allowed"    // beyond what the daemon, or the token, allows
	ReadOnly        Code = "read_only"
	FunctionFailed  Code = "function_failed" // its code does not load; see Function
	Crashed         Code = "crashed"         // the guest died while it was prepared; see Crash
	Refused         Code = "refused"         // too much is asked; Retry-After says when to come again
	Unavailable     Code = "unavailable"
	NoSpace         Code = "no_space"     // the state directory's disk has no room for it
	Unauthorized    Code = "unauthorized" // who asks did not say who, or not truly
	Forbidden       Code = "forbidden"    // who asks may not
)

// Error is the answer to a request that failed.
type Error struct {
	Code      Code                      `json:"code"`
	Message   string                    `json:"message"`
	RequestID string                    `json:"request_id"`
	Function  *dispatcher.FunctionError `json:"function_error,omitempty"`
	Crash     *Crash                    `json:"crash,omitempty"`
}

// Crash is the death of a guest.
type Crash struct {
	Summary string `json:"summary"`
	Report  string `json:"report"`
}

// Health says whether the service is up.
type Health struct {
	Status        string      `json:"status"` // ok, draining
	UptimeSeconds int64       `json:"uptime_s"`
	StateDir      string      `json:"state_dir"`
	Scheduler     sched.Stats `json:"scheduler"`
	Events        int         `json:"events"` // asynchronous ones that are not done
}

// Endpoint says how clients reach the service over TCP.
type Endpoint struct {
	URL       string `json:"url,omitempty"` // empty: it listens on Unix sockets only
	Region    string `json:"region"`        // for AWS's clients
	Token     bool   `json:"token"`         // one is asked for
	TokenFile string `json:"token_file,omitempty"`
}

// Ready says whether the service serves, and if not why: draining, store damaged, no
// platform.
type Ready struct {
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons"`
}

// Invocation asks for an invocation.
type Invocation struct {
	Event         json.RawMessage      `json:"event"`
	TimeoutMS     int64                `json:"timeout_ms,omitempty"`
	From          dispatcher.StartPath `json:"from,omitempty"` // start no deeper than this
	Explain       bool                 `json:"explain,omitempty"`
	Fresh         bool                 `json:"fresh,omitempty"`
	AutoArguments bool                 `json:"auto_arguments,omitempty"`
	Memory        bool                 `json:"memory,omitempty"` // tell what the instance takes
}

// InvocationOf is the invocation that a request asks for.
func InvocationOf(r dispatcher.Request) Invocation {
	return Invocation{
		Event: r.Event, TimeoutMS: r.Timeout.Milliseconds(), From: r.MaxPath, Explain: r.Explain, Fresh: r.Fresh, AutoArguments: r.AutoArguments, Memory: r.Memory,
	}
}

// Request is the reverse of InvocationOf. What no invocation may ask for is refused: the
// error matches lineage.ErrInvalid.
func (i *Invocation) Request(function string) (dispatcher.Request, error) {
	const most = int64(bounds.MaxTimeout / time.Millisecond)
	if i.TimeoutMS < 0 || i.TimeoutMS > most { // a duration may not hold it
		return dispatcher.Request{}, fmt.Errorf("invoke %q: timeout_ms %d is not 0 to %d: %w", function, i.TimeoutMS, most, lineage.ErrInvalid)
	}
	r := dispatcher.Request{
		Function: function, Event: i.Event, Timeout: time.Duration(i.TimeoutMS) * time.Millisecond,
		MaxPath: i.From, Explain: i.Explain, Fresh: i.Fresh, AutoArguments: i.AutoArguments, Memory: i.Memory,
	}
	if err := r.Check(); err != nil {
		return r, fmt.Errorf("invoke %q: %w", function, err)
	}
	return r, nil
}

// UnderWay is what waits and runs, a page of it: what is asked for after Next comes next.
type UnderWay struct {
	Invocations []admission.UnderWay `json:"invocations"` // that have come first, first
	Total       int                  `json:"total"`       // with those that are not among them
	Next        string               `json:"next,omitempty"`
}

// Run asks for an invocation of code that is not deployed.
type Run struct {
	Function   dispatcher.FunctionSpec `json:"function"`
	Invocation Invocation              `json:"invocation"`
}

// Imports asks for an import snapshot.
type Imports struct {
	Runtime string   `json:"runtime,omitempty"` // a name that the image has; "" is its first
	Modules []string `json:"modules"`
}

// Decode reads one JSON document with no unknown fields.
func Decode(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON document")
	}
	return nil
}
