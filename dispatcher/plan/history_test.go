package plan

import (
	"bytes"
	"context"
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
