package plan

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
)

// TestHistory: what functions were seen to import is a workload with costs and dependencies,
// the same after it was written and read, and a plan is fitted to it.
func TestHistory(t *testing.T) {
	numpy := LoadedPackage{Pin: "numpy==1", Cost: Cost{MS: 50, MiB: 4}}
	slow := LoadedPackage{Pin: "numpy==1", Cost: Cost{MS: 70, MiB: 4}}
	pandas := LoadedPackage{Pin: "pandas==2", Cost: Cost{MS: 100, MiB: 9}, Needs: []string{"numpy==1", "pytz==3", "absent==1"}}
	pytz := LoadedPackage{Pin: "pytz==3", Cost: Cost{MS: 1, MiB: -1}, Needs: []string{"pandas==2"}} // a circle
	h, err := NewHistory([]Loaded{
		{Name: "a", Calls: 3, Packages: []LoadedPackage{numpy, pytz, pandas}}, {Name: "b", Packages: []LoadedPackage{slow}}, {Name: "c"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var trace, costs, deps bytes.Buffer
	for _, err := range []error{h.WriteTrace(&trace), h.WriteCosts(&costs), h.WriteDependencies(&deps)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if lines := strings.Split(trace.String(), "\n"); lines[0] != `{"name":"a","packages":["numpy==1","pytz==3","pandas==2"],"calls":3}` || lines[2] != `{"name":"c","packages":[]}` {
		t.Errorf("%s", trace.String())
	}
	readCosts, err := ReadCosts(&costs)
	if want := (Costs{"numpy==1": {60, 4}, "pandas==2": {100, 9}, "pytz==3": {1, 0}}); err != nil || !reflect.DeepEqual(readCosts, want) || !reflect.DeepEqual(h.Costs, want) {
		t.Errorf("%v, %v, %v", readCosts, h.Costs, err)
	}
	readDeps, err := ReadDependencies(&deps)
	if err != nil || !reflect.DeepEqual(readDeps, h.Dependencies) || len(readDeps.Sets) != 3 || len(readDeps.Sets[1].Packages) != 3 || readDeps.Sets[0].Uses != 2 {
		t.Errorf("%+v, want %+v, %v", readDeps, h.Dependencies, err)
	}
	w, err := ReadWorkload(&trace)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := Cover(context.Background(), w, readDeps, readCosts, CoverOptions{Nodes: 3})
	if err != nil || len(tree.Root.Children) == 0 || tree.Root.Children[0].Packages[0] != "numpy==1" {
		t.Errorf("%+v, %v", tree, err)
	}
	if _, err := NewHistory([]Loaded{{Name: "f", Packages: []LoadedPackage{{Pin: "a, b==1"}}}}); err == nil {
		t.Error("a package with a comma is taken")
	}
}

// TestLater: calls in which a handler imports more are a function of their own, and a trace
// tells of them.
func TestLater(t *testing.T) {
	h, err := NewHistory([]Loaded{
		{Name: "f", Calls: 10, Packages: []LoadedPackage{
			{Pin: "a==1", Cost: Cost{MS: 1}}, {Pin: "b==1", Cost: Cost{MS: 20}, Needs: []string{"a==1"}, Later: 1. / 3},
			{Pin: "c==1", Cost: Cost{MS: 30}, Later: 1}, {Pin: "a==1", Cost: Cost{MS: 9}, Later: 1}}},
		{Name: "never", Packages: []LoadedPackage{{Pin: "b==1", Cost: Cost{MS: 20}, Later: 0.01}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var trace bytes.Buffer
	if err := h.WriteTrace(&trace); err != nil {
		t.Fatal(err)
	}
	if got := trace.String(); got != `{"name":"f","packages":["a==1"],"calls":10,"later":{"b==1":3,"c==1":10}}`+"\n"+`{"name":"never","packages":[],"later":{"b==1":1}}`+"\n" {
		t.Errorf("%s", got)
	}
	w, err := ReadWorkload(&trace)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range w.Functions {
		got = append(got, fmt.Sprint(f.Name, " ", f.Calls, " ", w.names(f.Packages)))
	}
	if want := "f 3 [a==1 b==1 c==1], f 7 [a==1 c==1], never 1 [b==1]"; strings.Join(got, ", ") != want {
		t.Errorf("%s, want %s", strings.Join(got, ", "), want)
	}
	// b, which three calls need, saves less than c, which ten do.
	tree, err := Cover(t.Context(), w, h.Dependencies, h.Costs, CoverOptions{Nodes: 2})
	if err != nil || strings.Join(tree.Root.Children[0].Packages, " ") != "c==1" {
		t.Errorf("%+v, %v", tree.Root.Children[0], err)
	}
	many := make(map[string]int)
	for n := range maxParts + 1 {
		many[fmt.Sprintf("p%d==1", n)] = n + 1
	}
	for want, c := range map[string]Call{
		"imported in 0 of 1 calls":    {Later: map[string]int{"a==1": 0}},
		"imported in 3 of 2 calls":    {Calls: 2, Later: map[string]int{"a==1": 3}},
		"17 different numbers":        {Calls: 99, Later: many},
		"want NAME==VERSION":          {Later: map[string]int{"a": 1}},
		"imported in NaN of its runs": {Name: "history"},
	} {
		if c.Name != "" {
			_, err = NewHistory([]Loaded{{Packages: []LoadedPackage{{Pin: "a==1", Later: math.NaN()}}}})
		} else {
			_, err = NewWorkload([]Call{c})
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
