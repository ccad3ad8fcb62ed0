package tests

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/plan"
	"seuss/dispatcher/planner"
	"seuss/images"
	"seuss/images/runtimes"
	"seuss/images/runtimes/python"
	"seuss/lineage"
	"seuss/vmm/vmmtest"
)

// sitePackages are packages of a test's image by name, all of version 1.0: the text of
// their one module.
var sitePackages = map[string]string{
	"alpha": "import beta, time\ntime.sleep(0.03)\n",
	"beta":  "import time\ntime.sleep(0.02)\nwhose = 'the image'\n",
	"gamma": "import time\ntime.sleep(0.01)\n",
	// What it plants is in the memory of all that start from a node where it is imported.
	"evil":  "import json, time\ntime.sleep(0.2)\nhonest = json.dumps\njson.dumps = lambda o, *a, **k: honest('planted' if isinstance(o, list) else o, *a, **k)\n",
	"quits": "import os\nos._exit(3)\n",
}

// withPackages makes a state directory with an image of Python and packages.
func withPackages(t *testing.T, image string, packages map[string]string) string {
	t.Helper()
	vmmtest.Require(t)
	dir := t.TempDir()
	store := images.Store{Dir: filepath.Join(dir, "images")}
	if err := os.MkdirAll(store.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	addPackages(t, store, image, packages)
	return dir
}

func addPackages(t *testing.T, store images.Store, image string, packages map[string]string) {
	t.Helper()
	spec, err := python.Runtime.Spec(context.Background(), runtimes.Options{Without: []string{"numpy"}})
	if err != nil {
		t.Fatal(err)
	}
	spec.Name = image
	const site = "/usr/lib/python3/dist-packages/"
	for name, text := range packages {
		name, version, _ := strings.Cut(name+"==1.0", "==")
		version, _, _ = strings.Cut(version, "==")
		spec.Files = append(spec.Files,
			images.File{GuestPath: site + name + "/__init__.py", Data: []byte(text)},
			images.File{GuestPath: site + name + "-" + version + ".dist-info/METADATA", Data: fmt.Appendf(nil, "Name: %s\nVersion: %s\n", name, version)})
	}
	if _, err := store.Add(context.Background(), spec, images.AddOptions{Layered: true}); err != nil {
		t.Fatal(err)
	}
}

// planOf is a tree of which each text is a node below the root, its packages in order.
func planOf(nodes ...string) *plan.Node {
	root := &plan.Node{Packages: []string{}, Direct: []string{}, Children: []*plan.Node{}}
	for i, text := range nodes {
		at := root
		for level := range strings.SplitSeq(text, " / ") {
			n := &plan.Node{Generation: i + 1, Count: 10, Children: []*plan.Node{}}
			for name := range strings.FieldsSeq(level) {
				if !strings.Contains(name, "==") {
					name += "==1.0"
				}
				n.Packages = append(n.Packages, name)
			}
			n.Direct = n.Packages
			if i := slices.IndexFunc(at.Children, func(c *plan.Node) bool { return slices.Equal(c.Packages, n.Packages) }); i >= 0 {
				n = at.Children[i]
			} else {
				at.Children = append(at.Children, n)
			}
			at = n
		}
	}
	return root
}

// living is a dispatcher with a plan.
type living struct {
	*testing.T
	*dispatcher.Dispatcher
}

func (l living) apply(owner string, nodes ...string) *planner.Status {
	l.Helper()
	if _, err := l.Planner.Apply(planner.Ask{Which: planner.Which{Image: "packages", Shared: owner == "", Owner: owner}, Tree: planOf(nodes...)}); err != nil {
		l.Fatal(err)
	}
	return l.settle(owner)
}

// settle lets the planner do what there is to do.
func (l living) settle(owner string) *planner.Status {
	l.Helper()
	ctx, cancel := context.WithTimeout(l.Context(), patience(2*time.Minute))
	defer cancel()
	done := make(chan struct{})
	go func() { defer close(done); l.Planner.Run(ctx, planner.Hurried) }()
	if err := l.Planner.Wait(ctx); err != nil {
		l.Fatal(err)
	}
	cancel()
	<-done
	for _, s := range l.Planner.Status(owner, false) {
		if s.Owner == owner {
			return s
		}
	}
	l.Fatal("no plan")
	return nil
}

func (l living) deploy(name, source string, change func(*dispatcher.FunctionSpec)) {
	l.Helper()
	deploy(l.T, l.Dispatcher, name, source, func(s *dispatcher.FunctionSpec) {
		s.Image = "packages"
		if change != nil {
			change(s)
		}
	})
}

// above is what the node holds that a function's hangs on.
func (l living) above(name string) string {
	l.Helper()
	var found []string
	for _, n := range l.Store().Function(name) {
		parent, err := l.Store().Get(n.Parent)
		if err != nil {
			l.Fatal(err)
		}
		found = append(found, strings.Join(parent.Key.Imports, " "))
	}
	return strings.Join(found, " and ")
}

const asksNothing = "\ndef handler(event, context):\n    import json, sys\n    return json.dumps(sorted(m for m in ('alpha', 'beta', 'gamma', 'evil') if m in sys.modules))\n"

// TestLivingWithAPlan: nodes of a plan are captured, functions start from the best that
// has nothing beyond what their text asks for, whether they were there before or not.
func TestLivingWithAPlan(t *testing.T) {
	t.Parallel()
	dir := withPackages(t, "packages", sitePackages)
	l := living{t, openAt(t, dir, nil)}
	l.deploy("old", "import alpha"+asksNothing, nil)
	l.deploy("kept", "import alpha"+asksNothing, func(s *dispatcher.FunctionSpec) { s.Imports = []string{"beta"} })
	s := l.apply("", "beta / alpha", "beta / gamma", "evil", "quits", "gone==2.0", "gamma gone==2.0 / quits")
	var states []string
	for _, n := range s.Nodes {
		states = append(states, fmt.Sprint(n.Packages, " ", n.State))
	}
	if got := strings.Join(states, ", "); got != "[beta==1.0] made, [alpha==1.0] made, [gamma==1.0] made, [evil==1.0] made, [quits==1.0] skipped, [gone==2.0] skipped, [gamma==1.0 gone==2.0] made, [quits==1.0] skipped" {
		t.Errorf("%s", got)
	}
	if s.Nodes[0].Hits != 1 || s.Nodes[1].Hits != 0 { // kept
		t.Errorf("starts from nodes: %+v", s.Nodes)
	}
	if len(s.Skipped) != 2 || s.Skipped[0].Package != "quits==1.0" || !strings.Contains(s.Skipped[0].Why, "exit") || s.Skipped[1].Package != "gone==2.0" || s.Left != 0 {
		t.Errorf("%+v", s)
	}
	for _, c := range []struct{ name, source, above, modules string }{
		{"both", "import alpha", "beta alpha", `["alpha", "beta"]`},
		{"one", "from beta import whose", "beta", `["beta"]`},
		{"inside", "def f():\n    import gamma", "gamma", `["gamma"]`},
		{"none", "# import alpha\n'import beta'", "", `[]`},
		{"quotes", "import importlib\nimportlib.import_module('gamma')", "gamma", `["gamma"]`},
	} {
		l.deploy(c.name, c.source+asksNothing, nil)
		if got := l.above(c.name); got != c.above {
			t.Errorf("%s hangs below %q, want %q", c.name, got, c.above)
		}
		if got := output[string](t, invoke(t, l.Dispatcher, c.name, "{}")); got != c.modules {
			t.Errorf("%s: %s, want %s", c.name, got, c.modules)
		}
	}
	if s := l.settle(""); s.Nodes[0].Hits != 2 || s.Nodes[1].Hits != 1 || s.Nodes[2].Hits+s.Nodes[6].Hits != 2 {
		t.Errorf("starts from nodes: %+v", s.Nodes)
	}
	// old, kept and none load below the base or a node of their own choice.
	if tiers := l.Stats().Tiers; tiers.Imports.Hits != 6 || tiers.Imports.Misses != 1 || tiers.Handler.Misses != 7 || tiers.Handler.Hits != 5 || tiers.Imports.Bytes == 0 {
		t.Errorf("%+v", tiers)
	}
	list, err := l.Explain("both", []byte("{}"))
	if err != nil || !slices.ContainsFunc(list, func(c dispatcher.Candidate) bool {
		return c.Key == "beta,alpha" && strings.Contains(c.Reason, "; planned for everybody: beta==1.0 alpha==1.0, which saves")
	}) {
		t.Errorf("%v: %+v", err, list)
	}
	// What is run once, never deployed, starts there too.
	once, err := l.RunOnce(t.Context(), dispatcher.FunctionSpec{Name: "once", Image: "packages", Handler: "main.handler", Files: map[string][]byte{"main.py": []byte("import alpha" + asksNothing)}},
		dispatcher.Request{Event: []byte("{}"), Timeout: patience(20 * time.Second)})
	if err != nil {
		t.Fatal(describe(err))
	}
	if got := output[string](t, once); got != `["alpha", "beta"]` || once.NodeID != l.Store().Function("both")[0].Parent {
		t.Errorf("once: %s from %s", got, once.NodeID)
	}
	// Who brings a module himself has his own, also where a package imports it.
	l.deploy("own", "import alpha, beta"+strings.Replace(asksNothing, "json.dumps(", "json.dumps([beta.whose] + ", 1), func(s *dispatcher.FunctionSpec) {
		s.Files["beta.py"] = []byte("whose = 'mine'")
	})
	if got := output[string](t, invoke(t, l.Dispatcher, "own", "{}")); got != `["mine", "alpha", "beta"]` || l.above("own") != "" {
		t.Errorf("own: %s below %q", got, l.above("own"))
	}
	// A package may look at the environment when it is imported.
	l.deploy("environment", "import alpha"+asksNothing, func(s *dispatcher.FunctionSpec) {
		s.Settings.Environment = map[string]string{"MODE": "x"}
	})
	if got := l.above("environment"); got != "" {
		t.Errorf("environment hangs below %q", got)
	}
	// What was there before is moved when it is used, unless it says where it starts.
	if got := l.above("old"); got != "" {
		t.Errorf("old hangs below %q before it is used", got)
	}
	invoke(t, l.Dispatcher, "old", "{}")
	invoke(t, l.Dispatcher, "kept", "{}")
	noticed := l.while("old")
	if s := l.settle(""); s.Moved != 1 || l.above("old") != "beta alpha" || l.above("kept") != "beta" {
		t.Errorf("%d functions were moved: old below %q, kept below %q", s.Moved, l.above("old"), l.above("kept"))
	}
	for _, what := range noticed() {
		t.Errorf("while it is moved: %s", what)
	}
	if got := output[string](t, invoke(t, l.Dispatcher, "old", "{}")); got != `["alpha", "beta"]` {
		t.Errorf("old: %s", got)
	}
	// Of itself the daemon would plan for what is called.
	if err := l.Planner.Drop(planner.Which{Image: "packages", Shared: true}); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		invoke(t, l.Dispatcher, "old", "{}")
	}
	l.Planner.Refit(t.Context())
	if s := l.settle(""); !s.Fitted || len(s.Skipped) > 0 || !slices.ContainsFunc(s.Nodes, func(n planner.NodeStatus) bool {
		return slices.Contains(n.Packages, "alpha==1.0") && n.State == planner.Made
	}) {
		t.Errorf("%+v", s)
	}
}

// while invokes a function over and over until what is returned is called, which says what
// was wrong with that: each invocation starts from the function's node.
func (l living) while(name string) (noticed func() []string) {
	ctx, cancel := context.WithCancel(l.Context())
	done := make(chan []string, 1)
	go func() {
		var wrong []string
		for ctx.Err() == nil && len(wrong) < 9 {
			switch r, err := l.Invoke(l.Context(), dispatcher.Request{Function: name, Event: []byte("{}"), Timeout: patience(20 * time.Second)}); {
			case err != nil:
				wrong = append(wrong, err.Error())
			case r.Error != nil || r.Path != dispatcher.PathFunction:
				wrong = append(wrong, fmt.Sprintf("%v from %s", r.Error, r.Path))
			}
		}
		done <- wrong
	}()
	return func() []string { cancel(); return <-done }
}

// TestPlannedBackdoor: what a package plants at its import is met by those that asked for
// it, and by nobody else, whatever records say.
func TestPlannedBackdoor(t *testing.T) {
	t.Parallel()
	dir := withPackages(t, "packages", sitePackages)
	l := living{t, openAt(t, dir, nil)}
	l.deploy("liar", `import json, sys
frame = sys._getframe()
while not hasattr(frame.f_locals.get("self"), "recorder"):
    frame = frame.f_back
frame.f_locals["self"].recorder.answer = lambda *_: json.dumps({"distributions": [{"name": "evil", "version": "1.0", "requires": []}, {"name": "beta", "version": "1.0", "requires": ["evil"]}],
    "imports": [["evil", 0, 1, 9000000, 9000000, 1], ["beta", 1, 0, 1, 9000000, 1]], "left_out": 0}).encode()`+asksNothing, nil)
	l.deploy("other/beta", "import beta"+asksNothing, nil)
	l.apply("", "evil", "evil beta", "beta", "evil / gamma")
	sources := map[string]string{
		"asks": "import evil", "clean": "", "near": "import beta", "gamma": "import gamma",
		"other/clean": "import beta, gamma", "other/asks": "from evil import honest",
	}
	for name, source := range sources {
		l.deploy(name, source+asksNothing, nil)
	}
	for range 2 {
		for _, name := range []string{"liar", "asks", "clean", "near", "gamma", "other/clean", "other/asks", "other/beta"} {
			got := output[string](t, invoke(t, l.Dispatcher, name, "{}"))
			asked := strings.HasSuffix(name, "asks")
			if planted := got == `"planted"`; planted != asked {
				t.Errorf("%s, below %q: %s", name, l.above(name), got)
			}
			if l.above(name) == "evil" != asked {
				t.Errorf("%s hangs below %q", name, l.above(name))
			}
		}
		l.settle("")
	}
	if got := l.above("near"); got != "beta" {
		t.Errorf("near hangs below %q", got)
	}
}

// TestPlansOfOwners: an owner's plan concerns his own functions.
func TestPlansOfOwners(t *testing.T) {
	t.Parallel()
	dir := withPackages(t, "packages", sitePackages)
	l := living{t, openAt(t, dir, func(o *dispatcher.Options) { o.PoolSize = 1 })} // a machine that rests at a node keeps it
	l.apply("ann", "beta / alpha")
	for name, want := range map[string]string{"ann/f": "beta alpha", "bob/f": "", "f": ""} {
		l.deploy(name, "import alpha"+asksNothing, nil)
		if got := l.above(name); got != want {
			t.Errorf("%s hangs below %q, want %q", name, got, want)
		}
	}
	l.apply("", "beta")
	for name, want := range map[string]string{"ann/g": "beta alpha", "bob/g": "beta"} {
		l.deploy(name, "import alpha"+asksNothing, nil)
		if got := l.above(name); got != want {
			t.Errorf("%s hangs below %q, want %q", name, got, want)
		}
	}
	// What is wanted goes after what nobody wants; a deployment makes again what has gone.
	if err := l.Planner.Drop(planner.Which{Image: "packages", Owner: "ann"}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ann/f", "ann/g", "bob/g", "bob/f", "f"} {
		if err := l.RemoveFunction(name); err != nil {
			t.Fatal(err)
		}
	}
	var r lineage.GCReport
	for end := time.Now().Add(patience(30 * time.Second)); ; time.Sleep(20 * time.Millisecond) {
		var err error
		if r, err = l.Collect(lineage.GCOptions{Budget: 1, DryRun: true}); err != nil {
			t.Fatal(err)
		}
		if r.Kept["running"] == 0 || time.Now().After(end) {
			break // machines of deployments are still being reset for a moment
		}
	}
	if len(r.Removed) < 2 || strings.Join(r.Removed[0].Node.Key.Imports, " ") != "beta alpha" || strings.Join(r.Removed[1].Node.Key.Imports, " ") != "beta" {
		t.Errorf("%+v", r.Removed)
	}
	if _, err := l.Collect(lineage.GCOptions{Budget: 1}); err != nil {
		t.Fatal(err)
	}
	if s := l.settle(""); s.Nodes[0].State != planner.Evicted {
		t.Errorf("%+v", s.Nodes)
	}
	l.deploy("again", "import beta"+asksNothing, nil)
	if s := l.settle(""); s.Nodes[0].State != planner.Made || l.above("again") != "beta" {
		t.Errorf("%+v", s.Nodes)
	}
}

// TestPlansKnowContent: a package of one name and version that has other content in another
// image is another one: nobody starts from a node of the other's, whoever they are and
// whomever the plan is for, and a plan does not follow its image's name to other content.
func TestPlansKnowContent(t *testing.T) {
	t.Parallel()
	alpha := func(whose string) map[string]string {
		return map[string]string{"alpha": "import time\ntime.sleep(0.02)\nwhose = '" + whose + "'\n"}
	}
	dir := withPackages(t, "packages", alpha("ann"))
	addPackages(t, images.Store{Dir: filepath.Join(dir, "images")}, "bobs", alpha("bob"))
	l := living{t, openAt(t, dir, nil)}
	const source = "import alpha\ndef handler(event, context):\n    return alpha.whose\n"
	start := func(name, image, whose, above string) (parent string) {
		t.Helper()
		l.deploy(name, source, func(s *dispatcher.FunctionSpec) { s.Image = image })
		if got := output[string](t, invoke(t, l.Dispatcher, name, "{}")); got != whose || l.above(name) != above {
			t.Errorf("%s runs the package of %s, below %q, want %q", name, got, l.above(name), above)
		}
		return l.Store().Function(name)[0].Parent
	}
	l.apply("", "alpha")
	anns := start("ann/f", "packages", "ann", "alpha")
	start("bob/f", "bobs", "bob", "")
	if _, err := l.Planner.Apply(planner.Ask{Which: planner.Which{Image: "bobs", Owner: "bob"}, Tree: planOf("alpha")}); err != nil {
		t.Fatal(err)
	}
	l.settle("bob")
	if bobs := start("bob/g", "bobs", "bob", "alpha"); bobs == anns {
		t.Error("both start from one node")
	}
	start("ann/g", "bobs", "bob", "") // by his own plan: he has none
	addPackages(t, images.Store{Dir: filepath.Join(dir, "images")}, "packages", alpha("somebody else"))
	if err := l.Refresh(); err != nil {
		t.Fatal(err)
	}
	start("ann/h", "packages", "somebody else", "")
	if s := l.settle(""); !s.Outdated {
		t.Errorf("%+v", s)
	}
}
