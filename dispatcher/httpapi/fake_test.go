package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/functions"
	"seuss/lineage"
	"seuss/lineage/oci"
	"seuss/vmm"
)

// fakeBackend is a Dispatcher whose deployments and invocations need no machine:
// records, versions and aliases are the real ones.
type fakeBackend struct {
	*dispatcher.Dispatcher
	invoke  func(context.Context, dispatcher.Request) (*dispatcher.Result, error) // nil: echo
	reset   func()                                                                // what is to do once a result was delivered, or nil
	given   func()                                                                // a result was delivered, whoever resets the machine; or nil
	deploys atomic.Int64
	spec    dispatcher.FunctionSpec // of the last deployment
}

// noPlatform is never asked for a machine.
type noPlatform struct{ vmm.Platform }

func (noPlatform) Name() string { return "none" }

func newFake(t testing.TB) *fakeBackend {
	t.Helper()
	d, err := dispatcher.Open(dispatcher.Options{StateDir: t.TempDir(), Platform: noPlatform{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return &fakeBackend{Dispatcher: d}
}

func (f *fakeBackend) ImageMemory(string) (uint64, error) { return 256 << 20, nil }

func (f *fakeBackend) Deploy(_ context.Context, spec dispatcher.FunctionSpec) (*lineage.Node, error) {
	old, err := f.Function(spec.Name)
	if err == nil && spec.Create {
		return nil, fmt.Errorf("deploy: %w", dispatcher.ErrExists)
	}
	if spec.Revision != "" && spec.Revision != old.Settings.Revision {
		return nil, dispatcher.ErrRevision
	}
	for _, content := range spec.Files {
		if strings.Contains(string(content), "does not compile") {
			return nil, &dispatcher.FunctionError{Type: "Runtime.UserCodeSyntaxError", Message: "invalid syntax"}
		}
	}
	f.spec = spec
	spec.Settings.Revision = fmt.Sprintf("revision-%d", f.deploys.Add(1))
	code, err := json.Marshal(map[string]any{"handler": spec.Handler, "files": spec.Files, "environment": spec.Settings.Environment})
	if err != nil {
		return nil, err
	}
	_, err = f.FunctionStore().Put(functions.Function{
		Name: spec.Name, Handler: spec.Handler, Image: spec.Image, Lazy: spec.Lazy, Imports: spec.Imports, Settings: spec.Settings,
		LastVersion: old.LastVersion, Aliases: old.Aliases,
	}, code)
	if err != nil {
		return nil, err
	}
	return f.node(lineage.KindFunction)
}

// Invoke does what the handler of tests/sdk/lambda.mjs and sdk_test.go does.
func (f *fakeBackend) Invoke(ctx context.Context, r dispatcher.Request) (*dispatcher.Result, error) {
	result, err := f.invocation(ctx, r)
	if err == nil && r.Deliver != nil {
		if r.Deliver(result) && f.reset != nil {
			f.reset()
		}
		if f.given != nil {
			f.given()
		}
	}
	return result, err
}

func (f *fakeBackend) invocation(ctx context.Context, r dispatcher.Request) (*dispatcher.Result, error) {
	if f.invoke != nil {
		return f.invoke(ctx, r)
	}
	if !json.Valid(r.Event) {
		return nil, dispatcher.ErrBadEvent
	}
	var event struct {
		Fail  string
		Print int
	}
	json.Unmarshal(r.Event, &event) // an event that is no object fails nothing
	result := &dispatcher.Result{RequestID: r.RequestID, Path: dispatcher.PathFunction, Pooled: true, Timings: dispatcher.Timings{Total: 1500 * time.Microsecond}}
	version := dispatcher.VersionOf(r.Function)
	if version != dispatcher.Latest {
		result.Version = version
	}
	result.Logs = []dispatcher.LogLine{{Stream: "stdout", Text: "version " + version + "\n" + strings.Repeat("x", event.Print) + "\n"}}
	if event.Fail != "" {
		result.Error = &dispatcher.FunctionError{Type: "ValueError", Message: event.Fail, StackTrace: []string{"  File \"/var/task/main.py\", line 4, in handler\n"}}
		return result, nil
	}
	client := json.RawMessage("null")
	if len(r.ClientContext) > 0 {
		client = r.ClientContext
	}
	var err error
	result.Output, err = json.Marshal(map[string]any{
		"echo": json.RawMessage(r.Event), "version": version, "arn": r.ARN, "request_id": r.RequestID, "client": client,
	})
	return result, err
}

// serve starts a server on a fake.
func serve(t testing.TB, f *fakeBackend, change func(*Options)) (*Server, string) {
	t.Helper()
	o := Options{Backend: f}
	if change != nil {
		change(&o)
	}
	s := New(o)
	h := httptest.NewServer(s)
	t.Cleanup(func() {
		h.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	return s, h.URL
}

// put deploys a function directly.
func (f *fakeBackend) put(t testing.TB, names ...string) {
	t.Helper()
	slices.Sort(names)
	for _, name := range names {
		if _, err := f.Deploy(context.Background(), dispatcher.FunctionSpec{Name: name, Handler: "main.handler", Files: map[string][]byte{"main.py": []byte(name)}}); err != nil {
			t.Fatal(err)
		}
	}
}

// What has no machine behind it answers with a document of the right form.

func (f *fakeBackend) RunOnce(ctx context.Context, _ dispatcher.FunctionSpec, r dispatcher.Request) (*dispatcher.Result, error) {
	return f.Invoke(ctx, r)
}

func (f *fakeBackend) Explain(string, []byte) ([]dispatcher.Candidate, error) {
	return []dispatcher.Candidate{{NodeID: "ab", Kind: lineage.KindFunction, Key: "echo", Chosen: true, Reason: "deepest node that fits"}}, nil
}

// Receive leaves out what looks into images: the fake's are none.
func (f *fakeBackend) Receive(_ context.Context, src *oci.Source, tag string) (*dispatcher.Received, error) {
	done, err := oci.Import(f.Store(), src, oci.ImportOptions{})
	if err == nil && tag != "" {
		err = f.Store().SetTag(tag, done.Node.ID)
	}
	if err != nil {
		return nil, err
	}
	return &dispatcher.Received{Imported: *done}, nil
}

func (f *fakeBackend) node(kind lineage.Kind) (*lineage.Node, error) {
	return &lineage.Node{Info: lineage.Info{ID: "ab", Kind: kind}}, nil
}

func (f *fakeBackend) Base(context.Context, string) (*lineage.Node, error) {
	return f.node(lineage.KindBase)
}

func (f *fakeBackend) Import(context.Context, string, []string) (*lineage.Node, error) {
	return f.node(lineage.KindImport)
}

func (f *fakeBackend) CaptureArgument(context.Context, string, []byte, string) (*lineage.Node, error) {
	return f.node(lineage.KindArgument)
}

func (f *fakeBackend) Instances() []dispatcher.Instance {
	return []dispatcher.Instance{{RequestID: "r", Function: "echo", NodeID: "ab", Socket: "/run/r.sock"}}
}

func (f *fakeBackend) Pools() []dispatcher.PoolStats {
	return []dispatcher.PoolStats{{Image: "python", Machines: 2, At: map[string]int{"ab": 1}}}
}
