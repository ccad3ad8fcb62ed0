package app

import (
	"os"
	"path/filepath"
	"testing"

	"seuss/dispatcher/api"
	"seuss/dispatcher/plan"
)

// TestPlan: a plan is fitted, shown, evaluated and compared from files; what a method does not
// take, and what a file has wrong, is refused by name.
func TestPlan(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	train := file("train.jsonl", `{"name": "a", "packages": ["numpy==1", "pandas[excel]==1"], "calls": 3}
{"name": "b", "packages": ["numpy==1"], "imports": ["numpy"]}
{"name": "c", "packages": []}
`)
	deps := file("deps.json", `{"numpy": {"1": {"numpy==1": 4}}, "pandas": {"1": {"numpy==1,pandas==1": 3}}}`)
	costs := file("packages.json", `{"numpy": {"versions": {"1": {"cost": {"ms": 50, "mb": 4}}}}, "pandas": {"versions": {"1": {"cost": {"ms": 100, "mb": 9}}}}}`)
	fit := func(more ...string) []string {
		return append([]string{"plan", "fit", "--train", train, "--deps", deps}, more...)
	}
	want(t, dir, fit("--packages", costs), "root", "└─ numpy==1", "50 ms", "4.0 MiB", "pandas==1")
	tree := decode[plan.Node](t, want(t, dir, fit("--packages", costs, "--nodes", "2", "--json")))
	if len(tree.Children) != 1 || len(tree.Children[0].Packages) != 2 || tree.Children[0].Count != 3 || tree.Count != 2 {
		t.Errorf("%+v", tree)
	}
	small := file("small.json", want(t, dir, fit("--packages", costs, "--budget", "4MiB", "--json")))
	splits := file("splits.json", want(t, dir, fit("--method", "published", "--mode", "single", "--weights", "uniform", "--json")))
	want(t, dir, []string{"plan", "show", splits}, "└─ numpy==1", "   └─ pandas==1")
	e := decode[plan.Evaluation](t, want(t, dir, []string{"plan", "evaluate", "--tree", small, "--functions", train, "--packages", costs, "--lookup", "best", "--json"}))
	if e.Nodes != 2 || e.Calls != 5 || e.Hit != 1 || e.PackageHit != 0.57143 || e.RemainingMS != 300 || e.WithoutMS != 500 || e.MiB != 4 {
		t.Errorf("%+v", e)
	}
	d := decode[plan.Difference](t, want(t, dir, []string{"plan", "diff", small, splits, "--json"}))
	if d.Kept != 1 || len(d.Added) != 1 || len(d.Removed) != 0 {
		t.Errorf("%+v", d)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{fit(), "the method cover needs --packages FILE"},
		{fit("--deployed"), "leave it out, or --train"},
		{fit("--packages", costs, "--weights", "time"), "--weights is of the method published"},
		{fit("--method", "published", "--budget", "1GiB"), "--budget is of the method cover"},
		{fit("--method", "best"), `--method "best": want cover or published`},
		{fit("--method", "published", "--weights", "time"), "needs --packages FILE"},
		{fit("--packages", costs, "--nodes", "0"), "--nodes 0: want 1 or more"},
		{fit("--packages", costs, "--budget", "much"), "--budget"},
		{[]string{"plan", "evaluate", "--tree", small}, "--functions FILE is needed"},
	} {
		refused(t, dir, api.ExitUsage, c.args, c.want)
	}
	refused(t, dir, api.ExitFailure, []string{"plan", "show", file("bad.json", `{"packages": ["a==1"]}`)}, "bad.json", "its root has packages")
	for _, args := range [][]string{{"plan", "history"}, {"plan", "fit"}, {"plan", "apply"}} {
		refused(t, filepath.Join(dir, "empty"), api.ExitFailure, args, "")
	}
	refused(t, dir, api.ExitFailure, []string{"plan", "fit", "--train", file("none.jsonl", ""), "--deps", deps, "--packages", costs}, "no functions")
	refused(t, dir, api.ExitFailure, []string{"plan", "fit", "--train", file("unknown.jsonl", `{"packages": ["scipy==1"]}`), "--deps", deps, "--packages", costs}, "no cost is known of scipy==1")
}
