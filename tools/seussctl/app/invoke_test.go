package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/api"
	"seuss/images"
	"seuss/images/runtimes"
	"seuss/lineage"
	"seuss/tools/seussctl/cmdline"
)

func goodResult() *dispatcher.Result {
	return &dispatcher.Result{
		RequestID: "r", Output: json.RawMessage(`{"a":"<b>"}`), Path: dispatcher.PathFunction, Pooled: true, NodeID: strings.Repeat("ab", 32),
		Logs:         []dispatcher.LogLine{{Stream: "stdout", Text: "one\n"}, {Stream: "stderr", Text: "two"}, {Stream: "kernel", Text: "three\n"}},
		Timings:      dispatcher.Timings{Match: 300, Deploy: 12 * time.Microsecond, Run: 3 * time.Millisecond, Total: 4 * time.Millisecond},
		PagesCopied:  1234,
		PagesDirtied: 102,
		Unsupported:  map[string]uint32{"fork": 1, "bpf": 2},
		Candidates: []dispatcher.Candidate{
			{NodeID: strings.Repeat("ab", 32), Kind: lineage.KindFunction, Key: "hello", Depth: 2, Chosen: true, Reason: "deepest match"},
			{NodeID: strings.Repeat("cd", 32), Kind: lineage.KindArgument, Key: "a=1", Depth: 3, Reason: "a differs"},
		},
	}
}

func TestInvoke(t *testing.T) {
	dir := t.TempDir()
	f := &fakeEngine{result: goodResult()}
	out := command(t, dir, "", with(f), "invoke", "hello", "--event", `{"x": 1}`, "--timeout", "3s", "--from", "function")
	if out.code != api.ExitOK || out.stdout != "{\"a\":\"<b>\"}\n" || out.stderr != "one\ntwo\n[guest kernel] three\n" || !f.closed {
		t.Errorf("exit %d, %q, %q", out.code, out.stdout, out.stderr)
	}
	if r := f.request; r.Function != "hello" || string(r.Event) != `{"x": 1}` || r.Timeout != 3*time.Second || r.MaxPath != dispatcher.PathFunction || r.Explain {
		t.Errorf("request %+v", r)
	}
	out = command(t, dir, "", with(f), "invoke", "--explain", "--timings", "hello")
	for _, want := range []string{
		"*  abababababab", "a differs", "started from function, pooled shell, node abababababab", "1,234 pages copied", "102 pages dirtied", "300 ns", "bpf (2), fork (1)",
	} {
		if !strings.Contains(out.stderr, want) {
			t.Errorf("no %q in\n%s", want, out.stderr)
		}
	}
	if !f.request.Explain || string(f.request.Event) != "{}" {
		t.Errorf("request %+v", f.request)
	}
	out = command(t, dir, "", with(f), "invoke", "hello", "--json")
	var r dispatcher.Result
	if err := json.Unmarshal([]byte(out.stdout), &r); err != nil || r.RequestID != "r" || out.stderr != "" {
		t.Errorf("%v: %q %q", err, out.stdout, out.stderr)
	}
}

func TestFunctionFails(t *testing.T) {
	dir := t.TempDir()
	r := goodResult()
	r.Output, r.Error = nil, &dispatcher.FunctionError{Type: "ValueError", Message: "no", StackTrace: []string{"  File \"x.py\", line 1\n"}}
	f := &fakeEngine{result: r}
	out := command(t, dir, "", with(f), "invoke", "hello")
	var doc map[string]any
	if err := json.Unmarshal([]byte(out.stdout), &doc); err != nil {
		t.Fatal(err)
	}
	if out.code != api.ExitFunction || doc["errorType"] != "ValueError" || doc["errorMessage"] != "no" || len(doc["stackTrace"].([]any)) != 1 || !strings.HasPrefix(out.stderr, "one\n") {
		t.Errorf("exit %d, %q, %q", out.code, out.stdout, out.stderr)
	}
	out = command(t, dir, "", with(f), "invoke", "hello", "--json")
	if err := json.Unmarshal([]byte(out.stdout), &doc); err != nil || out.code != api.ExitFunction || doc["error"] == nil {
		t.Errorf("--json: exit %d, %v, %q", out.code, err, out.stdout)
	}
	f = &fakeEngine{err: fmt.Errorf("invoke: %w", dispatcher.ErrTimeout)}
	if out := command(t, dir, "", with(f), "invoke", "hello"); out.code != api.ExitFailure || out.stdout != "" || out.stderr != "seussctl: invoke: timed out\n" {
		t.Errorf("timeout: exit %d, %q, %q", out.code, out.stdout, out.stderr)
	}
}

// Invoking works read-only while another process holds the directory;
// deploying does not, and says who holds it.
func TestFallsBackToReadOnly(t *testing.T) {
	dir := t.TempDir()
	locked := fmt.Errorf("process 17 holds it: %w", lineage.ErrLocked)
	var tries []bool
	open := func(o dispatcher.Options) (cmdline.Service, error) {
		tries = append(tries, o.ReadOnly)
		if !o.ReadOnly {
			return nil, locked
		}
		return &fakeEngine{result: goodResult()}, nil
	}
	out := command(t, dir, "", open, "invoke", "hello")
	if out.code != api.ExitOK || len(tries) != 2 || !strings.Contains(out.stderr, "process 17") {
		t.Errorf("exit %d, %v, %q", out.code, tries, out.stderr)
	}
	tagImage(t, dir, strings.Repeat("a", 64))
	tries = nil
	file := writeFile(t, "hello.py", "def handler(e, c): pass")
	if out := command(t, dir, "", open, "function", "deploy", "hello", file); out.code != api.ExitFailure || len(tries) != 1 || !strings.Contains(out.stderr, "process 17") {
		t.Errorf("deploy: exit %d, %v, %q", out.code, tries, out.stderr)
	}
	// Any other failure is final.
	tries, locked = nil, errors.New("broken")
	if out := command(t, dir, "", open, "invoke", "hello"); out.code != api.ExitFailure || len(tries) != 1 {
		t.Errorf("broken: exit %d, %v", out.code, tries)
	}
}

func TestRunAndDeploy(t *testing.T) {
	dir := t.TempDir()
	nodes := testTree(t, dir)
	s, err := lineage.Open(dir, lineage.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	file := writeFile(t, "hello.py", "def handler(e, c): pass")
	f := &fakeEngine{result: goodResult(), store: s, node: nodes["function"]}
	if out := command(t, dir, `{"in": 1}`, with(f), "run", file, "--event", "-", "--import", "re"); out.code != api.ExitOK || out.stdout != "{\"a\":\"<b>\"}\n" {
		t.Errorf("run: exit %d, %q, %q", out.code, out.stdout, out.stderr)
	}
	if f.spec.Handler != "hello.handler" || f.spec.Imports[0] != "re" || string(f.request.Event) != `{"in": 1}` || len(f.spec.Files["hello.py"]) == 0 {
		t.Errorf("%+v %+v", f.spec, f.request)
	}
	out := command(t, dir, "", with(f), "function", "deploy", "hello", file, "--lazy-args", "--handler", "hello.main", "--image", cmdline.DefaultImage)
	if out.code != api.ExitOK || !f.spec.Lazy || f.spec.Handler != "hello.main" || f.spec.Name != "hello" || !strings.Contains(out.stdout, cmdline.Short(nodes["function"].ID)) {
		t.Errorf("deploy: exit %d, %+v, %q %q", out.code, f.spec, out.stdout, out.stderr)
	}
	out = command(t, dir, "", with(f), "function", "deploy", "hello", file, "--env", "A=1,2", "--env", "B=", "--timeout", "7s", "--memory", "128MiB")
	if set := &f.spec.Settings; out.code != api.ExitOK || len(set.Environment) != 2 || set.Environment["A"] != "1,2" || set.TimeoutSec != 7 || set.MemoryMiB != 128 || set.Runtime != "python" {
		t.Errorf("deploy with settings: exit %d, %+v, %q", out.code, f.spec.Settings, out.stderr)
	}
	for _, bad := range []string{"A", "=1"} {
		if out := command(t, dir, "", with(f), "function", "deploy", "hello", file, "--env", bad); out.code != api.ExitUsage || !strings.Contains(out.stderr, "KEY=VALUE") {
			t.Errorf("deploy --env %s: exit %d, %q", bad, out.code, out.stderr)
		}
	}
	for _, flag := range []string{"--allow-net", "--host-ports"} { // it would keep an earlier list all the same
		if out := command(t, dir, "", with(f), "function", "deploy", "hello", file, flag, "any"); out.code != api.ExitUsage || !strings.Contains(out.stderr, "function update hello "+flag+" any") {
			t.Errorf("deploy %s any: exit %d, %q", flag, out.code, out.stderr)
		}
	}
	out = command(t, dir, "", with(f), "--json", "function", "deploy", "hello", file)
	var item api.Snapshot
	if err := json.Unmarshal([]byte(out.stdout), &item); err != nil || item.ID != nodes["function"].ID {
		t.Errorf("deploy --json: %v %q", err, out.stdout)
	}
	f = &fakeEngine{err: fmt.Errorf("deploy: %w", &dispatcher.FunctionError{Type: "Runtime.UserCodeSyntaxError", Message: "Syntax error"})}
	if out := command(t, dir, "", with(f), "function", "deploy", "hello", file); out.code != api.ExitFunction || !strings.Contains(out.stdout, "UserCodeSyntaxError") {
		t.Errorf("syntax error: exit %d, %q", out.code, out.stdout)
	}
	if out := command(t, dir, "", nil, "run", filepath.Join(dir, "missing.py")); out.code != api.ExitFailure || strings.Count(out.stderr, "\n") != 1 {
		t.Errorf("missing file: exit %d, %q", out.code, out.stderr)
	}
}

func TestEvents(t *testing.T) {
	dir := t.TempDir()
	big := `"` + strings.Repeat("x", dispatcher.MaxEventBytes) + `"`
	file := writeFile(t, "event.json", `{"from": "file"}`)
	bigFile := writeFile(t, "big.json", big)
	for _, c := range []struct {
		event, stdin string
		code         int
		got          string
	}{
		{"[1, 2]", "", api.ExitOK, "[1, 2]"},
		{"@" + file, "", api.ExitOK, `{"from": "file"}`},
		{"-", " {} \n", api.ExitOK, " {} \n"},
		{"-", "", api.ExitUsage, "empty"},
		{" ", "", api.ExitUsage, "empty"},
		{"{'a': 1}", "", api.ExitUsage, "not JSON"},
		{"{} {}", "", api.ExitUsage, "not JSON"},
		{"-", "\xff\xfe", api.ExitUsage, "not JSON"},
		{"-", big, api.ExitUsage, "more than 6291456 bytes"},
		{"@" + bigFile, "", api.ExitUsage, "more than 6291456 bytes"},
		{"@" + filepath.Join(dir, "none.json"), "", api.ExitFailure, "no such file"},
		{"@" + dir, "", api.ExitFailure, "is a directory"},
	} {
		f := &fakeEngine{result: goodResult()}
		out := command(t, dir, c.stdin, with(f), "invoke", "hello", "--event", c.event)
		if out.code != c.code {
			t.Errorf("%.20q: exit %d, want %d: %q", c.event, out.code, c.code, out.stderr)
		} else if c.code == api.ExitOK && string(f.request.Event) != c.got {
			t.Errorf("%.20q: event %q, want %q", c.event, f.request.Event, c.got)
		} else if c.code != api.ExitOK && !strings.Contains(out.stderr, c.got) {
			t.Errorf("%.20q: %q says no %q", c.event, out.stderr, c.got)
		}
	}
}

// A control sequence from a function cannot reach the terminal through a table.
func TestTableIsPrintable(t *testing.T) {
	var b strings.Builder
	tab := cmdline.NewTable("A", ">B")
	tab.Row("x\x1b[2J\ty\n", "1")
	if err := tab.Print(&b); err != nil {
		t.Fatal(err)
	}
	if want := "A         B\nx·[2J·y·  1\n"; b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}

func TestFormatDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 ns", 999: "999 ns", 52100: "52.1 µs", 123456: "123 µs", 3420 * time.Microsecond: "3.42 ms", 61 * time.Second: "61 s",
	} {
		if got := cmdline.FormatDuration(d); got != want {
			t.Errorf("%d: %q, want %q", d, got, want)
		}
	}
}

func TestBuildNeedsPlace(t *testing.T) {
	_, err := runtimes.Default().Build(t.Context(), images.Store{Dir: "/dev/null/x"}, runtimes.Options{Name: "bad name"}, images.AddOptions{})
	if err == nil {
		t.Error("no error")
	}
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
