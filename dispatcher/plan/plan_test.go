package plan

import (
	"math"
	"reflect"
	"strings"
	"testing"
)

// TestWeights: the three weightings and what is spread over dependencies, by hand.
func TestWeights(t *testing.T) {
	w, err := NewWorkload([]Call{{Packages: []string{"a==1", "b==1", "c==1"}}})
	if err != nil {
		t.Fatal(err)
	}
	costs := Costs{"a==1": {MS: 6, MiB: 1}, "b==1": {MS: 2, MiB: 2}, "c==1": {MS: 1, MiB: 0.5}}
	// a needs b, in three of four functions; c needs nothing.
	deps := Dependencies{Sets: []Dependency{
		{Package: "a==1", Packages: []string{"b==1", "a==1"}, Uses: 3},
		{Package: "a==1", Packages: []string{"a==1"}, Uses: 1},
		{Package: "b==1", Packages: []string{"b==1"}, Uses: 3},
	}}
	for _, c := range []struct {
		by      Weighting
		inherit Inheritance
		want    []float64
	}{
		{WeighUniform, InheritNone, []float64{1, 1, 1}},
		{WeighTime, InheritNone, []float64{6, 2, 1}},
		{WeighPages, InheritNone, []float64{256, 512, 128}},
		{WeighTime, InheritAverage, []float64{6*0.75/2 + 6*0.25, 6*0.75/2 + 2, 1}},
		{WeighTime, InheritCost, []float64{6*0.75*6/8 + 6*0.25, 6*0.75*2/8 + 2, 1}},
	} {
		got, err := w.Weights(c.by, c.inherit, costs, deps)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s, %s: %v (%v), want %v", c.by, c.inherit, got, err, c.want)
		}
	}
}

// TestEntropyBenefit: two of four functions need a, one of these b as well. Splitting a off is
// worth what is no longer imported, and that nobody is unsure about a any more.
func TestEntropyBenefit(t *testing.T) {
	w, err := NewWorkload([]Call{{Packages: []string{"a==1", "b==1"}}, {Packages: []string{"a==1"}}, {Packages: []string{"c==1"}}, {}})
	if err != nil {
		t.Fatal(err)
	}
	deps := Dependencies{Sets: []Dependency{{Package: "a==1", Packages: []string{"a==1"}, Uses: 1}}}
	tree, err := Published(t.Context(), w, deps, []float64{1, 1, 1}, SplitOptions{Nodes: 2, Entropy: 2})
	if err != nil {
		t.Fatal(err)
	}
	h := func(p float64) float64 { return -p*math.Log2(p) - (1-p)*math.Log2(1-p) }
	before := 2*(1+2*h(0.5)) + 2*(1+2*h(0.25))
	after := 1 + 2*h(0.5) // c, of the two that stay
	child := 1 + 2*h(0.5) // b, of the two that move
	if got := tree.Root.Children[0].Benefit; math.Abs(got-(before-after-child)) > 1e-9 {
		t.Errorf("benefit %v, want %v", got, before-after-child)
	}
}

// TestBadInput: every error names what is wrong.
func TestBadInput(t *testing.T) {
	for _, c := range []struct{ kind, text, want string }{
		{"workload", "{\"name\": \"a\"}\n{\"name\": \"b\", \"packages\": [\"numpy\"]}", `function "b": package "numpy": want NAME==VERSION`},
		{"workload", "\n\n{\"nam\": 1}", `line 3: decode: json: unknown field "nam"`},
		{"workload", `{"name": "a"} {}`, "behind"},
		{"workload", `{"name": "a", "packages": ["x[extra==1"]}`, "bracket"},
		{"workload", `{"name": "` + strings.Repeat("a", maxLine) + `"}`, "longer than"},
		{"deps", `{"package": "a==1", "deps": ["b==1"], "count": 1}`, "the set of a==1 does not contain itself"},
		{"deps", `{"a": {"1": {"b==1": 1}}}`, "the set of a==1 does not contain itself"},
		{"deps", `{"a": {"1": {"a==1": 1}}} x`, "behind"},
		{"deps", `{"a": {"1": 3}}`, "want an object"},
		{"deps", `{"a": {"1": {"a==1": 1}`, "decode"},
		{"costs", `{"a": {"versions": {"1": {"cost": {"ms": "x"}}}}}`, "a: json"},
		{"costs", `{"a==1": 1e300}`, "a==1 costs"},
		{"costs", `[]`, "want an object"},
		{"tree", `{"packages": ["a==1"], "direct": [], "split_generation": 0, "count": 0, "children": []}`, "root has packages"},
		{"tree", `{"packages": [], "children": [{"packages": []}]}`, "has no packages"},
		{"tree", `{"packages": [], "children": [{"packages": ["a==1"], "children": [{"packages": ["a==1"]}]}]}`, "a==1 is twice on one path"},
		{"tree", `{"packages": [], "children": [null]}`, "has no packages"},
		{"tree", strings.Repeat(`{"children": [`, 20000), "decode"},
	} {
		var err error
		switch r := strings.NewReader(c.text); c.kind {
		case "workload":
			_, err = ReadWorkload(r)
		case "deps":
			_, err = ReadDependencies(r)
		case "costs":
			_, err = ReadCosts(r)
		case "tree":
			_, err = ReadTree(r)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %.60s: %v, want %q", c.kind, c.text, err, c.want)
		}
	}
}

// TestCycle: packages that need each other are imported together.
func TestCycle(t *testing.T) {
	w, err := NewWorkload([]Call{{Packages: []string{"a==1", "b==1"}}, {Packages: []string{"a==1"}}})
	if err != nil {
		t.Fatal(err)
	}
	both := []string{"a==1", "b==1"}
	deps := Dependencies{Sets: []Dependency{{Package: "a==1", Packages: both, Uses: 1}, {Package: "b==1", Packages: both, Uses: 1}}}
	costs := Costs{"a==1": {MS: 1, MiB: 1}, "b==1": {MS: 1, MiB: 1}}
	tree, err := Cover(t.Context(), w, deps, costs, CoverOptions{Nodes: 5})
	if err != nil {
		t.Fatal(err)
	}
	checkCover(t, tree, w, deps)
	if c := tree.Root.Children; len(c) != 1 || len(c[0].Packages) != 2 {
		t.Errorf("%d nodes below the root", len(c))
	}
}

// FuzzRead: no text makes a reader crash, and what is read can be planned for.
func FuzzRead(f *testing.F) {
	f.Add(`{"name": "a", "packages": ["numpy==1"]}`, `{"numpy": {"1": {"numpy==1": 3}}}`, `{"numpy==1": 3}`, `{"packages": [], "children": [{"packages": ["numpy==1"]}]}`)
	f.Add(`{"packages": ["a==1", "b==1"]}`, `{"package": "a==1", "deps": ["a==1", "b==1"]}`, `{"a": {"versions": {"1": {"cost": {"ms": 1, "mb": 1}}}}, "b==1": 2}`, `{}`)
	f.Add(`{"packages": ["a==1"], "calls": 9, "later": {"b==1": 3, "c==1": 9}}`, `{"package": "a==1", "deps": ["a==1", "b==1"]}`, `{"a==1": 2, "b==1": 2, "c==1": 1}`, `{}`)
	f.Add("", `{"numpy": {"1": {"numpy==1": 3}}}`, `{"numpy==1": 3}`, `{"packages": [], "children": [{"packages": ["numpy==1"]}]}`) // no functions
	f.Fuzz(func(t *testing.T, trace, deps, costs, tree string) {
		w, err := ReadWorkload(strings.NewReader(trace))
		if err != nil {
			return
		}
		d, errDeps := ReadDependencies(strings.NewReader(deps))
		c, errCosts := ReadCosts(strings.NewReader(costs))
		if plan, err := ReadTree(strings.NewReader(tree)); err == nil {
			if _, err := Evaluate(plan, w, LookupBest, c); err != nil {
				t.Error(err)
			}
		}
		if errDeps != nil || errCosts != nil {
			return
		}
		for _, o := range []CoverOptions{{Nodes: 3}, {MiB: 2}} {
			if plan, err := Cover(t.Context(), w, d, c, o); err == nil {
				if err := plan.Root.check(); err != nil {
					t.Error(err)
				}
			}
		}
		weights, err := w.Weights(WeighUniform, InheritAverage, c, d)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Published(t.Context(), w, d, weights, SplitOptions{Nodes: 3, Entropy: 1}); err != nil {
			t.Error(err)
		}
	})
}
