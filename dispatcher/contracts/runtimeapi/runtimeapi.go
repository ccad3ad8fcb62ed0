package runtimeapi

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"seuss/dispatcher/contracts"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/instance"
	"seuss/dispatcher/surroundings"
	"seuss/guest"
	"seuss/lineage"
	"seuss/vmm/vsock"
)

func init() {
	contracts.Register(&contracts.Contract{
		Name: "runtimeapi", Title: "AWS Lambda's Runtime API",
		Ready:          "its first GET .../invocation/next waits, or its GET .../restore/next",
		LambdaRuntimes: []string{"provided.al2023", "provided.al2", "provided"}, Bootstrap: "bootstrap", Handler: true, // as _HANDLER
		Environment: environment, Reserved: []string{apiVariable}, Await: await, Serve: serve, Live: &contracts.Live{Serve: serveOn},
	})
}

const (
	apiVariable = "AWS_LAMBDA_RUNTIME_API"
	// memoryMiB is what a function is told that it has which asks for nothing: Lambda's
	// default.
	memoryMiB = 128
)

// environment is what AWS Lambda sets for custom runtimes.
func environment(f *functions.Function) map[string]string {
	about := surroundings.Function{Function: f, Runtime: f.Settings.Runtime, MemoryMiB: uint64(cmp.Or(f.Settings.MemoryMiB, memoryMiB))}
	v := about.Variables()
	v[apiVariable] = fmt.Sprintf("127.0.0.1:%d", guest.RuntimeApiTcp)
	return v
}

func await(ctx context.Context, i *instance.Instance, _ *functions.Program, deadline time.Time) (contracts.Ready, error) {
	var s server
	var said contracts.Said
	said.Listen(i)
	i.Meet(s.accept)
	err := i.Until(ctx, deadline, func() bool { return s.over })
	if s.err != nil {
		return contracts.Ready{}, s.err
	}
	var exit *instance.ExitError
	if errors.As(err, &exit) {
		return contracts.Ready{}, fmt.Errorf("the program ended before it asked for an event, with exit status %d%s: %w", exit.Status, said.After(": "), lineage.ErrInvalid)
	}
	if err != nil {
		return contracts.Ready{}, fmt.Errorf("the program has not asked for its first event%s: %w", said.After("; it says: "), err)
	}
	// From here on until it is captured nobody is served.
	i.Meet(nil)
	for _, c := range s.conns {
		c.Handle(nil)
		c.Reset()
	}
	i.Keep(s.waiting)
	return contracts.Ready{Waits: s.waits, Told: s.waits == forRestore}, nil
}

// serveOn is serve for a program that goes on: it waits for its next event then.
func serveOn(ctx context.Context, i *instance.Instance, _ *functions.Program, call *contracts.Call) ([]byte, error) {
	kept := i.Kept()
	if kept == nil {
		return nil, fmt.Errorf("the program has hung up on the Runtime API: %w", instance.ErrStream)
	}
	s := server{call: call, live: true}
	i.Meet(s.accept)
	i.Keep(nil)
	if call.Waits == forRestore {
		send(kept, http.StatusOK, []byte("{}"), "")
	} else {
		s.give(kept)
	}
	err := i.Until(ctx, call.Deadline, func() bool { return s.over })
	if s.waiting == nil { // it is over, whatever it has answered
		if err == nil {
			err = s.err
		}
		var exit *instance.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("the program does not ask for its next event: %w", exit)
		}
		var own *instance.HandlerError
		if errors.As(err, &own) {
			err = fmt.Errorf("%v: %w", own, instance.ErrStream)
		}
		return nil, err
	}
	i.Meet(nil) // between two events nobody is served
	for _, c := range s.conns {
		c.Handle(nil)
		c.Reset()
	}
	i.Keep(s.waiting)
	return s.answer, s.err
}

func serve(ctx context.Context, i *instance.Instance, _ *functions.Program, call *contracts.Call) ([]byte, error) {
	kept := i.Kept()
	if kept == nil {
		return nil, fmt.Errorf("the program has hung up on the Runtime API: %w", instance.ErrStream)
	}
	s := server{call: call}
	i.Meet(s.accept)
	if call.Waits == forRestore {
		send(kept, http.StatusOK, []byte("{}"), "")
	} else {
		s.give(kept)
	}
	err := i.Until(ctx, call.Deadline, func() bool { return s.over })
	if s.over { // whatever became of the program behind its answer
		return s.answer, s.err
	}
	return nil, err
}

// give answers the GET that waits with the event.
func (s *server) give(c *vsock.Conn) {
	s.given = true
	var about struct {
		ARN     string          `json:"invoked_function_arn"`
		Client  json.RawMessage `json:"client_context"`
		Expires int64           `json:"deadline_ms"`
	}
	_ = json.Unmarshal(s.call.Context, &about) // the dispatcher has made it
	var h strings.Builder
	header := func(name, value string) { h.WriteString(name + ": " + value + "\r\n") }
	header("Lambda-Runtime-Aws-Request-Id", s.call.RequestID)
	header("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(about.Expires, 10))
	header("Lambda-Runtime-Invoked-Function-Arn", about.ARN)
	header("Lambda-Runtime-Trace-Id", traceID(s.call.RequestID))
	var client bytes.Buffer // without line ends, which JSON may have between its values
	if json.Compact(&client, about.Client) == nil && client.String() != "null" {
		header("Lambda-Runtime-Client-Context", client.String())
	}
	send(c, http.StatusOK, s.call.Event, h.String())
}

// traceID is a trace that nobody samples, in AWS X-Ray's form: programs parse it.
func traceID(request string) string {
	digits := strings.Map(func(r rune) rune {
		if strings.ContainsRune("0123456789abcdef", r) {
			return r
		}
		return -1
	}, strings.ToLower(request)) + strings.Repeat("0", 40)
	return fmt.Sprintf("Root=1-%08x-%s;Parent=%s;Sampled=0", uint32(time.Now().Unix()), digits[:24], digits[24:40])
}
