package plan

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// remaining is what a tree leaves to import for the other half of a trial.
func remaining(t testing.TB, tree *Tree, trial int, costs Costs) Evaluation {
	t.Helper()
	e, err := Evaluate(tree, read(t, ReadWorkload, "trial%d/test.jsonl", trial), LookupBest, costs)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// coverFit fits to a trial's training half, each plan once.
func coverFit(t testing.TB, trial int, costs Costs, o CoverOptions) *Tree {
	t.Helper()
	key := coverKey{trial, o}
	if fitted[key] == nil {
		tree, err := Cover(t.Context(), read(t, ReadWorkload, "trial%d/train.jsonl", trial), read(t, ReadDependencies, "trial%d/depsets.jsonl", trial), costs, o)
		if err != nil {
			t.Fatal(err)
		}
		fitted[key] = tree
	}
	return fitted[key]
}

type coverKey struct {
	trial int
	CoverOptions
}

var fitted = map[coverKey]*Tree{}

// TestCoverBeatsPublished: at equal nodes and at equal bytes, what is left to import for
// functions that were not seen is at most 0.85 of the best published mode's.
func TestCoverBeatsPublished(t *testing.T) {
	costs := read(t, ReadCosts, "packages.json")
	sizes := []int{20, 40, 80, 160}
	if testing.Short() {
		sizes = []int{20, 160}
	}
	for _, n := range sizes {
		var left, mib [4][2]float64 // by variant and trial
		best, bestLeft := 0, 0.0
		for v := range left {
			sum := 0.0
			for _, trial := range trials {
				e := remaining(t, read(t, ReadTree, "trial%d/tree-v%d.node-640.json", trial, v).Prefix(n), trial, costs)
				left[v][trial], mib[v][trial] = e.RemainingMS, e.MiB
				sum += e.RemainingMS
			}
			if v == 0 || sum < bestLeft {
				best, bestLeft = v, sum
			}
		}
		nodes, bytes := 0.0, 0.0
		for _, trial := range trials {
			w := read(t, ReadWorkload, "trial%d/train.jsonl", trial)
			deps := read(t, ReadDependencies, "trial%d/depsets.jsonl", trial)
			for _, o := range []CoverOptions{{Nodes: n}, {MiB: mib[best][trial]}} {
				tree := coverFit(t, trial, costs, o)
				checkCover(t, tree, w, deps)
				e := remaining(t, tree, trial, costs)
				if o.MiB > 0 {
					bytes += e.RemainingMS
				} else {
					nodes += e.RemainingMS
				}
				if o.Nodes > 0 && e.Nodes > o.Nodes || o.MiB > 0 && e.MiB > o.MiB*(1+1e-9) {
					t.Errorf("%+v: %d nodes, %g MiB", o, e.Nodes, e.MiB)
				}
			}
		}
		t.Logf("%d nodes: %.3f of what v%d leaves; at its bytes %.3f", n, nodes/bestLeft, best, bytes/bestLeft)
		if nodes > 0.85*bestLeft || bytes > 0.85*bestLeft {
			t.Errorf("%d nodes: %.0f ms are left at equal nodes and %.0f at equal bytes, want at most 0.85 of %.0f", n, nodes, bytes, bestLeft)
		}
	}
}

// checkCover: every node can be imported, holds nothing twice, and all calls are counted once.
func checkCover(t *testing.T, tree *Tree, w *Workload, deps Dependencies) {
	t.Helper()
	if err := tree.Root.check(); err != nil {
		t.Error(err)
	}
	m := importableFrom(newRows(w, true), deps)
	for _, held := range tree.held() {
		columns, ok := w.indices(held)
		if !ok || len(m.part(columns)) != len(columns) {
			t.Errorf("%v cannot be imported", held)
		}
	}
	calls := 0
	tree.Each(func(n *Node, _ int) { calls += n.Count })
	if calls != len(w.Functions) {
		t.Errorf("the nodes serve %d calls of %d", calls, len(w.Functions))
	}
}

// TestCoverSmall: what can be seen by eye. Two functions of three share numpy; the third needs
// something else that takes longer than what is left.
func TestCoverSmall(t *testing.T) {
	w, err := NewWorkload([]Call{
		{Name: "a", Packages: []string{"numpy==1", "pandas==1"}, Calls: 10},
		{Name: "b", Packages: []string{"numpy==1"}, Calls: 10},
		{Name: "c", Packages: []string{"torch[cpu]==2"}, Calls: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	deps := Dependencies{Sets: []Dependency{{Package: "pandas==1", Packages: []string{"numpy==1", "pandas==1"}, Uses: 1}}}
	costs := Costs{"numpy==1": {MS: 50, MiB: 4}, "pandas==1": {MS: 100, MiB: 9}, "torch==2": {MS: 700, MiB: 100}}
	for o, want := range map[CoverOptions][]string{
		{Nodes: 2}:           {"numpy==1 pandas==1"},
		{Nodes: 3}:           {"numpy==1 pandas==1", "torch==2"},
		{Nodes: 4}:           {"numpy==1", "numpy==1 pandas==1", "torch==2"},
		{Nodes: 9}:           {"numpy==1", "numpy==1 pandas==1", "torch==2"},
		{MiB: 4}:             {"numpy==1"},
		{MiB: 13}:            {"numpy==1", "numpy==1 pandas==1"},
		{MiB: 112}:           {"numpy==1", "numpy==1 pandas==1"},
		{MiB: 113}:           {"numpy==1", "numpy==1 pandas==1", "torch==2"},
		{MiB: 113, Nodes: 2}: {"numpy==1 pandas==1"},
	} {
		tree, err := Cover(t.Context(), w, deps, costs, o)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, held := range tree.held() {
			got = append(got, strings.Join(held, " "))
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%+v: %q, want %q", o, got, want)
		}
	}
	if _, err := Cover(t.Context(), w, deps, Costs{"numpy==1": {}}, CoverOptions{Nodes: 2}); err == nil || !strings.Contains(err.Error(), "pandas==1, torch==2") {
		t.Errorf("costs that are not known: %v", err)
	}
}

// TestCoverManyFunctions: 50,000 functions, each with packages of its own choice, and 10^6;
// without SEUSS_TEST_PLAN=full (make test-plan) a tenth of the first.
func TestCoverManyFunctions(t *testing.T) {
	sizes := []int{5_000}
	if os.Getenv("SEUSS_TEST_PLAN") == "full" {
		sizes = []int{50_000, 1_000_000}
	}
	for _, n := range sizes {
		t.Run(fmt.Sprint(n), func(t *testing.T) { coverMany(t, n) })
	}
}

// manyBytes bounds what a fit to 50,000 functions may have reserved beyond the workload; to
// more of them it grows with their number.
const manyBytes = 1 << 30

func coverMany(t *testing.T, functions int) {
	costs := read(t, ReadCosts, "packages.json")
	deps := read(t, ReadDependencies, "trial0/depsets.jsonl")
	r := rand.New(rand.NewPCG(1, 2))
	calls := make([]Call, functions)
	for i := range calls {
		for range 1 + r.IntN(6) {
			calls[i].Packages = append(calls[i].Packages, deps.Sets[r.IntN(len(deps.Sets))].Packages...)
		}
	}
	w, err := NewWorkload(calls)
	if err != nil {
		t.Fatal(err)
	}
	left := func(tree *Tree, err error) float64 {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		e, err := Evaluate(tree, w, LookupBest, costs)
		if err != nil {
			t.Fatal(err)
		}
		return e.RemainingMS / e.WithoutMS
	}
	var before, peak runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start, used := time.Now(), processorTime(t)
	ours := left(Cover(Pausing(t.Context(), func() {
		if now := time.Now(); now.Sub(start) > time.Second/10 {
			start = now
			var m runtime.MemStats
			if runtime.ReadMemStats(&m); m.HeapSys > peak.HeapSys {
				peak = m
			}
		}
	}), w, deps, costs, CoverOptions{Nodes: 640}))
	took := processorTime(t) - used
	weights, err := w.Weights(WeighTime, InheritNone, costs, deps)
	if err != nil {
		t.Fatal(err)
	}
	published := left(Published(t.Context(), w, deps, weights, SplitOptions{Nodes: 640}))
	took2 := processorTime(t) - used - took
	grew := int64(peak.HeapSys) - int64(before.HeapSys)
	t.Logf("640 nodes in %v of processor time, %d MiB more: %.3f of the imports are left, %.3f with the published splitter in %v", took, grew>>20, ours, published, took2)
	if ours >= published {
		t.Errorf("%.3f of the imports are left, %.3f with the published splitter", ours, published)
	}
	if most := int64(manyBytes) * int64(max(functions/50_000, 1)); grew > most {
		t.Errorf("it takes %d bytes, want at most %d", grew, most)
	}
}

// processorTime is what this process has used.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
