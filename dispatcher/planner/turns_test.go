package planner

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestOwnersTakeTurns: an owner's many plans and nodes keep nobody else's waiting, and a plan
// that is applied anew does not go before others.
func TestOwnersTakeTurns(t *testing.T) {
	needs := map[string][]string{}
	var many []string
	for n := range 20 {
		name := fmt.Sprint("p", n)
		needs[name] = []string{name}
		many = append(many, name)
	}
	l := newLiving(t, t.TempDir(), needs)
	apply := func(owner, runtime string, nodes ...string) {
		t.Helper()
		if _, err := l.Apply(Ask{Which: Which{Image: "i", Runtime: runtime, Owner: owner, Shared: owner == ""}, Tree: tree(nodes...)}); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 8 {
		apply("ann", fmt.Sprint("r", n), many...)
	}
	apply("bob", "", "p0", "p1")
	apply("", "", "p2", "p3")
	for range 18 { // bob's and everybody's two nodes: a list, two packages and two nodes each
		w, ok, _ := l.next(time.Now())
		if !ok {
			t.Fatal("there is nothing to do")
		}
		l.do(t.Context(), w)
		if w.l.Owner == "ann" {
			apply("ann", w.l.Key, many...) // to be first again
		}
	}
	for _, st := range l.Status("", true) {
		if st.Owner != "ann" && st.Left > 0 {
			t.Errorf("owner %q: %d pieces are left", st.Owner, st.Left)
		}
	}
}

// TestMovesTakeTurns: functions of an owner with many wait for his own; of too many those of
// who has most are left out.
func TestMovesTakeTurns(t *testing.T) {
	var m moves
	for n := range maxQueue + 10 {
		m.add("ann", fmt.Sprint("f", n))
	}
	for _, owner := range []string{"bob", "eve"} {
		for n := range 3 {
			if !m.add(owner, fmt.Sprint(owner, n)) || m.add(owner, fmt.Sprint(owner, n)) {
				t.Errorf("%s%d is not noted once", owner, n)
			}
		}
	}
	if m.count != maxQueue || len(m.of["ann"]) != maxQueue-6 {
		t.Errorf("%d functions, %d of ann's", m.count, len(m.of["ann"]))
	}
	var order strings.Builder
	for range 11 {
		name, _ := m.next()
		order.WriteByte(name[0])
	}
	if got := order.String(); got != "fbefbefbeff" {
		t.Errorf("turns: %s", got)
	}
	for _, ok := m.next(); ok; _, ok = m.next() {
	}
	if m.count != 0 || len(m.of) != 0 || len(m.turns) != 0 {
		t.Errorf("left: %d, %v", m.count, m.turns)
	}
}

// TestFitsAreBounded: a fit takes functions of all owners, of each those that are called most.
func TestFitsAreBounded(t *testing.T) {
	var list []Deployed
	for n := range 100 {
		list = append(list, Deployed{Owner: "ann", Name: fmt.Sprint("ann", n), Calls: uint64(n)})
	}
	for n := range 3 {
		list = append(list, Deployed{Owner: "bob", Name: fmt.Sprint("bob", n)})
	}
	var names []string
	for _, f := range someOf(list, 8) {
		names = append(names, f.Name)
	}
	if want := strings.Fields("ann99 bob0 ann98 bob1 ann97 bob2 ann96 ann95"); !slices.Equal(names, want) {
		t.Errorf("%v, want %v", names, want)
	}
	if len(someOf(list, 1000)) != len(list) {
		t.Error("some are left out")
	}
}

// TestFitMany: of more functions than a fit takes one is made all the same.
func TestFitMany(t *testing.T) {
	l := newLiving(t, t.TempDir(), someNeeds)
	at, _ := l.h.Place("i", "")
	l.h.imports = map[string][]string{"f": {"a", "b"}}
	for n := range maxFitted + 1000 {
		l.h.deploys = append(l.h.deploys, Deployed{Place: at, Name: "f", Owner: fmt.Sprint(n % 7), Code: fmt.Sprint(n), Calls: 10})
	}
	places, err := l.populations()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := l.fit(ctx, places[0]); err != nil || !l.Active() {
		t.Error(err)
	}
}
