package runtimes_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"seuss/images"
	"seuss/images/runtimes"
	_ "seuss/images/runtimes/all"
)

// TestRegistry: every runtime is found by what it says of itself, and by nothing else.
func TestRegistry(t *testing.T) {
	names := runtimes.Names()
	if len(names) == 0 || !slices.IsSorted(names) || len(runtimes.All()) != len(names) {
		t.Fatalf("runtimes %v", names)
	}
	for _, r := range runtimes.All() {
		if found, err := runtimes.ByName(r.Name); err != nil || found != r {
			t.Errorf("%s: %v", r.Name, err)
		}
		if r.Title == "" || r.Find == nil {
			t.Errorf("%s has no title, or does not say where its interpreter is", r.Name)
		}
		for _, e := range r.Endings {
			files := map[string][]byte{"main" + e: nil, "lib/other.txt": nil}
			if runtimes.ByFileEnding("x/main"+e) != r || runtimes.ByFiles(files) != r {
				t.Errorf("%s: a module%s is not its own", r.Name, e)
			}
		}
		if r.Lambda != "" && (r.LambdaName("") != "" || r.VersionOf(images.Config{}) != "") {
			t.Errorf("%s: Lambda's name", r.Name)
		}
		if len(r.Endings) > 0 {
			driver := r.Driver()
			if _, ok := driver[r.Main]; !ok {
				t.Errorf("%s: the driver has no %s", r.Name, r.Main)
			}
			if r.Starter.Name == "" || len(r.Starter.Code) == 0 || !json.Valid([]byte(r.Starter.Event)) {
				t.Errorf("%s has nothing that a new function begins as", r.Name)
			}
			for _, name := range []string{"greet", "table", "hold"} {
				if len(r.Sample(name).Code) == 0 {
					t.Errorf("%s has no sample %s", r.Name, name)
				}
			}
		}
	}
	if _, err := runtimes.ByName("cobol"); err == nil || !strings.Contains(err.Error(), strings.Join(names, ", ")) {
		t.Errorf("an unknown name: %v", err)
	}
	if runtimes.ByFileEnding("x.cob") != nil {
		t.Error("something unknown was found")
	}
	if r := runtimes.ByFiles(map[string][]byte{"README": nil}); r != runtimes.Default() {
		t.Errorf("files of no runtime are for %s", r.Name)
	}
	if e := runtimes.Endings(); !slices.Contains(e, runtimes.Default().Endings[0]) {
		t.Errorf("endings %v", e)
	}
}

// TestSetupLists: every runtime's folder says what a developer's machine needs.
func TestSetupLists(t *testing.T) {
	lists, err := filepath.Glob("*/setup.list")
	if err != nil || len(lists) != len(runtimes.All()) {
		t.Fatalf("%d lists for %d runtimes: %v", len(lists), len(runtimes.All()), err)
	}
	for _, list := range lists {
		b, err := os.ReadFile(list)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			if name, test, ok := strings.Cut(strings.TrimSpace(line), " "); !ok || name == "" || test == "" {
				t.Errorf("%s: %q is no package with a command", list, line)
			}
		}
	}
}
