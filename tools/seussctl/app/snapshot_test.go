package app

import (
	"encoding/json"
	"strings"
	"testing"

	"seuss/dispatcher/api"
	"seuss/dispatcher/functions"
	"seuss/lineage"
	"seuss/tools/seussctl/cmdline"
	"seuss/tools/seussctl/snapshotcmd"
)

const wantTree = `NODE                                                                         ID            DELTA PAGES   STORED   SHARED  HITS
image python                                                                 image                   8   37 KiB      0 B     0
└─ base                                                                      base                1,200  4.7 MiB   32 KiB     0
   ├─ import json,re                                                         import                100  408 KiB  4.7 MiB     0
   │  └─ function hello                                                      function               20  1.0 KiB  5.1 MiB     3
   └─ function table (lazy arguments)                                        lazy                   10    981 B  4.7 MiB     0
      └─ argument table(table={"rows": 110000, "seed": 7,…, query=?) impure  argument              300  2.5 KiB  4.8 MiB     0
6 nodes, 5.2 MiB stored
`

func TestTree(t *testing.T) {
	dir := t.TempDir()
	nodes := testTree(t, dir)
	out := command(t, dir, "", nil, "snapshot", "tree")
	if out.code != api.ExitOK || out.stderr != "" {
		t.Fatalf("exit %d, stderr %q", out.code, out.stderr)
	}
	got := named(out.stdout, nodes)
	if got != wantTree {
		t.Errorf("got\n%s\nwant\n%s", got, wantTree)
	}
}

// In a chain each import node names what it adds.
func TestTreeNamesAddedImports(t *testing.T) {
	node := func(imports ...string) *api.Snapshot {
		n := &api.Snapshot{}
		n.ID, n.Kind, n.Key.Imports = "0123456789abcdef", lineage.KindImport, imports
		return n
	}
	outer, inner := node("json"), node("json", "re", "os")
	outer.Children = []*api.Snapshot{inner}
	long := node(strings.Repeat("x", 100))
	var b strings.Builder
	if err := snapshotcmd.PrintTrees(&b, []*api.Snapshot{outer, long}, nil); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"import json ", "└─ import re,os ", strings.Repeat("x", cmdline.MaxImportsText-1) + "… "} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "json,re") {
		t.Errorf("repeats the parent's:\n%s", b.String())
	}
}

func TestTreeJSON(t *testing.T) {
	dir := t.TempDir()
	nodes := testTree(t, dir)
	out := command(t, dir, "", nil, "snapshot", "tree", "--json")
	var trees []*api.Snapshot
	if err := json.Unmarshal([]byte(out.stdout), &trees); err != nil {
		t.Fatal(err)
	}
	if len(trees) != 1 || trees[0].ID != nodes["image"].ID || len(trees[0].Children) != 1 {
		t.Fatalf("%d trees: %s", len(trees), out.stdout)
	}
	base := trees[0].Children[0]
	if len(base.Children) != 2 || base.Children[1].Children[0].ID != nodes["argument"].ID {
		t.Errorf("children of the base: %+v", base.Children)
	}
	if a := base.Children[1].Children[0]; a.Pure || a.DeltaPages != 300 || a.DeltaBytes != 300*lineage.PageSize || a.SharedBytes == 0 {
		t.Errorf("argument node: %+v", a)
	}
}

func TestEmptyStateLists(t *testing.T) {
	dir := t.TempDir() + "/missing"
	for _, args := range [][]string{{"snapshot", "ls"}, {"snapshot", "tree"}, {"function", "ls"}, {"image", "ls"}} {
		if out := command(t, dir, "", nil, args...); out.code != api.ExitOK || out.stderr != "" {
			t.Errorf("%v: exit %d, stderr %q", args, out.code, out.stderr)
		}
		if out := command(t, dir, "", nil, append(args, "--json")...); strings.TrimSpace(out.stdout) != "[]" {
			t.Errorf("%v --json: %q, want []", args, out.stdout)
		}
	}
}

func TestSnapshotLs(t *testing.T) {
	dir := t.TempDir()
	nodes := testTree(t, dir)
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{}, []string{"image", "base", "import", "function", "lazy", "argument"}},
		{[]string{"--kind", "function"}, []string{"function", "lazy"}},
		{[]string{"--function", "table"}, []string{"lazy", "argument"}},
		{[]string{"--function", "table", "--kind=argument"}, []string{"argument"}},
	} {
		out := command(t, dir, "", nil, append([]string{"snapshot", "ls", "--json"}, c.args...)...)
		var items []api.Snapshot
		if err := json.Unmarshal([]byte(out.stdout), &items); err != nil {
			t.Fatal(err)
		}
		got := map[string]bool{}
		for _, i := range items {
			got[i.ID] = true
		}
		for _, name := range c.want {
			if !got[nodes[name].ID] {
				t.Errorf("%v: %s is missing", c.args, name)
			}
		}
		if len(items) != len(c.want) {
			t.Errorf("%v: %d nodes, want %d", c.args, len(items), len(c.want))
		}
		if plain := command(t, dir, "", nil, append([]string{"snapshot", "ls"}, c.args...)...); strings.Count(plain.stdout, "\n") != len(c.want)+1 {
			t.Errorf("%v: table\n%s", c.args, plain.stdout)
		}
	}
}

func TestSnapshotShow(t *testing.T) {
	dir := t.TempDir()
	nodes := testTree(t, dir)
	out := command(t, dir, "", nil, "snapshot", "show", nodes["argument"].ID[:8])
	if out.code != api.ExitOK {
		t.Fatal(out.stderr)
	}
	for _, want := range []string{
		nodes["argument"].ID, "> base > function table (lazy arguments) > argument", "waits for", "impure: entropy 0, clock 2", "clock_gettime",
	} {
		if !strings.Contains(out.stdout, want) {
			t.Errorf("no %q in\n%s", want, out.stdout)
		}
	}
	out = command(t, dir, "", nil, "snapshot", "show", "--json", nodes["function"].ID)
	var doc struct {
		ID      string
		Lineage []string
	}
	if err := json.Unmarshal([]byte(out.stdout), &doc); err != nil || doc.ID != nodes["function"].ID || len(doc.Lineage) != 4 {
		t.Errorf("%v: %s", err, out.stdout)
	}
	if out := command(t, dir, "", nil, "snapshot", "show", "ffffffffffff"); out.code != api.ExitFailure || !strings.Contains(out.stderr, "not found") {
		t.Errorf("unknown id: exit %d, %q", out.code, out.stderr)
	}
}

func TestSnapshotRm(t *testing.T) {
	dir := t.TempDir()
	nodes := testTree(t, dir)
	out := command(t, dir, "", nil, "snapshot", "rm", nodes["lazy"].ID)
	if out.code != api.ExitFailure || !strings.Contains(out.stderr, "dependents") {
		t.Errorf("with children: exit %d, %q", out.code, out.stderr)
	}
	out = command(t, dir, "", nil, "snapshot", "rm", cmdline.Short(nodes["lazy"].ID), "--cascade")
	if out.code != api.ExitOK || out.stdout != "removed 2 snapshots\n" {
		t.Errorf("cascade: exit %d, %q %q", out.code, out.stdout, out.stderr)
	}
	if out := command(t, dir, "", nil, "snapshot", "rm", nodes["argument"].ID); out.code != api.ExitFailure {
		t.Errorf("removed twice: exit %d", out.code)
	}
	if out := command(t, dir+"/none", "", nil, "snapshot", "rm", "abc"); out.code != api.ExitFailure {
		t.Errorf("no state: exit %d", out.code)
	}
}

func TestReadingWorksWhileLocked(t *testing.T) {
	dir := t.TempDir()
	nodes := testTree(t, dir)
	s, err := lineage.Open(dir, lineage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, args := range [][]string{{"snapshot", "ls"}, {"snapshot", "tree"}, {"snapshot", "show", nodes["base"].ID}, {"function", "ls"}} {
		if out := command(t, dir, "", nil, args...); out.code != api.ExitOK {
			t.Errorf("%v: exit %d, %q", args, out.code, out.stderr)
		}
	}
	out := command(t, dir, "", nil, "snapshot", "rm", nodes["function"].ID)
	if out.code != api.ExitFailure || !strings.Contains(out.stderr, "in use") || strings.Count(out.stderr, "\n") != 1 {
		t.Errorf("rm: exit %d, %q", out.code, out.stderr)
	}
}

func TestSnapshotCreate(t *testing.T) {
	dir := t.TempDir()
	nodes := testTree(t, dir)
	s, err := lineage.Open(dir, lineage.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	f := &fakeEngine{store: s, node: nodes["argument"]}
	out := command(t, dir, "", with(f), "snapshot", "create", "table", "--stop-at", "query", "--event", `{"table": 1}`)
	if out.code != api.ExitOK || f.stopAt != "query" || string(f.argument) != `{"table": 1}` || !strings.HasPrefix(out.stdout, cmdline.Short(nodes["argument"].ID)) || !f.closed {
		t.Errorf("argument: exit %d, %+v, %q %q", out.code, f, out.stdout, out.stderr)
	}
	f = &fakeEngine{store: s, node: nodes["import"]}
	if out := command(t, dir, "", with(f), "snapshot", "create", "--import", "json, re,json"); out.code != api.ExitOK || strings.Join(f.modules, "+") != "json+re" {
		t.Errorf("import: exit %d, %q, %q", out.code, f.modules, out.stderr)
	}
	for _, args := range [][]string{
		{}, {"table", "--import", "re"}, {"--base", "--import", "re"}, {"--import", "re,,os"}, {"--base", "--event", "{}"},
		{"--import", "re", "--stop-at", "x"}, {"table", "--image", "other"}, {"table", "extra"},
	} {
		if out := command(t, dir, "", nil, append([]string{"snapshot", "create"}, args...)...); out.code != api.ExitUsage {
			t.Errorf("%q: exit %d, %q", args, out.code, out.stderr)
		}
	}
}

func TestFunctionLsAndRm(t *testing.T) {
	dir := t.TempDir()
	nodes := testTree(t, dir)
	s, err := lineage.Open(dir, lineage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	deployed, err := cmdline.Deployments(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []functions.Function{{Name: "hello", Handler: "hello.handler", Image: cmdline.DefaultImage}, {Name: "table", Handler: "table.handler", Lazy: true, Image: cmdline.DefaultImage}} {
		if _, err := deployed.Put(f, []byte("code")); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	out := command(t, dir, "", nil, "function", "ls", "--json")
	var items []api.Function
	if err := json.Unmarshal([]byte(out.stdout), &items); err != nil {
		t.Fatal(err)
	}
	if len(items) != 2 || items[0].Name != "hello" || items[0].Hits != 3 || items[1].Nodes != 2 || items[1].StoredBytes != nodes["lazy"].StoredBytes()+nodes["argument"].StoredBytes() {
		t.Errorf("%+v", items)
	}
	if out := command(t, dir, "", nil, "function", "rm", "table"); out.code != api.ExitOK || out.stdout != "removed function table and 2 snapshots\n" {
		t.Errorf("exit %d, %q %q", out.code, out.stdout, out.stderr)
	}
	if out := command(t, dir, "", nil, "function", "rm", "table"); out.code != api.ExitFailure || !strings.Contains(out.stderr, `unknown function: "table"`) {
		t.Errorf("twice: exit %d, %q", out.code, out.stderr)
	}
	if out := command(t, dir, "", nil, "function", "ls"); !strings.Contains(out.stdout, "hello") || strings.Contains(out.stdout, "table") {
		t.Errorf("after rm:\n%s", out.stdout)
	}
}

func TestImageRmKeepsSnapshots(t *testing.T) {
	dir := t.TempDir()
	nodes := testTree(t, dir)
	out := command(t, dir, "", nil, "image", "rm", cmdline.DefaultImage)
	if out.code != api.ExitFailure || !strings.Contains(out.stderr, "has 5 snapshots") {
		t.Errorf("exit %d, %q", out.code, out.stderr)
	}
	if out := command(t, dir, "", nil, "snapshot", "show", nodes["argument"].ID); out.code != api.ExitOK {
		t.Errorf("snapshots are gone: %q", out.stderr)
	}
	if out := command(t, dir, "", nil, "image", "rm", "--cascade", cmdline.DefaultImage); out.code != api.ExitOK || !strings.Contains(out.stdout, "and 6 snapshots") {
		t.Errorf("cascade: exit %d, %q %q", out.code, out.stdout, out.stderr)
	}
	if out := command(t, dir, "", nil, "snapshot", "ls", "--json"); strings.TrimSpace(out.stdout) != "[]" {
		t.Errorf("left: %s", out.stdout)
	}
}
