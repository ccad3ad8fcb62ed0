package app

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"seuss/dispatcher/api"
	"seuss/lineage"
	"seuss/tools/seussctl/cmdline"
)

// want runs a command that must succeed and print all of the texts.
func want(t *testing.T, dir string, args []string, texts ...string) string {
	t.Helper()
	out := command(t, dir, "", nil, args...)
	if out.code != api.ExitOK || out.stderr != "" {
		t.Fatalf("%v: exit %d, %q", args, out.code, out.stderr)
	}
	for _, text := range texts {
		if !strings.Contains(out.stdout, text) {
			t.Errorf("%v: no %q in\n%s", args, text, out.stdout)
		}
	}
	return out.stdout
}

// refused runs a command that must end with this code and say all of the texts.
func refused(t *testing.T, dir string, code int, args []string, texts ...string) {
	t.Helper()
	out := command(t, dir, "", nil, args...)
	if out.code != code {
		t.Errorf("%v: exit %d, want %d; %q", args, out.code, code, out.stderr)
	}
	for _, text := range texts {
		if !strings.Contains(out.stderr, text) {
			t.Errorf("%v: no %q in %q", args, text, out.stderr)
		}
	}
}

func decode[T any](t *testing.T, text string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

func TestTagsAndPins(t *testing.T) {
	dir := t.TempDir()
	nodes := testTree(t, dir)
	id := nodes["function"].ID
	want(t, dir, []string{"snapshot", "tag", id[:9], "hello@v1"}, "tagged hello@v1 "+cmdline.Short(id))
	want(t, dir, []string{"snapshot", "tag"}, "hello@v1", cmdline.Short(id), "function")
	want(t, dir, []string{"snapshot", "tree"}, "[hello@v1]")
	want(t, dir, []string{"snapshot", "history", "hello"}, "hello@v1", cmdline.Short(id))
	want(t, dir, []string{"snapshot", "show", "hello@v1"}, id)
	want(t, dir, []string{"snapshot", "pin", nodes["argument"].ID, "--for", "1h"}, "pinned")
	refused(t, dir, api.ExitFailure, []string{"snapshot", "rm", "hello@v1"}, "tagged hello@v1")
	refused(t, dir, api.ExitFailure, []string{"snapshot", "rm", "--cascade", nodes["base"].ID}, "kept by a pin or tag")
	if n := decode[api.Snapshot](t, want(t, dir, []string{"snapshot", "unpin", "--json", nodes["argument"].ID})); n.Pinned {
		t.Error("still pinned")
	}
	want(t, dir, []string{"snapshot", "tag", "--remove", "hello@v1"}, "removed tag hello@v1")
	want(t, dir, []string{"snapshot", "rm", id}, "removed 1 snapshots")
	if items := decode[[]api.Snapshot](t, want(t, dir, []string{"snapshot", "history", "table", "--json"})); len(items) != 2 || items[0].ID != nodes["argument"].ID {
		t.Errorf("history: %+v", items)
	}
	refused(t, dir, api.ExitUsage, []string{"snapshot", "tag", nodes["base"].ID, "abc"}, "hex digits")
	refused(t, dir, api.ExitUsage, []string{"snapshot", "tag", "--remove", "x", nodes["base"].ID})
	refused(t, dir, api.ExitUsage, []string{"snapshot", "expire", nodes["base"].ID, "soon"}, "36h")
	refused(t, dir, api.ExitFailure, []string{"snapshot", "unpin", nodes["base"].ID}, "not found")
	refused(t, dir, api.ExitFailure, []string{"snapshot", "history", "nobody"}, "not found")
}

func TestGC(t *testing.T) {
	dir := t.TempDir()
	nodes := testTree(t, dir)
	want(t, dir, []string{"snapshot", "expire", nodes["lazy"].ID, "0s"}, "set the expiry")
	want(t, dir, []string{"snapshot", "gc", "--dry-run"}, "would free", "expired", cmdline.Short(nodes["argument"].ID), cmdline.Short(nodes["lazy"].ID))
	want(t, dir, []string{"snapshot", "gc"}, "freed", "in 2 snapshots")
	want(t, dir, []string{"snapshot", "pin", nodes["import"].ID})
	r := decode[struct {
		DryRun bool `json:"dry_run"`
		lineage.GCReport
	}](t, want(t, dir, []string{"snapshot", "gc", "--json", "--budget", "100MiB"}))
	if r.DryRun || len(r.Removed) != 0 || !r.WithinBudget || r.Kept["pinned"] != 1 {
		t.Errorf("%+v", r)
	}
	refused(t, dir, api.ExitFailure, []string{"snapshot", "gc", "--budget", "1KiB"}, "more than the budget")
	want(t, dir, []string{"snapshot", "ls"}, cmdline.Short(nodes["import"].ID))
	for _, args := range [][]string{{"--budget", "lots"}, {"--budget", "0"}, {"--unused", "-1h"}} {
		refused(t, dir, api.ExitUsage, append([]string{"snapshot", "gc"}, args...))
	}
}

func TestStatsCompactFlatten(t *testing.T) {
	dir := t.TempDir()
	nodes := testTree(t, dir)
	type usage struct {
		ID     string
		File   uint64 `json:"file_bytes"`
		Unique uint64 `json:"unique_bytes"`
	}
	stats := decode[[]usage](t, want(t, dir, []string{"snapshot", "stats", "--json"}))
	if len(stats) != len(nodes) {
		t.Fatalf("%+v", stats)
	}
	want(t, dir, []string{"snapshot", "stats"}, "PROPORTIONAL", cmdline.Short(nodes["argument"].ID), "all")
	want(t, dir, []string{"snapshot", "compact"}, "RATIO", cmdline.Short(nodes["base"].ID))
	compacted := decode[[]usage](t, want(t, dir, []string{"snapshot", "stats", "--json"}))
	for i := range stats {
		if compacted[i].Unique != stats[i].Unique || compacted[i].ID == nodes["base"].ID && compacted[i].File*2 > stats[i].File {
			t.Errorf("%+v, then %+v", stats[i], compacted[i])
		}
	}
	want(t, dir, []string{"snapshot", "verify"}, "6 snapshots are as they were captured")
	want(t, dir, []string{"snapshot", "compact", "--pages", nodes["base"].ID})
	out := want(t, dir, []string{"snapshot", "flatten", "--json", nodes["function"].ID})
	if flat := decode[api.Snapshot](t, out); flat.Parent != nodes["image"].ID || flat.Kind != lineage.KindFunction {
		t.Errorf("%s", out)
	}
	want(t, dir, []string{"snapshot", "flatten", nodes["function"].ID, "--onto", nodes["base"].ID}, "function hello")
	refused(t, dir, api.ExitFailure, []string{"snapshot", "flatten", nodes["function"].ID, "--onto", nodes["lazy"].ID}, "not above it")
	refused(t, dir, api.ExitFailure, []string{"snapshot", "rebase-check", nodes["function"].ID, nodes["base"].ID}, "capture it anew")
	want(t, dir, []string{"snapshot", "rebase-check", nodes["function"].ID, nodes["import"].ID}, "would be the same")
	want(t, dir, []string{"snapshot", "verify", "--json"}, `"faults": []`)
}

// What is damaged is named by snapshot and page, nothing is changed, and the rest
// is found sound.
func TestVerifyNamesDamage(t *testing.T) {
	dir := t.TempDir()
	nodes := testTree(t, dir)
	path := filepath.Join(dir, "nodes", nodes["base"].ID+".node")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[lineage.PageSize*8+55] ^= 2
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o444); err != nil {
		t.Fatal(err)
	}
	out := command(t, dir, "", nil, "snapshot", "verify")
	if out.code != api.ExitFailure || !strings.Contains(out.stdout, cmdline.Short(nodes["base"].ID)) || !strings.Contains(out.stdout, "guest page 0x") || strings.Count(out.stderr, "\n") != 1 {
		t.Errorf("exit %d, %q, %q", out.code, out.stdout, out.stderr)
	}
	r := decode[struct {
		Faults []struct{ Node, Guest, Error string }
	}](t, command(t, dir, "", nil, "snapshot", "verify", "--json", nodes["base"].ID).stdout)
	if len(r.Faults) != 1 || r.Faults[0].Node != nodes["base"].ID || r.Faults[0].Guest == "" {
		t.Errorf("%+v", r)
	}
	want(t, dir, []string{"snapshot", "verify", nodes["image"].ID}, "1 snapshots")
	refused(t, dir, api.ExitFailure, []string{"snapshot", "verify", "ffffffffff"}, "not found")
	if again, err := os.ReadFile(path); err != nil || string(again) != string(b) {
		t.Errorf("the file was changed: %v", err)
	}
}

func TestExport(t *testing.T) {
	dir := t.TempDir()
	nodes := testTree(t, dir)
	to := t.TempDir()
	layout := "oci:" + filepath.Join(to, "layout")
	want(t, dir, []string{"snapshot", "tag", nodes["function"].ID, "hello@v1"})
	r := decode[struct {
		ID, Name, Digest string
		Layers           int
	}](t, want(t, dir, []string{"snapshot", "export", "--json", "hello@v1", layout}))
	if r.ID != nodes["function"].ID || r.Name != "hello@v1" || r.Layers != 5 || !strings.HasPrefix(r.Digest, "sha256:") {
		t.Errorf("%+v", r)
	}
	want(t, dir, []string{"snapshot", "export", nodes["argument"].ID, layout + "@table@v2"}, "5 layers")
	index, err := os.ReadFile(filepath.Join(to, "layout", "index.json"))
	if err != nil || !strings.Contains(string(index), `"hello@v1"`) || !strings.Contains(string(index), `"table@v2"`) {
		t.Errorf("%s, %v", index, err)
	}
	want(t, dir, []string{"snapshot", "export", "hello@v1", "oci-archive:" + filepath.Join(to, "x.tar")}, r.Digest)
	refused(t, dir, api.ExitFailure, []string{"snapshot", "export", "nobody", layout}, "not found")
	refused(t, dir, api.ExitFailure, []string{"snapshot", "export", "hello@v1", "oci:" + dir}, "something else")
	for _, place := range []string{"", "oci:", "layout", "docker:x", "ftp://x"} {
		refused(t, dir, api.ExitUsage, []string{"snapshot", "export", "hello@v1", place}, "want oci:DIR")
		refused(t, dir, api.ExitUsage, []string{"snapshot", "import", place}, "want oci:DIR")
	}
}
