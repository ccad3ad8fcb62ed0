package plan

import (
	"archive/tar"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// The data of the Forklift study; testdata/README.md says where it is from.
var forklift = sync.OnceValues(func() (map[string][]byte, error) {
	f, err := os.Open("testdata/forklift.tar.zst")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	files := map[string][]byte{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			return nil, err
		}
	}
})

var (
	trials   = []int{0, 1}
	variants = []struct {
		single bool
		weigh  Weighting
	}{{true, WeighUniform}, {true, WeighTime}, {false, WeighUniform}, {false, WeighTime}}
)

func file(t testing.TB, format string, args ...any) io.Reader {
	t.Helper()
	files, err := forklift()
	if err != nil {
		t.Fatal(err)
	}
	b, ok := files[fmt.Sprintf(format, args...)]
	if !ok {
		t.Fatalf("there is no "+format, args...)
	}
	return bytes.NewReader(b)
}

var parsed = map[string]any{} // what read has read, by name: tests run one after the other

// read reads a file of the study, which nobody changes.
func read[T any](t testing.TB, how func(io.Reader) (T, error), format string, args ...any) T {
	t.Helper()
	name := fmt.Sprintf(format, args...)
	if v, ok := parsed[name]; ok {
		return v.(T)
	}
	v, err := how(file(t, "%s", name))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	parsed[name] = v
	return v
}

// table reads a CSV file with a header.
func table(t testing.TB, name string) (rows []map[string]string) {
	t.Helper()
	all := read(t, func(r io.Reader) ([][]string, error) { return csv.NewReader(r).ReadAll() }, "%s", name)
	for _, row := range all[1:] {
		m := map[string]string{}
		for i, field := range row {
			m[all[0][i]] = field
		}
		rows = append(rows, m)
	}
	return rows
}

func number(t testing.TB, text string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func fitVariant(t testing.TB, trial, variant, nodes, depth int, costs Costs, deps string) *Tree {
	t.Helper()
	w := read(t, ReadWorkload, "trial%d/train.jsonl", trial)
	d := read(t, ReadDependencies, "%s", deps)
	v := variants[variant]
	weights, err := w.Weights(v.weigh, InheritNone, costs, d)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := Published(t.Context(), w, d, weights, SplitOptions{Nodes: nodes, Depth: depth, Single: v.single})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// same compares nodes with their places: generation, direct package, packages, children in order.
func same(t *testing.T, where string, got, want *Node, order, counts bool) {
	t.Helper()
	if got.Generation != want.Generation || !slices.Equal(got.Direct, want.Direct) || !slices.Equal(sorted(got.Packages), sorted(want.Packages)) ||
		len(got.Children) != len(want.Children) || counts && got.Count != want.Count {
		t.Fatalf("%s: %d %v %v with %d children and %d functions, want %d %v %v with %d and %d", where, got.Generation, got.Direct, got.Packages,
			len(got.Children), got.Count, want.Generation, want.Direct, want.Packages, len(want.Children), want.Count)
	}
	for i := range got.Children {
		same(t, fmt.Sprintf("%s/%d", where, i), got.Children[i], want.Children[i], order, counts)
	}
}

func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return list
}

var sizes = []int{1, 20, 40, 80, 120, 160, 240, 320, 480, 640}

// TestReferenceTrees: the 80 trees that the released builder makes of the study's data, from
// either form of dependencies.
func TestReferenceTrees(t *testing.T) {
	costs := read(t, ReadCosts, "packages.json")
	for _, trial := range trials {
		for v := range variants {
			for _, deps := range []string{fmt.Sprintf("trial%d/depsets.jsonl", trial), "deps.json"} {
				t.Run(fmt.Sprintf("%d/v%d/%s", trial, v, deps), func(t *testing.T) {
					want := read(t, ReadTree, "trial%d/ref-v%d.node-640.json", trial, v)
					whole := fitVariant(t, trial, v, 640, PublishedDepth, costs, deps)
					same(t, "root", whole.Root, want.Root, true, true)
					for _, n := range sizes {
						same(t, fmt.Sprint(n, " nodes"), fitVariant(t, trial, v, n, PublishedDepth, costs, deps).Root, want.Prefix(n).Root, true, false)
					}
				})
			}
		}
	}
}

// TestPublishedResults: the figures of the published trees, and of the reference trees with
// either lookup.
func TestPublishedResults(t *testing.T) {
	check := func(what string, got float64, row map[string]string, column string) {
		t.Helper()
		if want := number(t, row[column]); got != want {
			t.Errorf("%s: %s is %v, want %v", what, column, got, want)
		}
	}
	evaluate := func(tree *Tree, trial int, half string, lookup Lookup) Evaluation {
		t.Helper()
		e, err := Evaluate(tree, read(t, ReadWorkload, "trial%d/%s.jsonl", trial, half), lookup, nil)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	figures := 0
	for _, row := range table(t, "results.csv") {
		trial, nodes := int(number(t, row["trial"])), int(number(t, row["nodes"]))
		if !slices.Contains(trials, trial) || !slices.Contains([]int{1, 20, 40, 160, 640}, nodes) {
			continue
		}
		for v := range variants {
			tree := read(t, ReadTree, "trial%d/tree-v%d.node-%d.json", trial, v, nodes)
			for _, half := range []string{"train", "test"} {
				e := evaluate(tree, trial, half, LookupFirst)
				what := fmt.Sprintf("trial %d, v%d, %d nodes", trial, v, nodes)
				check(what, e.Hit, row, fmt.Sprintf("v%d_%s_hit", v, half))
				check(what, e.PackageHit, row, fmt.Sprintf("v%d_%s_pkg_hit", v, half))
				if figures += 2; half == "test" {
					at := 0
					tree.Each(func(n *Node, _ int) {
						if n.TestCount == nil || *n.TestCount != e.Served[at] {
							t.Errorf("%s: node %d serves %d calls", what, at, e.Served[at])
						}
						at++
					})
				}
			}
		}
	}
	if figures != 160 {
		t.Errorf("%d figures are there, want 160", figures)
	}
	for _, row := range table(t, "ref-results.csv") {
		trial, n := int(number(t, row["trial"])), int(number(t, row["nodes"]))
		tree := read(t, ReadTree, "trial%d/ref-%s.node-640.json", trial, row["version"]).Prefix(n)
		what := fmt.Sprintf("reference of trial %d, %s, %d nodes", trial, row["version"], n)
		check(what, float64(tree.Len()), row, "actual_nodes")
		for _, half := range []string{"train", "test"} {
			e := evaluate(tree, trial, half, LookupFirst)
			check(what, e.Hit, row, half+"_hit")
			check(what, e.PackageHit, row, half+"_pkg_hit")
		}
		check(what, evaluate(tree, trial, "test", LookupBest).PackageHit, row, "test_pkg_hit_best")
	}
}

// paths are the nodes of a tree, each as the way to it.
func paths(t *Tree) map[string]bool {
	out := map[string]bool{}
	var walk func(n *Node, above string)
	walk = func(n *Node, above string) {
		above += fmt.Sprint(n.Direct, sorted(n.Packages))
		out[above] = true
		for _, c := range n.Children {
			walk(c, above)
		}
	}
	walk(t.Root, "")
	return out
}

// TestPublishedTreesRebuilt: the trees that an older revision of the builder made, which had a
// depth of 28 and, for v1 and v3, costs that can only be fitted. Which of several nodes of
// equal benefit it split first is not known, so nodes are compared and not their order, and
// sizes that cut such a tie are left out.
func TestPublishedTreesRebuilt(t *testing.T) {
	fitted := read(t, ReadCosts, "costs-fitted.json")
	for _, trial := range trials {
		for v := range variants {
			whole := read(t, ReadTree, "trial%d/tree-v%d.node-640.json", trial, v)
			for _, n := range [][]int{{20, 40, 80, 160}, {20, 40, 160}, {20, 40, 80}, {20, 40, 160}}[v] {
				got := paths(fitVariant(t, trial, v, n, 28, fitted, fmt.Sprintf("trial%d/depsets.jsonl", trial)))
				for p := range paths(whole.Prefix(n)) {
					if !got[p] {
						t.Errorf("trial %d, v%d, %d nodes: there is no %s", trial, v, n, p)
					}
				}
			}
		}
	}
}
