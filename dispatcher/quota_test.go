package dispatcher

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"seuss/dispatcher/access"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/instance/instancetest"
	"seuss/dispatcher/planner"
	"seuss/dispatcher/quota"
	"seuss/lineage"
	"seuss/vmm/platform"
)

// noPlatform is never asked for a machine.
type noPlatform struct{ platform.Platform }

func (noPlatform) Name() string { return "none" }

func (noPlatform) Capabilities() platform.Capabilities { return platform.Capabilities{} }

// TestDeployQuota: what is beyond an owner's quota is refused before anything is made;
// others, and what takes the place of what there is, are not.
func TestDeployQuota(t *testing.T) {
	q := access.Quota{Functions: 2, CodeBytes: 10 << 10}
	d, err := Open(Options{StateDir: t.TempDir(), Platform: noPlatform{}, Quota: func(owner string) access.Quota {
		if owner == "alice" {
			return q
		}
		return access.Quota{}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, key := range []string{"alice/a", "alice/b", "alice/b:1", "bob/a", "bob/b", "bob/c"} {
		if _, err := d.FunctionStore().Put(functions.Function{Name: key, Handler: "main.handler"}, []byte(strings.Repeat(key, 100))); err != nil {
			t.Fatal(err)
		}
	}
	deploy := func(name string, bytes int) error {
		_, err := d.Deploy(t.Context(), FunctionSpec{Name: name, Handler: "main.handler", Files: map[string][]byte{"main.py": []byte(strings.Repeat("#", bytes))}})
		return err
	}
	for _, c := range []struct {
		name  string
		bytes int
		want  string // of the quota; "": it is not what refuses
	}{{"alice/c", 1, "functions"}, {"alice/a", 1, ""}, {"alice/a", 20 << 10, "bytes of code"}, {"bob/d", 20 << 10, ""}, {"e", 1, ""}} {
		err := deploy(c.name, c.bytes)
		if errors.Is(err, quota.ErrExceeded) != (c.want != "") || c.want != "" && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s of %d bytes: %v", c.name, c.bytes, err)
		}
		if err == nil {
			t.Errorf("%s was deployed without an image", c.name)
		}
	}
}

// TestImportsAreCharged: who has snapshots of imports made is charged for them, though they
// are everybody's: those on which nothing hangs any more make room for others, and what finds
// none is refused. Who finds one is charged nothing, and nothing is taken away from him.
func TestImportsAreCharged(t *testing.T) {
	var most atomic.Uint64
	s := newFakeService(t, &instancetest.Runtime{Handlers: map[string]instancetest.Handler{"echo": echo}}, Options{PoolSize: 2, Quota: func(owner string) access.Quota {
		if owner == "alice" {
			return access.Quota{NodeBytes: most.Load()}
		}
		return access.Quota{}
	}})
	s.deploy("alice/a", "echo", false, "first")
	s.deploy("bob/b", "echo", false, "first")
	s.deploy("bob/c", "echo", false, "his")
	first := s.ledger.Bytes("alice")
	own := s.Store().Function("alice/a")[0].StoredBytes()
	if his := s.ledger.Bytes("bob"); first <= own || his <= own || len(s.Store().Kind(lineage.KindImport)) != 2 {
		t.Fatalf("alice's take %d, of which %d are not of imports; bob's %d", first, own, his)
	}
	each := first - own // of a snapshot of an import
	most.Store(first + 4*each)
	for n := range 30 {
		s.deploy("alice/a", "echo", false, fmt.Sprint("one", n)) // what it hung on stays behind
		if now := s.ledger.Bytes("alice"); now > most.Load()+2*each {
			t.Fatalf("after %d imports hers take %d, at most %d are allowed", n, now, most.Load())
		}
	}
	s.want(ask("bob/b", "1"), "[1,0]")
	if again, err := quota.OpenLedger(s.Store()); err != nil || again.Bytes("alice") != s.ledger.Bytes("alice") || again.Bytes("bob") != s.ledger.Bytes("bob") {
		t.Errorf("another daemon counts otherwise: %v", err)
	}
	chain := make([]string, 20)
	for i := range chain {
		chain[i] = fmt.Sprint("deep", i)
	}
	_, err := s.Deploy(t.Context(), FunctionSpec{Name: "alice/deep", Handler: "echo.handler", Imports: chain, Files: map[string][]byte{"f": nil}})
	if !errors.Is(err, quota.ErrExceeded) || !strings.Contains(err.Error(), "import deep") {
		t.Errorf("imports without end: %v", err)
	}
	if now := s.ledger.Bytes("alice"); now > most.Load()+2*each {
		t.Errorf("they take %d, at most %d are allowed", now, most.Load())
	}
	if _, err := s.RunOnce(t.Context(), FunctionSpec{Name: "alice/once", Handler: "echo.handler", Imports: chain, Files: map[string][]byte{"f": nil}}, Request{Event: []byte("1")}); !errors.Is(err, quota.ErrExceeded) {
		t.Errorf("code that is run once: %v", err)
	}
	s.deploy("carol/deep", "echo", false, chain...)
}

// TestQuotaAtOnce: of a hundred deployments at a time as many are taken as there is room for;
// and so of snapshots that are made at a time, of which the last may be larger than that.
func TestQuotaAtOnce(t *testing.T) {
	var nodes atomic.Uint64
	s := newFakeService(t, &instancetest.Runtime{Handlers: map[string]instancetest.Handler{"echo": echo}}, Options{PoolSize: 4, Quota: func(owner string) access.Quota {
		return access.Quota{Functions: 7, NodeBytes: nodes.Load()}
	}})
	s.deploy("bob/first", "echo", false, "one")
	each := s.Store().Kind(lineage.KindImport)[0].StoredBytes()
	var wg sync.WaitGroup
	var taken atomic.Int32
	for n := range 100 {
		wg.Go(func() {
			_, err := s.Deploy(t.Context(), FunctionSpec{Name: fmt.Sprint("alice/f", n), Handler: "echo.handler", Files: map[string][]byte{"f": nil}})
			if err == nil {
				taken.Add(1)
			} else if !errors.Is(err, quota.ErrExceeded) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := taken.Load(); got != 7 {
		t.Errorf("%d deployments were taken, 7 are allowed", got)
	}
	nodes.Store(2 * each)
	for n := range 30 {
		wg.Go(func() {
			once := FunctionSpec{Name: "carol/once", Handler: "echo.handler", Imports: []string{fmt.Sprint("own", n)}, Files: map[string][]byte{"f": nil}}
			if _, err := s.RunOnce(t.Context(), once, Request{Event: []byte("1")}); err != nil && !errors.Is(err, quota.ErrExceeded) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if has := s.ledger.Bytes("carol"); has == 0 || has > nodes.Load()+each {
		t.Errorf("hers take %d, at most %d are allowed, and one more", has, nodes.Load())
	}
}

// TestPlansWaitForQuota: what an owner's quota refuses of a plan is not given up: there may be
// room later.
func TestPlansWaitForQuota(t *testing.T) {
	var most atomic.Uint64
	most.Store(1)
	s := newFakeService(t, &instancetest.Runtime{Handlers: map[string]instancetest.Handler{"echo": echo}}, Options{PoolSize: 2, Quota: func(owner string) access.Quota {
		return access.Quota{NodeBytes: most.Load()}
	}})
	s.deploy("bob/first", "echo", false)
	most.Store(1)
	beside := *s.maker
	beside.beside = true
	h := planHost{s.Dispatcher, &beside}
	at, err := h.Place(DefaultImage(), "")
	if err != nil {
		t.Fatal(err)
	}
	steps := []planner.Step{{Modules: []string{"one"}}, {Modules: []string{"two"}}}
	if _, err := h.Make(t.Context(), at, "bob", steps); !errors.Is(err, planner.ErrNoRoom) || !errors.Is(err, quota.ErrExceeded) {
		t.Errorf("%v", err)
	}
	most.Store(1 << 40)
	if made, err := h.Make(t.Context(), at, "bob", steps); !made || err != nil {
		t.Errorf("%v, %v", made, err)
	}
}

// TestVersionsAreBounded: one more than may be is refused, until one is removed.
func TestVersionsAreBounded(t *testing.T) {
	dir := t.TempDir()
	d, err := Open(Options{StateDir: dir, Platform: noPlatform{}})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.FunctionStore().Put(functions.Function{Name: "f", Handler: "main.handler"}, []byte("code")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Publish("f", "", "", nil); err != nil {
		t.Fatal(err)
	}
	record := func(name string) string { return filepath.Join(dir, "functions", name+".json") }
	first, err := os.ReadFile(record("f:1"))
	if err != nil {
		t.Fatal(err)
	}
	for i := 2; i <= functions.MaxVersions; i++ { // as so many publications would, but for the disk's time
		name := fmt.Sprint("f:", i)
		if err := os.WriteFile(record(name), bytes.ReplaceAll(first, []byte(`"f:1"`), []byte(strconv.Quote(name))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	change := func(to string) {
		t.Helper()
		if _, err := d.Configure("f", "", func(s *functions.Settings) { s.Tags = map[string]string{"is": to} }); err != nil {
			t.Fatal(err)
		}
	}
	change("another")
	if f, err := d.Publish("f", "", "", nil); !errors.Is(err, lineage.ErrInvalid) || !strings.Contains(err.Error(), "remove some") {
		t.Fatalf("%+v, %v", f.Name, err)
	}
	if err := d.RemoveFunction("f:7"); err != nil {
		t.Fatal(err)
	}
	if f, err := d.Publish("f", "", "", nil); err != nil || f.Name != fmt.Sprint("f:", functions.MaxVersions+1) {
		t.Errorf("%+v, %v", f.Name, err)
	}
}

// TestTheSameIsPublishedOnce: what has not changed since its last version gets no other one,
// in a cluster too, whose stamps change with every record.
func TestTheSameIsPublishedOnce(t *testing.T) {
	d, err := Open(Options{StateDir: t.TempDir(), Platform: noPlatform{}})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	Replica{d}.Share("a", func(context.Context, string) (func(), error) { return func() {}, nil }, func(string) {})
	if _, err := d.FunctionStore().Put(functions.Function{Name: "f", Handler: "main.handler"}, []byte("code")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if f, err := d.Publish("f", "", "", nil); err != nil || f.Name != "f:1" || f.Stamp.Count == 0 {
			t.Errorf("%q, stamp %+v, %v", f.Name, f.Stamp, err)
		}
	}
}
