// Package servertest serves a fake of the service to tests: deployments, versions,
// aliases and snapshots are the real ones, invocations need no machine.
//
// It owns what it starts until the test's cleanup, and has no locks.
package servertest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/admission"
	"seuss/dispatcher/api"
	"seuss/dispatcher/events"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/http/server"
	"seuss/dispatcher/instances"
	"seuss/dispatcher/layers"
	"seuss/dispatcher/logs"
	"seuss/dispatcher/planner"
	"seuss/dispatcher/quota"
	"seuss/dispatcher/sched"
	"seuss/lineage"
	"seuss/lineage/oci"
	"seuss/vmm/platform"
)

// Fake is a service whose deployments and invocations need no machine:
// records, versions and aliases are the real ones.
type Fake struct {
	api.Local
	OnInvoke  func(context.Context, dispatcher.Request) (*dispatcher.Result, error) // nil: echo
	OnReset   func()                                                                // what is to do once a result was delivered, or nil
	Delivered func()                                                                // a result was delivered, whoever resets the machine; or nil
	Unfit     []string                                                              // what Unready says
	Deploys   atomic.Int64
	Spec      dispatcher.FunctionSpec // of the last deployment
	Applied   []*planner.Status
	Built     string // image that was built last of registry.example.com/app:1; "": the default one

	keeper   *instances.Keeper
	standsAt string // a node that instances begin as
}

// noPlatform is never asked for a machine.
type noPlatform struct{ platform.Platform }

func (noPlatform) Name() string { return "none" }

func (noPlatform) CPU() platform.CPU { return platform.CPU{} }

func (noPlatform) Capabilities() platform.Capabilities { return platform.Capabilities{} }

// New makes a fake on a state directory of its own.
func New(t testing.TB) *Fake {
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
	f := &Fake{Local: api.NewLocal(d), standsAt: "ab"}
	f.keeper = newKeeper(&f.standsAt)
	t.Cleanup(f.keeper.Close)
	return f
}

// Live keeps instances that need no machine.
func (f *Fake) Live() *instances.Keeper { return f.keeper }

func (f *Fake) Unready() []string { return f.Unfit }

// ImageMemory is little of an image that is called so.
func (f *Fake) ImageMemory(image string) (uint64, error) {
	if image == "small" {
		return 128 << 20, nil
	}
	return 256 << 20, nil
}

// RuntimeImage knows Python 3.11 and nothing else.
func (f *Fake) RuntimeImage(runtime string) (string, error) {
	if runtime != "python3.11" {
		return "", fmt.Errorf("no image holds %s: %w", runtime, lineage.ErrInvalid)
	}
	return dispatcher.DefaultImage(), nil
}

// LayeredImage is called after the layers.
func (f *Fake) LayeredImage(_ context.Context, image string, list []layers.Version) (string, error) {
	for _, v := range list {
		if _, err := f.Layers().Archive(v); err != nil {
			return "", err
		}
		image += fmt.Sprintf("+%s:%d", v.Name, v.Number)
	}
	return image, nil
}

// ContainerImage knows registry.example.com/app:1, as it is by now, and nothing else.
func (f *Fake) ContainerImage(c *functions.Container) (string, error) {
	if c.URI != "registry.example.com/app:1" {
		return "", fmt.Errorf("no image was built from it: %w", lineage.ErrInvalid)
	}
	c.Digest = "sha256:" + strings.Repeat(cmp.Or(f.Built, "a")[:1], 64)
	return cmp.Or(f.Built, dispatcher.DefaultImage()), nil
}

// ContainerProgram is /app, unless something else is asked for.
func (f *Fake) ContainerProgram(_ string, c *functions.Container) (*functions.Program, error) {
	command := c.Entrypoint
	if command == nil {
		command = []string{"/app"}
	}
	return &functions.Program{Contract: "runtimeapi", Command: append(command[:len(command):len(command)], c.Command...), Dir: c.WorkingDir}, nil
}

func (f *Fake) Deploy(_ context.Context, spec dispatcher.FunctionSpec) (*api.Snapshot, error) {
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
	f.Spec = spec
	spec.Settings.Revision = fmt.Sprintf("revision-%d", f.Deploys.Add(1))
	code, err := json.Marshal(map[string]any{"handler": spec.Handler, "files": spec.Files, "environment": spec.Settings.Environment})
	if err != nil {
		return nil, err
	}
	_, err = f.FunctionStore().Put(functions.Function{
		Name: spec.Name, ID: "id-of-" + spec.Name, Handler: spec.Handler, Image: spec.Image, Lazy: spec.Lazy, Imports: spec.Imports, Settings: spec.Settings,
		LastVersion: old.LastVersion, Aliases: old.Aliases, Attached: old.Attached,
	}, code)
	if err != nil {
		return nil, err
	}
	return f.node(lineage.KindFunction)
}

// Invoke does what the handler of tests/sdk/lambda.mjs and sdk_test.go does.
func (f *Fake) Invoke(ctx context.Context, r dispatcher.Request) (*dispatcher.Result, error) {
	return f.invocation(ctx, r)
}

// Run makes the fake an admission.Invocations.
func (f *Fake) Run(ctx context.Context, r *dispatcher.Request) (dispatcher.Invocation, error) {
	result, err := f.invocation(ctx, *r)
	if err != nil {
		return nil, err
	}
	return &invocation{f, result}, nil
}

type invocation struct {
	f      *Fake
	result *dispatcher.Result
}

func (i *invocation) Result() *dispatcher.Result { return i.result }

func (i *invocation) End(here bool) {
	if here && i.f.OnReset != nil {
		i.f.OnReset()
	}
	if i.f.Delivered != nil {
		i.f.Delivered()
	}
}

func (f *Fake) invocation(ctx context.Context, r dispatcher.Request) (*dispatcher.Result, error) {
	if f.OnInvoke != nil {
		return f.OnInvoke(ctx, r)
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

// Options change what Serve makes.
type Options struct {
	server.Options                         // what is set stays
	Journal        *events.Journal         // nil: none
	Delay          func(int) time.Duration // between attempts of an event; nil: as ever
}

// keeper is where what functions print goes, or nobody.
func (o *Options) keeper() admission.Logs {
	if o.Logs == nil {
		return nobody{}
	}
	return o.Logs
}

type nobody struct{}

func (nobody) Add(logs.Key, logs.Entry) {}

// Server makes a server on a fake, with the front doors that the test imports.
func (f *Fake) Server(t testing.TB, change func(*Options)) *server.Server {
	t.Helper()
	o := Options{Options: server.Options{Service: f}}
	if change != nil {
		change(&o)
	}
	if o.Scheduler == nil {
		o.Scheduler = sched.New(sched.Options{Slots: dispatcher.DefaultPoolSize})
	}
	o.Metrics = server.NewMetrics()
	var quotas *quota.Book
	if o.Keys != nil {
		quotas = quota.NewBook(o.Keys.Quota)
	}
	o.Admission = admission.New(admission.Options{Quotas: quotas, Functions: f, Invocations: f, Scheduler: o.Scheduler, Metrics: o.Metrics, Log: o.Log, Logs: o.keeper()})
	o.Events = events.New(events.Options{Run: o.Admission.Run, Journal: o.Journal, Log: o.Log, Delay: o.Delay, Failed: admission.EventFailed(o.keeper()), Rules: admission.EventRules(f), Over: admission.EventOver(f, o.keeper())})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := o.Events.Close(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	return server.New(o.Options)
}

// Serve serves such a server.
func (f *Fake) Serve(t testing.TB, change func(*Options)) (s *server.Server, url string) {
	t.Helper()
	s = f.Server(t, change)
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	return s, h.URL
}

// Put deploys functions directly.
func (f *Fake) Put(t testing.TB, names ...string) {
	t.Helper()
	slices.Sort(names)
	for _, name := range names {
		if _, err := f.Deploy(context.Background(), dispatcher.FunctionSpec{Name: name, Handler: "main.handler", Files: map[string][]byte{"main.py": []byte(name)}}); err != nil {
			t.Fatal(err)
		}
	}
}

// What has no machine behind it answers with a document of the right form.

func (f *Fake) RunOnce(ctx context.Context, _ dispatcher.FunctionSpec, r dispatcher.Request) (*dispatcher.Result, error) {
	return f.Invoke(ctx, r)
}

func (f *Fake) Explain(context.Context, string, []byte) ([]dispatcher.Candidate, error) {
	return []dispatcher.Candidate{{NodeID: "ab", Kind: lineage.KindFunction, Key: "echo", Chosen: true, Reason: "deepest node that fits"}}, nil
}

// Receive leaves out what looks into images: the fake's are none.
func (f *Fake) Receive(_ context.Context, src *oci.Source, tag string) (*api.Imported, error) {
	done, err := oci.Import(f.Kept.Store, src, oci.ImportOptions{})
	if err == nil && tag != "" {
		err = f.Kept.Store.Marks().SetTag(tag, done.Node.ID)
	}
	if err != nil {
		return nil, err
	}
	return f.Imported(&dispatcher.Received{Imported: *done}), nil
}

func (f *Fake) node(kind lineage.Kind) (*api.Snapshot, error) {
	return &api.Snapshot{Info: lineage.Info{ID: "ab", Kind: kind}}, nil
}

func (f *Fake) Base(context.Context, string, string) (*api.Snapshot, error) {
	return f.node(lineage.KindBase)
}

func (f *Fake) Import(context.Context, string, string, []string) (*api.Snapshot, error) {
	return f.node(lineage.KindImport)
}

func (f *Fake) CaptureArgument(context.Context, string, dispatcher.Capture) (*api.Snapshot, error) {
	return f.node(lineage.KindArgument)
}

func (f *Fake) ApplyPlan(_ context.Context, ask planner.Ask) (*planner.Status, error) {
	if ask.Tree == nil {
		return nil, fmt.Errorf("no tree: %w", lineage.ErrInvalid)
	}
	node := planner.NodeStatus{Node: planner.Node{Parent: -1, Packages: []string{"numpy==1"}}, State: planner.Made, ID: "ab", Hits: 3}
	st := &planner.Status{Place: planner.Place{Image: "python", Digest: "ab"}, Nodes: []planner.NodeStatus{node}, Skipped: []planner.Skipped{{Package: "x==1", Why: "y"}}}
	if !ask.Shared {
		st.Owner = ask.Owner
	}
	f.Applied = append(f.Applied, st)
	return st, nil
}

func (f *Fake) Plans(context.Context) ([]*planner.Status, error) { return slices.Clone(f.Applied), nil }

func (f *Fake) FunctionStart(context.Context, string) (*planner.Start, error) {
	return &planner.Start{Plan: "ann", Packages: []string{"numpy==1"}, SavesMS: 80.5, Why: "it saves most", Needs: []string{"numpy==1"},
		Others: []planner.Other{{Packages: []string{"numpy==1", "x==1"}, SavesMS: 90, Why: "it has beyond what is asked for x==1"}}}, nil
}

func (f *Fake) DropPlan(_ context.Context, which planner.Which) error {
	if which.Image == "nothing" {
		return fmt.Errorf("no plan: %w", lineage.ErrNotFound)
	}
	return nil
}

func (f *Fake) Instances(context.Context) ([]dispatcher.Instance, error) {
	return []dispatcher.Instance{{RequestID: "r", Function: "echo", NodeID: "ab", Socket: "/run/r.sock"}}, nil
}

func (f *Fake) Pools(context.Context) ([]dispatcher.PoolStats, error) {
	return []dispatcher.PoolStats{{Image: "python", Machines: 2, At: map[string]int{"ab": 1}}}, nil
}

// AddImage gives the fake's store a root node and its image a name.
func (f *Fake) AddImage(t testing.TB) (id string) {
	t.Helper()
	data := make([]byte, lineage.PageSize)
	copy(data, "image")
	digest := functions.CodeDigest(data)
	path := f.Kept.Store.ImagePath(digest)
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.Kept.Store.Dir()+"/images/"+dispatcher.DefaultImage()+".tag", []byte(digest+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	n, err := f.Kept.Store.AddImage(digest, path, 100, []lineage.ImageRun{{First: 16, Count: 1}})
	if err != nil {
		t.Fatal(err)
	}
	f.standsAt = n.ID
	return n.ID
}

// Archive exports the fake's root node.
func (f *Fake) Archive(t testing.TB) string {
	t.Helper()
	b, err := oci.Export(f.Kept.Store, f.Kept.Store.Kind(lineage.KindImage)[0].ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	path := t.TempDir() + "/archive"
	if err := errors.Join(oci.WriteArchive(path, "x", b), b.Close()); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
