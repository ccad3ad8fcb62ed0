package planner

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"seuss/dispatcher/plan"
	"seuss/lineage"
)

// TestOwnersPlansAreBounded: nobody takes all the plans that there may be; the same one again
// is none more, and everybody's are not counted with anybody's.
func TestOwnersPlansAreBounded(t *testing.T) {
	l := newLiving(t, t.TempDir(), someNeeds)
	apply := func(owner, runtime string) error {
		_, err := l.Apply(Ask{Which: Which{Image: "i", Runtime: runtime, Owner: owner, Shared: owner == ""}, Tree: tree("a")})
		return err
	}
	for n := range MaxOwnersPlans {
		if err := apply("ann", fmt.Sprint("r", n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := apply("ann", "more"); !errors.Is(err, lineage.ErrInvalid) || !strings.Contains(err.Error(), "drop one first") {
		t.Errorf("one more: %v", err)
	}
	if err := errors.Join(apply("ann", "r0"), apply("bob", "more"), apply("", "more")); err != nil {
		t.Error(err)
	}
}

// TestOwnersPlansAtOnce: nor does he take more of them, or more nodes, by asking for all at once;
// and what is live is what the files say.
func TestOwnersPlansAtOnce(t *testing.T) {
	dir := t.TempDir()
	l := newLiving(t, dir, someNeeds)
	many := make([]string, MaxOwnersNodes)
	for i := range many {
		many[i] = fmt.Sprint("p", i)
	}
	var all sync.WaitGroup
	for n := range 4 * MaxOwnersPlans {
		all.Go(func() {
			_, err := l.Apply(Ask{Which: Which{Image: "i", Runtime: fmt.Sprint("r", n), Owner: "ann"}, Tree: tree("a")})
			if err != nil && !errors.Is(err, lineage.ErrInvalid) {
				t.Error(err)
			}
		})
		all.Go(func() {
			_, err := l.Apply(Ask{Which: Which{Image: "i", Runtime: fmt.Sprint("r", n%8), Owner: "bob"}, Tree: tree(many...)})
			if err != nil && (!errors.Is(err, lineage.ErrInvalid) || !strings.Contains(err.Error(), "fewer --nodes")) {
				t.Error(err)
			}
		})
		all.Go(func() {
			which := Which{Image: "i", Runtime: "once", Owner: "eve"}
			if n%2 == 0 {
				l.Apply(Ask{Which: which, Tree: tree("b")})
			} else {
				l.Drop(which)
			}
		})
	}
	all.Wait()
	plans, files := map[string]int{}, 0
	for key := range l.live {
		plans[key.owner]++
	}
	found, err := ReadPlans(dir)
	for _, a := range found {
		if l.live[liveKey{a.Owner, a.id()}] != nil {
			files++
		}
	}
	if plans["ann"] != MaxOwnersPlans || plans["bob"] != maxOwnersAll/MaxOwnersNodes || len(found) != len(l.live) || files != len(found) || err != nil {
		t.Errorf("%v, %d of %d files are live, %v", plans, files, len(found), err)
	}
}

// TestChoosesInLine: to choose what to do takes no longer where nodes stand below one another
// than where they stand beside.
func TestChoosesInLine(t *testing.T) {
	needs, names := map[string][]string{}, []string{}
	for n := range 64 {
		name := fmt.Sprint("p", n)
		needs[name], names = []string{name}, append(names, name)
	}
	flat, deep := tree(names...), tree(names...)
	for n, c := range deep.Children[:len(names)-1] {
		c.Children = deep.Children[n+1 : n+2 : n+2]
	}
	deep.Children = deep.Children[:1]
	takes := func(root *plan.Node) float64 {
		l := newLiving(t, t.TempDir(), needs)
		if _, err := l.Apply(Ask{Which: Which{Image: "i", Shared: true}, Tree: root}); err != nil {
			t.Fatal(err)
		}
		if err := l.run(); err != nil || len(l.h.made) != len(names) {
			t.Fatalf("%d made, %v", len(l.h.made), err)
		}
		return testing.AllocsPerRun(3, func() { l.anything() })
	}
	if beside, below := takes(flat), takes(deep); below > 2*beside {
		t.Errorf("%g allocations below one another, %g beside", below, beside)
	}
}

// TestOwnersShare: all owners' plans together are bounded; a plan for everybody is not.
func TestOwnersShare(t *testing.T) {
	l := newLiving(t, t.TempDir(), someNeeds)
	l.apply("bob", "b")
	many := make([]string, MaxOwnersNodes)
	for i := range many {
		many[i] = fmt.Sprint("p", i)
	}
	at, _ := l.h.Place("i", "")
	for n := range maxOwnedNodes/MaxOwnersNodes - 1 {
		a, err := newApplied(fmt.Sprint("o", n), at, &plan.Tree{Root: tree(many...)}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		l.put(a, false)
	}
	if _, err := l.Apply(Ask{Which: Which{Image: "i", Owner: "zoe"}, Tree: tree(many...)}); err == nil || !strings.Contains(err.Error(), "fewer --nodes") {
		t.Errorf("%v", err)
	}
	if _, err := l.Apply(Ask{Which: Which{Image: "i", Shared: true}, Tree: tree(many...)}); err != nil {
		t.Error(err)
	}
}
