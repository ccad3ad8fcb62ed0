package contracts

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"seuss/dispatcher/functions"
	"seuss/dispatcher/instance"
	"seuss/guest"
	"seuss/images/runtimes"
	"seuss/lineage"
)

// Driver is the name of the contract of functions that name none.
const Driver = "driver"

// Loader is the runtime whose driver writes a program's files and becomes it: what an
// image has to hold for programs.
const Loader = "loader"

// TaskRoot is where the loader writes a function's files, and where its command is started.
const TaskRoot = runtimes.TaskRoot

// MaxAnswerBytes bounds what a program may answer: AWS Lambda's limit for a synchronous
// payload.
const MaxAnswerBytes = guest.ResultBytes

// Contract is one way in which a program says that it is ready and takes requests.
type Contract struct {
	Name  string
	Title string // for people
	Ready string // by what it is known to be ready, for people: "it waits in ..."

	// LambdaRuntimes are AWS Lambda's names of runtimes that mean the contract, and Bootstrap
	// is the file of the code that is its program then.
	LambdaRuntimes []string
	Bootstrap      string

	// What a deployment may have; what its contract has not is refused by name.
	Arguments bool // event keys that come one by one, and argument nodes
	Imports   bool // import nodes
	WarmUps   bool // invocations before the capture
	Handler   bool // a handler, whose name reaches the program
	Port      bool // a port that it listens on, which it needs, and a path that has to answer

	// Environment is what a program finds in its environment where its function does not
	// set it otherwise; nil: nothing. A function cannot set those that are Reserved.
	Environment func(*functions.Function) map[string]string
	Reserved    []string
	// Await runs a program that was just started until it is ready to be captured; what it
	// leaves with Instance.Keep is open in the node. nil: it is a driver, which says so in
	// answer to LOAD.
	Await func(ctx context.Context, i *instance.Instance, p *functions.Program, deadline time.Time) (Ready, error)
	// Serve has a program answer a request. What the program does wrong is an
	// *instance.HandlerError or one of package instance's errors; the answer is
	// whatever the program says, at most MaxAnswerBytes, and nil where Call.Stream was given
	// it. nil: it is a driver.
	Serve func(ctx context.Context, i *instance.Instance, p *functions.Program, call *Call) (answer []byte, err error)
	// Live is what instances that live on can be asked for; nil: it is a driver.
	Live *Live
}

// Live is what a program can be asked for that goes on. What it prints is not touched.
type Live struct {
	// Own: an image's own program can be one, whatever it has printed before it is ready.
	Own bool
	// Start runs one that was just started until it is ready; nil: until it rests.
	Start func(ctx context.Context, i *instance.Instance, p *functions.Program, deadline time.Time) error
	// Meet takes the streams that it opens, from now on; nil: it opens none.
	Meet func(i *instance.Instance)
	// Type writes text to it, and runs it until it waits for more; nil: it has no input. What
	// it is refused before anything was done matches lineage.ErrInvalid.
	Type func(ctx context.Context, i *instance.Instance, text []byte, deadline time.Time) error
	// Serve is as the contract's, and leaves it ready for the next request; nil: requests are
	// typed. What is refused before anything was done matches lineage.ErrInvalid.
	Serve func(ctx context.Context, i *instance.Instance, p *functions.Program, call *Call) (answer []byte, err error)
}

// Ready is how a program is ready.
type Ready struct {
	// Waits is what it waits for, where that is another thing than its first request; it
	// is in the node's key.
	Waits string
	// Told: it will hear that it goes on in another instance, and can seed its generators
	// anew.
	Told bool
}

// Call is a request.
type Call struct {
	Waits     string // see Ready
	RequestID string
	Event     []byte // JSON
	Context   []byte // JSON object, as drivers are given it
	Deadline  time.Time
	Port      uint16   // of the program; 0: it has none
	Exchange  Exchange // in place of Event; nil: there is none
	Stream    Stream   // nil: nobody reads the answer before it is whole
}

// TooLarge is the error of a program that answers more than MaxAnswerBytes, as AWS Lambda
// words it.
func TooLarge() error {
	return &instance.HandlerError{Type: "Function.ResponseSizeTooLarge", Message: fmt.Sprintf("Response payload size exceeded maximum allowed payload size (%d bytes).", MaxAnswerBytes)}
}

// Answer makes JSON of what a program has answered: itself where it is JSON, else a string
// of the text that it is. As JSON, too, it has at most MaxAnswerBytes.
func Answer(answer []byte) ([]byte, error) {
	switch {
	case json.Valid(answer):
		answer = bytes.TrimSpace(answer)
	case utf8.Valid(answer):
		var err error
		if answer, err = json.Marshal(string(answer)); err != nil {
			return nil, err
		}
	default:
		return nil, &instance.HandlerError{Type: "Runtime.MarshalError", Message: "Unable to marshal response: it is neither JSON nor text in UTF-8"}
	}
	if len(answer) > MaxAnswerBytes {
		return nil, TooLarge()
	}
	return answer, nil
}

var all []*Contract

// Register adds a contract. A folder calls it from its init; what contradicts another
// folder panics.
func Register(c *Contract) {
	if c.Name == "" || c.Title == "" || c.Ready == "" || (c.Await == nil) != (c.Serve == nil) {
		panic(fmt.Sprintf("contract %q is incomplete", c.Name))
	}
	if slices.ContainsFunc(all, func(o *Contract) bool { return o.Name == c.Name }) {
		panic(fmt.Sprintf("two contracts %q", c.Name))
	}
	all = append(all, c)
	slices.SortFunc(all, func(a, b *Contract) int { return strings.Compare(a.Name, b.Name) })
}

// All returns the contracts, sorted by name.
func All() []*Contract { return slices.Clone(all) }

// ByName returns the contract of a name; "" is Driver. The error matches
// lineage.ErrInvalid.
func ByName(name string) (*Contract, error) {
	if name == "" {
		name = Driver
	}
	var names []string
	for _, c := range all {
		if c.Name == name {
			return c, nil
		}
		names = append(names, c.Name)
	}
	return nil, fmt.Errorf("contract %q is not one of %s: %w", name, strings.Join(names, ", "), lineage.ErrInvalid)
}

// Of returns the contract of a deployment with these settings.
func Of(s *functions.Settings) (*Contract, error) {
	if s.Program == nil {
		return ByName(Driver)
	}
	return ByName(s.Program.Contract)
}

// Runtime is what a deployment asks its image for: see runtimes.ParseAsk.
func Runtime(s *functions.Settings) string {
	if s.Program != nil {
		return Loader
	}
	return s.Runtime
}
