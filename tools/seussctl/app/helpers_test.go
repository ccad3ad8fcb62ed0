package app

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"seuss/dirtytrack"
	"seuss/dispatcher"
	"seuss/dispatcher/api"
	"seuss/dispatcher/functions"
	"seuss/lineage"
	"seuss/lineage/oci"
	"seuss/tools/seussctl/cmdline"
)

// fakeEngine answers what a test tells it to and remembers what it was asked.
type fakeEngine struct {
	api.Service // what no test asks for
	store       *lineage.Store
	result      *dispatcher.Result
	err         error
	node        *lineage.Node
	closed      bool
	request     dispatcher.Request
	spec        dispatcher.FunctionSpec
	modules     []string
	stopAt      string
	argument    []byte
	invoke      func(dispatcher.Request) (*dispatcher.Result, error) // nil: result and err
}

func (f *fakeEngine) made() (*api.Snapshot, error) {
	if f.node == nil {
		return nil, f.err
	}
	return api.SnapshotOf(f.store, f.node), f.err
}
func (f *fakeEngine) Snapshots(ctx context.Context) ([]*api.Snapshot, error) {
	return api.Kept{Store: f.store}.Snapshots(ctx)
}
func (f *fakeEngine) Snapshot(ctx context.Context, ref string) (*api.Snapshot, error) {
	return api.Kept{Store: f.store}.Snapshot(ctx, ref)
}
func (f *fakeEngine) Base(context.Context, string, string) (*api.Snapshot, error) {
	return f.made()
}
func (f *fakeEngine) Import(_ context.Context, _, _ string, modules []string) (*api.Snapshot, error) {
	f.modules = modules
	return f.made()
}
func (f *fakeEngine) Deploy(_ context.Context, s dispatcher.FunctionSpec) (*api.Snapshot, error) {
	f.spec = s
	return f.made()
}
func (f *fakeEngine) Invoke(_ context.Context, r dispatcher.Request) (*dispatcher.Result, error) {
	f.request = r
	if f.invoke != nil {
		return f.invoke(r)
	}
	return f.result, f.err
}
func (f *fakeEngine) RunOnce(_ context.Context, s dispatcher.FunctionSpec, r dispatcher.Request) (*dispatcher.Result, error) {
	f.spec, f.request = s, r
	return f.result, f.err
}
func (f *fakeEngine) CaptureArgument(_ context.Context, _ string, c dispatcher.Capture) (*api.Snapshot, error) {
	f.argument, f.stopAt = c.Event, c.StopAt
	return f.made()
}
func (f *fakeEngine) Receive(context.Context, *oci.Source, string) (*api.Imported, error) {
	return nil, f.err
}
func (f *fakeEngine) BenchDepth(_ context.Context, depths []int, n int) (map[int][]time.Duration, error) {
	out := map[int][]time.Duration{}
	for _, d := range depths {
		out[d] = make([]time.Duration, n)
		for i := range out[d] {
			out[d][i] = 40 * time.Microsecond
		}
	}
	return out, f.err
}
func (f *fakeEngine) Close() error { f.closed = true; return nil }

// outcome is what a command line did.
type outcome struct {
	code           int
	stdout, stderr string
}

// command runs a command line in the state directory dir. open may be nil:
// then no command may need a dispatcher.
func command(t *testing.T, dir, stdin string, open func(dispatcher.Options) (cmdline.Service, error), args ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	e := cmdline.NewEnv(strings.NewReader(stdin), &stdout, &stderr)
	e.Getenv = func(name string) string {
		if name == cmdline.StateVariable {
			return dir
		}
		return ""
	}
	e.Open = open
	if open == nil {
		e.Open = func(dispatcher.Options) (cmdline.Service, error) {
			t.Errorf("%q opened a dispatcher", args)
			return nil, os.ErrInvalid
		}
	}
	code := run(t.Context(), e, append([]string{"seussctl"}, args...))
	return outcome{code, stdout.String(), stderr.String()}
}

func with(f *fakeEngine) func(dispatcher.Options) (cmdline.Service, error) {
	return func(dispatcher.Options) (cmdline.Service, error) { return f, nil }
}

// tagImage gives the state directory a default image, so that nothing is built.
func tagImage(t *testing.T, dir, digest string) {
	t.Helper()
	path := filepath.Join(dir, "images")
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path, cmdline.DefaultImage+".tag"), []byte(digest+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(path, digest+".img")); err == nil {
		return
	}
	if err := os.WriteFile(filepath.Join(path, digest+".img"), make([]byte, lineage.PageSize), 0o644); err != nil {
		t.Fatal(err)
	}
}

// testTree stores image > base > {import > function, lazy function > argument}
// and returns the nodes by name.
func testTree(t *testing.T, dir string) map[string]*lineage.Node {
	t.Helper()
	s, err := lineage.Open(dir, lineage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	data := make([]byte, 8*lineage.PageSize)
	for i := range data {
		data[i] = byte(i/lineage.PageSize + 1)
	}
	digest := fmt.Sprintf("%x", sha256.Sum256(data))
	if err := os.WriteFile(s.ImagePath(digest), data, 0o444); err != nil {
		t.Fatal(err)
	}
	nodes := map[string]*lineage.Node{}
	const pages = 2000
	nodes["image"], err = s.AddImage(digest, s.ImagePath(digest), pages, []lineage.ImageRun{{First: 16, Count: 8}})
	if err != nil {
		t.Fatal(err)
	}
	mem := make([]byte, pages*lineage.PageSize)
	minute := 0
	add := func(name, parent string, kind lineage.Kind, key lineage.Key, purity lineage.Purity, first, count uint64) {
		dirty := dirtytrack.NewPageSet(pages)
		for p := first; p < first+count; p++ {
			copy(mem[p*lineage.PageSize:], fmt.Sprintf("%s %d", name, p))
			dirty.Add(p)
		}
		minute++
		n, err := s.Capture(lineage.NodeSpec{
			Kind: kind, Key: key, Purity: purity, State: []byte(name), ABIVersion: 1,
			Created: time.Date(2030, 1, 2, 3, minute, 0, 0, time.UTC), CaptureCost: 1500 * time.Microsecond, SavedTime: 20 * time.Millisecond,
		}, nodes[parent], dirty, func(p uint64) []byte { return mem[p*lineage.PageSize : (p+1)*lineage.PageSize] })
		if err != nil {
			t.Fatal(err)
		}
		nodes[name] = n
	}
	code := functions.CodeDigest([]byte("code"))
	add("base", "image", lineage.KindBase, lineage.Key{}, lineage.Purity{}, 30, 1200)
	add("import", "base", lineage.KindImport, lineage.Key{Imports: []string{"json", "re"}}, lineage.Purity{}, 1300, 100)
	add("function", "import", lineage.KindFunction, lineage.Key{Function: "hello", Handler: "hello.handler", CodeDigest: code}, lineage.Purity{}, 1400, 20)
	lazy := lineage.Key{Function: "table", Handler: "table.handler", CodeDigest: code, Lazy: true}
	add("lazy", "base", lineage.KindFunction, lazy, lineage.Purity{}, 1500, 10)
	lazy.Args = []lineage.Binding{{Key: "table", Digest: code, Preview: `{"rows": 110000, "seed": 7, "more": 1}`}}
	lazy.NextKey = "query"
	add("argument", "lazy", lineage.KindArgument, lazy, lineage.Purity{Clock: 2, Reasons: []string{"clock_gettime"}}, 1600, 300)
	for range 3 {
		nodes["function"].Hit()
	}
	if err := os.WriteFile(s.Dir()+"/images/"+cmdline.DefaultImage+".tag", []byte(digest+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return nodes
}

// named replaces ids by names of the same width, since ids depend on the
// lineage's format.
func named(text string, nodes map[string]*lineage.Node) string {
	for name, n := range nodes {
		text = strings.ReplaceAll(text, n.ID, "<"+name+">")
		text = strings.ReplaceAll(text, cmdline.Short(n.ID), fmt.Sprintf("%-*s", cmdline.ShortID, name))
	}
	return text
}

// testRoot are the commands, in no environment.
func testRoot() *cli.App {
	e := cmdline.NewEnv(nil, nil, nil)
	return root(e)
}
