package tests

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/contracts"
	"seuss/dispatcher/functions"
	"seuss/lineage"
)

// contractBench deploys programs on a state directory of its own.
type contractBench struct {
	*testing.T
	*dispatcher.Dispatcher
}

func newContractBench(t *testing.T) *contractBench {
	t.Helper()
	t.Parallel()
	return &contractBench{t, openAt(t, treeCopy(t), nil)}
}

// deploy deploys a program that may have seeded its generators.
func (b *contractBench) deploy(name, contract string, change func(*dispatcher.FunctionSpec), files map[string][]byte, command ...string) error {
	spec := dispatcher.FunctionSpec{Name: name, Files: files}
	spec.Settings.Program = &functions.Program{Contract: contract, Command: command, SharedGenerators: true}
	if change != nil {
		change(&spec)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience(20*time.Second))
	defer cancel()
	_, err := b.Deploy(ctx, spec)
	return err
}

// refused deploys what has to be refused with words.
func (b *contractBench) refused(want string, contract string, change func(*dispatcher.FunctionSpec), files map[string][]byte, command ...string) {
	b.Helper()
	if err := b.deploy("refused", contract, change, files, command...); err == nil || !strings.Contains(err.Error(), want) {
		b.Errorf("deployed: %v, want %q", err, want)
	}
	if _, err := b.Lookup("refused"); !errors.Is(err, dispatcher.ErrUnknownFunction) {
		b.Errorf("what was refused is there: %v", err)
	}
}

// fails invokes a function that has to fail so, and the next time does not.
func (b *contractBench) fails(name, event, kind, message string) {
	b.Helper()
	timeout := patience(time.Minute)
	if kind == "Sandbox.Timedout" {
		timeout = patience(2 * time.Second)
	}
	r, err := b.Invoke(context.Background(), dispatcher.Request{Function: name, Event: []byte(event), Timeout: timeout})
	if err != nil {
		b.Fatalf("%s: %v", event, err)
	}
	if r.Error == nil || r.Error.Type != kind || !strings.Contains(r.Error.Message, message) {
		b.Errorf("%s: %.200s, %v; want %s: %s", event, r.Output, r.Error, kind, message)
	}
	if next := invoke(b, b.Dispatcher, name, `{}`); next.Error != nil {
		b.Errorf("after %s: %v", event, next.Error)
	}
}

// reader is a program that does what its event says.
const reader = `
import os, sys, time, json
seen = []
event = json.loads(sys.stdin.read())
do = event.get("do")
seen.append(do)
print("said", file=sys.stderr)
if do == "fail": print("it went wrong", file=sys.stderr); sys.exit(3)
if do == "silent": sys.exit(200)
if do == "big": sys.stdout.write("x" * (7 << 20))
if do == "endless":
    while True: sys.stdout.write("y" * 100000)
if do == "bytes": sys.stdout.buffer.write(b"\xff\xfe")
if do == "never": time.sleep(1000)
if do == "abort": os.abort()
if do == "text": print("two words"); sys.exit(0)
if do == "large": print(json.dumps("z" * (5 << 20))); sys.exit(0)
print(json.dumps({"seen": seen, "random": os.urandom(8).hex(), "again": sys.stdin.read()}))
`

// TestProgramContract: a program is captured when it first reads its input; each request
// has one of its own, and whatever one of them does the next is right.
func TestProgramContract(t *testing.T) {
	b := newContractBench(t)
	python := []string{"/usr/bin/python3", "-c", reader}
	if err := b.deploy("reader", "program", nil, nil, python...); err != nil {
		t.Fatal(err)
	}
	type answer struct {
		Seen          []*string
		Random, Again string
	}
	randoms := map[string]bool{}
	for range 5 {
		r := invoke(t, b.Dispatcher, "reader", `{"a": 1}`)
		if r.Path != dispatcher.PathFunction {
			t.Errorf("it started from %s", r.Path)
		}
		got := output[answer](t, r)
		if len(got.Seen) != 1 || got.Again != "" {
			t.Errorf("%+v is not fresh, or its input has no end", got)
		}
		randoms[got.Random] = true
	}
	if len(randoms) != 5 {
		t.Errorf("instances draw the same from the kernel: %v", randoms)
	}
	if got := output[string](t, invoke(t, b.Dispatcher, "reader", `{"do": "text"}`)); got != "two words\n" {
		t.Errorf("text: %q", got)
	}
	if got := output[string](t, invoke(t, b.Dispatcher, "reader", `{"do": "large"}`)); len(got) != 5<<20 {
		t.Errorf("5 MiB: %d bytes", len(got))
	}
	if got := output[answer](t, invoke(t, b.Dispatcher, "reader", fmt.Sprintf(`{"pad": %q}`, strings.Repeat("e", 5<<20)))); len(got.Seen) != 1 {
		t.Errorf("an event of 5 MiB: %+v", got)
	}
	b.fails("reader", `{"do": "fail"}`, "Program.ExitStatus3", "said\nit went wrong")
	b.fails("reader", `{"do": "silent"}`, "Program.ExitStatus200", "said")
	b.fails("reader", `{"do": "big"}`, "Function.ResponseSizeTooLarge", "6291456")
	b.fails("reader", `{"do": "endless"}`, "Function.ResponseSizeTooLarge", "6291456")
	b.fails("reader", `{"do": "bytes"}`, "Runtime.MarshalError", "UTF-8")
	b.fails("reader", `{"do": "never"}`, "Sandbox.Timedout", "timed out")
	b.fails("reader", `{"do": "abort"}`, "Runtime.ExitError", "SIGABRT")

	b.refused("ended before it read its standard input, with exit status 7", "program", nil, nil, "/usr/bin/python3", "-c", "import sys; sys.exit(7)")
	b.refused("to its standard output before it read its input", "program", nil, nil, "/usr/bin/python3", "-c", "import sys; print('hello', flush=True); sys.stdin.read()")
	b.refused("command not found", "program", nil, nil, "/no/such")
	b.refused("no file \"nothing\"", "program", nil, nil, "nothing")
	b.refused("lazy arguments: the program contract has no such thing", "program", func(s *dispatcher.FunctionSpec) { s.Lazy = true }, nil, python...)
	b.refused("imports: the program contract has no such thing", "program", func(s *dispatcher.FunctionSpec) { s.Imports = []string{"json"} }, nil, python...)
	b.refused("warm-up events: the program contract has no such thing", "program", func(s *dispatcher.FunctionSpec) { s.WarmUp = append(s.WarmUp, []byte("1")) }, nil, python...)
	b.refused("a port: the program contract has no such thing", "program", func(s *dispatcher.FunctionSpec) { s.Settings.Program.Port = 80 }, nil, python...)
	b.refused("contract \"other\" is not one of", "other", nil, nil, python...)
	b.refused("random bytes", "program", func(s *dispatcher.FunctionSpec) { s.Settings.Program.SharedGenerators = false }, nil, python...)
	for _, path := range []dispatcher.StartPath{dispatcher.PathBase, dispatcher.PathCold} {
		r, err := b.Invoke(t.Context(), dispatcher.Request{Function: "reader", Event: []byte(`{}`), MaxPath: path, Timeout: patience(time.Minute)})
		if err != nil || r.Error != nil || r.Path != path {
			t.Errorf("from %s: %+v, %v", path, r, err)
		}
	}
	list, err := b.Explain("reader", []byte(`{}`))
	if err != nil || len(list) == 0 || list[len(list)-1].Key != "reader over program" {
		t.Errorf("explained: %+v, %v", list, err)
	}
	nodes := b.Store().Function("reader")
	if len(nodes) != 1 || nodes[0].Key.Contract != "program" || nodes[0].Kind != lineage.KindFunction {
		t.Errorf("nodes: %+v", nodes)
	}
}

// TestRuntimeAPI: a bootstrap is captured when it asks for its first event, each event has
// an instance of its own, and whatever one of them does the next is right.
func TestRuntimeAPI(t *testing.T) {
	b := newContractBench(t)
	files := map[string][]byte{"bootstrap": bootstrap}
	start := func(how string) func(*dispatcher.FunctionSpec) {
		return func(s *dispatcher.FunctionSpec) {
			s.Settings.Environment = map[string]string{"START": how, "MINE": "own"}
			s.Settings.Runtime = "provided.al2023"
			s.Settings.Program.SharedGenerators = how != "restore" && how != "strict"
		}
	}
	if err := b.deploy("api", "runtimeapi", start(""), files, "bootstrap"); err != nil {
		t.Fatal(err)
	}
	type answer struct {
		Count                   int
		Statuses                []int
		Restored, Late          bool
		Name, Mine, Random, ARN string
		Client                  *string
	}
	randoms := map[string]bool{}
	for range 5 {
		got := output[answer](t, invoke(t, b.Dispatcher, "api", `{"x": 1}`))
		if got.Count != 1 || got.Name != "api" || got.Mine != "own" || got.Late || got.ARN != "arn:aws:lambda:local:000000000000:function:api" {
			t.Errorf("%+v", got)
		}
		randoms[got.Random] = true
	}
	if len(randoms) != 5 {
		t.Errorf("instances draw the same from the kernel: %v", randoms)
	}
	if got := output[answer](t, invoke(t, b.Dispatcher, "api", `{"do": "other"}`)); fmt.Sprint(got.Statuses) != "[400 404 403 403]" {
		t.Errorf("what is not allowed is answered with %v", got.Statuses)
	}
	if got := output[map[string]int](t, invoke(t, b.Dispatcher, "api", `{"do": "stream"}`)); got["parts"] != 2 {
		t.Errorf("a stream: %v", got)
	}
	if got := output[string](t, invoke(t, b.Dispatcher, "api", `{"do": "text"}`)); got != "plain text" {
		t.Errorf("text: %q", got)
	}
	b.fails("api", `{"do": "exit"}`, "Runtime.ExitError", "exit status 9")
	b.fails("api", `{"do": "twice"}`, "Runtime.InvalidState", "next event before it had answered")
	b.fails("api", `{"do": "fork"}`, "Fork.Refused", "not implemented")
	b.fails("api", `{"do": "never"}`, "Sandbox.Timedout", "timed out")
	b.fails("api", `{"do": "error"}`, "Own.Error", "as asked")
	b.fails("api", `{"do": "big"}`, "Function.ResponseSizeTooLarge", "6291456")
	b.fails("api", `{"do": "endless"}`, "Function.ResponseSizeTooLarge", "6291456")
	b.fails("api", `{"do": "broken stream"}`, "Stream.Broken", "half way")
	streamed := func(name, event, want, kind string) {
		t.Helper()
		var got []byte
		timeout := patience(time.Minute)
		if kind == "Sandbox.Timedout" {
			timeout = patience(2 * time.Second)
		}
		r, err := b.Invoke(t.Context(), dispatcher.Request{Function: name, Event: []byte(event), Timeout: timeout, Stream: func(_ string, p []byte) { got = append(got, p...) }})
		if err != nil {
			t.Fatal(err)
		}
		failed := ""
		if r.Error != nil {
			failed = r.Error.Type
		}
		if want != "" && string(got) != want || len(got) > contracts.MaxAnswerBytes || len(got) == 0 || failed != kind || len(r.Output) > 0 {
			t.Errorf("%s: streamed %.40q, %d bytes, %s, and %.40s; want %q, %s", event, got, len(got), failed, r.Output, want, kind)
		}
	}
	streamed("api", `{"do": "stream"}`, `{"parts": 2}`, "")
	streamed("api", `{"do": "slow stream"}`, "\xff one", "Sandbox.Timedout") // it was there while the program ran
	streamed("api", `{"do": "broken stream"}`, `{"half`, "Stream.Broken")
	streamed("api", `{"do": "two answers"}`, "half", "Runtime.InvalidState")
	streamed("api", `{"do": "endless"}`, "", "Function.ResponseSizeTooLarge")
	client := `{"custom":{"a":1}}`
	r, err := b.Invoke(t.Context(), dispatcher.Request{Function: "api", Event: []byte(`{}`), ClientContext: []byte(client), Timeout: patience(20 * time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	if got := output[answer](t, r); got.Client == nil || *got.Client != client {
		t.Errorf("client context: %+v", got)
	}

	b.refused("ended before it asked for an event, with exit status 4", "runtimeapi", start("exit"), files, "bootstrap")
	b.refused("it is broken", "runtimeapi", start("error"), files, "bootstrap")
	b.refused("has not asked for its first event", "runtimeapi", func(s *dispatcher.FunctionSpec) {
		start("never")(s)
	}, files, "bootstrap")
	b.refused("environment variable AWS_LAMBDA_RUNTIME_API is set by the runtimeapi contract", "runtimeapi", func(s *dispatcher.FunctionSpec) {
		s.Settings.Environment = map[string]string{"AWS_LAMBDA_RUNTIME_API": "mine"}
	}, files, "bootstrap")
	b.refused("random bytes", "runtimeapi", start("strict"), files, "bootstrap")
	// A program that asks to hear of restores may seed its generators, and needs no leave.
	if err := b.deploy("told", "runtimeapi", start("restore"), files, "bootstrap"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := output[answer](t, invoke(t, b.Dispatcher, "told", `{}`)); got.Count != 1 || !got.Restored {
			t.Errorf("%+v", got)
		}
	}
	if nodes := b.Store().Function("told"); len(nodes) != 1 || nodes[0].Key.NextKey != "restore/next" || nodes[0].Key.Contract != "runtimeapi" {
		t.Errorf("nodes: %+v", nodes)
	}
}
