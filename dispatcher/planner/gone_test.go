package planner

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"seuss/dispatcher/functions"
	"seuss/dispatcher/plan"
	"seuss/lineage/sealed/sealedtest"
)

// TestGone: what is known of code that is gone is bounded, the newest of it is kept, and what a
// crash has torn costs its own line.
func TestGone(t *testing.T) {
	dir := sealedtest.MemoryDir(t)
	if list, damaged, err := ReadGone(dir); len(list) != 0 || damaged != 0 || err != nil {
		t.Fatalf("nothing: %v, %d, %v", list, damaged, err)
	}
	g := NewGone(dir)
	g.most = 4 << 10
	one := func(n int) plan.Loaded {
		return plan.Loaded{Name: fmt.Sprint("f", n), Calls: uint64(n), Packages: []plan.LoadedPackage{{Pin: "numpy==1", Cost: plan.Cost{MS: 50, MiB: 4}, Needs: []string{"a==1"}}}}
	}
	now, before := goneFiles(filepath.Join(dir, GoneDir))
	last := 0
	for n := range 10_000 { // a hundred times what is kept
		if err := g.Add([]plan.Loaded{one(n)}); err != nil {
			t.Fatal(err)
		}
		last = n
	}
	var together []plan.Loaded
	for range 10_000 {
		last++
		together = append(together, one(last))
	}
	if err := g.Add(together); err != nil {
		t.Fatal(err)
	}
	var sum int64
	for _, path := range []string{now, before} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Fatal(info, err)
		}
		sum += info.Size()
	}
	list, damaged, err := ReadGone(dir)
	if err != nil || damaged != 0 || sum > 2*g.most || len(list) < 20 || len(list) > 10_000/100 {
		t.Errorf("%d bytes, %d lines, %d damaged, %v", sum, len(list), damaged, err)
	}
	for i, l := range list {
		if !reflect.DeepEqual(l, one(last-len(list)+1+i)) {
			t.Fatalf("line %d of %d: %+v", i, len(list), l)
		}
	}
	f, err := os.OpenFile(now, os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		_, err = f.WriteString("\n{\"name\": \"torn\", \"calls\": 3, \"pack")
	}
	if err != nil || f.Close() != nil {
		t.Fatal(err)
	}
	many := one(7)
	many.Packages = append(many.Packages, make([]plan.LoadedPackage, maxModules)...)
	long := one(8)
	long.Packages[0].Needs = []string{strings.Repeat("x", maxGoneLine)}
	if err := g.Add([]plan.Loaded{many, long, one(0), one(9)}); err != nil {
		t.Fatal(err)
	}
	again, damaged, err := ReadGone(dir)
	if err != nil || damaged != 1 || len(again) == 0 || !reflect.DeepEqual(again[len(again)-1], one(9)) || len(again) > len(list)+1 {
		t.Errorf("%d lines, %d damaged, %v", len(again), damaged, err)
	}
}

// TestGoneIsFair: whoever deploys, calls and replaces code in a loop pushes out his own lines,
// and none of owners who have less; of very many who have as much the newest stay.
func TestGoneIsFair(t *testing.T) {
	dir := sealedtest.MemoryDir(t)
	g := NewGone(dir)
	g.most = 32 << 10
	add := func(names ...string) {
		t.Helper()
		var list []plan.Loaded
		for _, name := range names {
			list = append(list, plan.Loaded{Name: name, Calls: 1, Packages: []plan.LoadedPackage{{Pin: "numpy==1", Needs: []string{strings.Repeat("x", 400)}}}})
		}
		if err := g.Add(list); err != nil {
			t.Fatal(err)
		}
	}
	count := func() map[string]int {
		t.Helper()
		list, damaged, err := ReadGone(dir)
		if err != nil || damaged != 0 {
			t.Fatalf("%d damaged, %v", damaged, err)
		}
		of := map[string]int{}
		for _, l := range list {
			of[functions.OwnerOf(l.Name)]++
		}
		return of
	}
	for n := range 5 {
		add(fmt.Sprint("alice/f", n))
		add(fmt.Sprint("bob/f", n))
		add(fmt.Sprint("f", n))
	}
	for range 100 { // a hundred times what is kept
		add(slices.Repeat([]string{"mallory/f", "eve/f"}, int(g.most/500))...)
	}
	of := count()
	if of["alice"] != 5 || of["bob"] != 5 || of[functions.DefaultOwner] != 5 || of["mallory"] < 10 || of["eve"] < 10 {
		t.Errorf("kept: %v", of)
	}
	var many []string
	for n := range 10_000 {
		many = append(many, fmt.Sprintf("owner%d/f", n))
	}
	add(many...)
	of = count()
	if len(of) < 50 || of["owner9999"] != 1 || of["mallory"] > 1 {
		t.Errorf("of many owners: %v", of)
	}
}

// FuzzReadGone: no line makes the reader crash, and what is read is a history.
func FuzzReadGone(f *testing.F) {
	f.Add([]byte(`{"name":"f","calls":1,"packages":[{"pin":"numpy==1","ms":50,"mib":4,"needs":["numpy==1"]}]}`))
	f.Add([]byte(`{"name":"f","calls":1,"packages":[{"pin":"numpy==1","ms":1e300}]}`))
	f.Add([]byte(`{"packages":[{"pin":"a, b==1"}]}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		l, err := decodeGone(line)
		if err != nil {
			return
		}
		if _, err := plan.NewHistory([]plan.Loaded{l, l}); err != nil {
			t.Error(err)
		}
	})
}
