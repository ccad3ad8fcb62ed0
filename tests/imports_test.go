package tests

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"seuss/dispatcher/imports"
	"seuss/dispatcher/plan"
)

// TestKnowingImports: what functions import is told by function show, survives kill -9 of
// the daemon, and is what a plan is fitted to, beside a daemon and without one; also once the
// code is gone.
func TestKnowingImports(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/usr/lib/python3/dist-packages/numpy"); err != nil {
		t.Skip("NumPy is not installed: apt-get install python3-numpy")
	}
	d := startDaemon(t)
	deploy := func(name, code string, more ...string) {
		d.Helper()
		d.want(0, name, append([]string{"function", "deploy", name, d.file(name+".py", code)}, more...)...)
	}
	handler := "\ndef handler(event, context):\n    import colorsys, sys, _frozen_importlib\n    return _frozen_importlib._find_and_load.__module__\n"
	deploy("matrix", "import decimal\nimport numpy"+handler)
	deploy("plain", "import decimal"+handler)
	deploy("nothing", handler)
	deploy("below", "import numpy"+handler, "--import", "numpy") // already there when it is loaded
	deploy("liar", `import numpy, json
import sys
frame = sys._getframe()
while not hasattr(frame.f_locals.get("self"), "recorder"):
    frame = frame.f_back
frame.f_locals["self"].recorder.answer = lambda *_: json.dumps({"distributions": [{"name": "evil==1,", "version": "1"}], "imports": [["x", 0, 0, 1, 1, 1]]}).encode()`+handler)
	deploy("many", "import sys\nfor n in range(2500):\n    sys.modules.pop('colorsys', None)\n    import colorsys"+handler)
	for range imports.MaxRuns { // in which what it imports is looked at
		d.want(0, "imported", "invoke", "matrix", "--event", "{}")
	}
	d.want(0, "importlib", "invoke", "matrix", "--event", "{}")
	check := func() {
		d.Helper()
		d.want(0, "3 runs were looked at", "function", "show", "matrix")
		d.want(0, "numpy", "function", "show", "matrix")
		var shown struct {
			Loaded *imports.Record `json:"loaded"`
		}
		show := func(name string) *imports.Record {
			d.Helper()
			shown.Loaded = nil
			if err := json.Unmarshal([]byte(d.want(0, "", "function", "show", name, "--json").stdout), &shown); err != nil {
				d.Fatal(err)
			}
			return shown.Loaded
		}
		for _, name := range []string{"matrix", "below"} {
			r := show(name)
			if r == nil || len(r.Distributions) != 1 {
				d.Fatalf("%s has imported %+v", name, r)
			}
			n := r.Distributions[0]
			if n.Name != "numpy" || n.Version == "" || n.MS <= 0 || n.TotalMS < n.MS || n.Pages <= 0 || n.Modules < 50 {
				d.Errorf("%s: %+v", name, n)
			}
			at := func(module string) int {
				return slices.IndexFunc(r.Modules, func(m imports.Module) bool { return m.Name == module })
			}
			if core, whole := at("numpy.core"), at("numpy"); core < 0 || whole < core || name == "matrix" && at("decimal") < 0 || at("colorsys") >= 0 {
				d.Errorf("%s: %+v", name, r.Modules)
			}
		}
		if r := show("plain"); r == nil || len(r.Distributions) != 0 || r.ModuleCount == 0 || r.MS <= 0 {
			d.Errorf("plain: %+v", r)
		}
		for _, name := range []string{"nothing", "liar"} {
			if r := show(name); r != nil {
				d.Errorf("%s: %+v", name, r)
			}
		}
		if r := show("many"); r == nil || r.ModuleCount != 2000 || r.LeftOut < 500 {
			d.Errorf("many: %d modules, %d left out", r.ModuleCount, r.LeftOut)
		}
		out := d.want(0, "numpy==", "plan", "fit", "--nodes", "3", "--json")
		var tree plan.Node
		if err := json.Unmarshal([]byte(out.stdout), &tree); err != nil || len(tree.Children) != 1 || !strings.HasPrefix(tree.Children[0].Packages[0], "numpy==") {
			d.Errorf("%v: %s", err, out.stdout)
		}
		dir := d.TempDir()
		packages, deps := filepath.Join(dir, "packages.json"), filepath.Join(dir, "deps.jsonl")
		trace := d.want(0, `{"name":"matrix","packages":["numpy==`, "plan", "history", "--packages-out", packages, "--deps-out", deps).stdout
		train := d.file("train.jsonl", trace)
		if again := d.want(0, "", "plan", "fit", "--nodes", "3", "--json", "--train", train, "--packages", packages, "--deps", deps); again.stdout != out.stdout {
			d.Errorf("from files: %s\nfrom the history: %s", again.stdout, out.stdout)
		}
	}
	check()
	d.kill()
	check() // of the state directory
	d.start()
	d.want(0, "numpy==", "plan", "fit", "--nodes", "3")
	// What was called and is gone stays known; what was never called tells of no use.
	d.want(0, "importlib", "invoke", "matrix", "--event", "{}")
	deploy("matrix", "import decimal"+handler)
	d.want(0, "", "function", "rm", "matrix")
	for _, with := range []bool{true, false} {
		args := []string{"plan", "history", "--deployed"}
		want := 0
		if with {
			args, want = args[:2], 1
		}
		if out := d.want(0, "", args...).stdout; strings.Count(out, `"matrix"`) != want || strings.Count(out, `{"name":"matrix","packages":["numpy==`) != want {
			t.Errorf("%v: %s", args, out)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(d.state, "imports", "matrix.*")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}
