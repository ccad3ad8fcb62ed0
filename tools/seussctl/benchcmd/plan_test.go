package benchcmd

import (
	"strings"
	"testing"

	"seuss/dispatcher/plan"
	"seuss/tools/seussctl/bench"
)

// TestDynamicPaths: a function starts from the node that has all, or makes one below the
// greatest that has a part.
func TestDynamicPaths(t *testing.T) {
	d := dynamicPaths{made: map[string]bool{}}
	for _, c := range []struct{ modules, want string }{
		{"a b", "a b"}, {"b a", "a b"}, {"c a", "a c"}, {"c b", "c b"}, {"b c", "c b"}, {"b", "b"}, {"b d", "b d"},
	} {
		if got := strings.Join(d.of(strings.Fields(c.modules)), " "); got != c.want {
			t.Errorf("%s starts from %q, want %q", c.modules, got, c.want)
		}
	}
	if got := d.of(nothing); got != nil {
		t.Errorf("nothing starts from %q", got)
	}
}

func TestProcessNodes(t *testing.T) {
	loaded := func(pins string) (f plan.Loaded) {
		for pin := range strings.FieldsSeq(pins) {
			f.Packages = append(f.Packages, plan.LoadedPackage{Pin: pin, Cost: plan.Cost{MS: float64(len(pin))}})
		}
		return f
	}
	nodes := processNodes{{}, {"a": true}, {"a": true, "ccc": true}, {"ccc": true, "bb": true}}
	for pins, want := range map[string]int{"": 0, "a": 1, "a bb": 1, "a ccc": 2, "a bb ccc": 3, "dd": 0} {
		if got := nodes.best(loaded(pins)); got != want {
			t.Errorf("%q starts from process %d, want %d", pins, got, want)
		}
	}
}

// TestPlanTrace: what functions need is what their modules bring, and both methods fit to it.
func TestPlanTrace(t *testing.T) {
	p := &planPackages{brings: map[string]plan.Loaded{}}
	for _, m := range strings.Fields("a b c d") {
		p.modules = append(p.modules, m)
		p.brings[m] = plan.Loaded{Packages: []plan.LoadedPackage{
			{Pin: "base==1", Cost: plan.Cost{MS: 30, MiB: 1}}, {Pin: m + "==1", Cost: plan.Cost{MS: 10, MiB: 1}, Needs: []string{"base==1"}},
		}}
	}
	one, err := p.trace(30, 0)
	if err != nil {
		t.Fatal(err)
	}
	other, err := p.trace(30, 1)
	if err != nil {
		t.Fatal(err)
	}
	same := func(a, b [][]string) bool {
		for i := range a {
			if strings.Join(a[i], " ") != strings.Join(b[i], " ") {
				return false
			}
		}
		return true
	}
	if same(one.functions, other.functions) || len(one.train.Functions) != 30 || len(one.test.Functions) != 30 {
		t.Error("traces are the same")
	}
	for _, m := range planMethods {
		tree, err := m.fit(t.Context(), one, 6)
		if err != nil || tree.Len() < 3 || tree.Len() > 6 {
			t.Errorf("%s: %v: %+v", m.name, err, tree)
		}
	}
	var b strings.Builder
	r := &bench.PlanReport{Packages: p.modules, LeftOut: []string{"x: it hangs"}}
	if err := printPlans(&b, r); err != nil || !strings.Contains(b.String(), "left out: x: it hangs") {
		t.Errorf("%v: %s", err, &b)
	}
}
