package planner

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"seuss/dispatcher/plan"
)

// deploy has a host with functions, of which each has imported some packages.
func (h *host) deploy(calls uint64, imports ...string) {
	h.Lock()
	defer h.Unlock()
	if h.imports == nil {
		h.imports = map[string][]string{}
	}
	at, _ := h.Place("i", "")
	for _, text := range imports {
		name := fmt.Sprint("f", len(h.deploys))
		h.imports[name] = strings.Fields(text)
		h.deploys = append(h.deploys, Deployed{Place: at, Name: name, Code: name, Calls: calls})
	}
}

// TestFit: a plan is fitted to what is known and applied where that pays, what a probe has
// found goes before what functions tell, and what no node can have is left out.
func TestFit(t *testing.T) {
	l := newLiving(t, t.TempDir(), someNeeds)
	fit := func() error {
		places, err := l.populations()
		if err != nil || len(places) != 1 {
			t.Fatalf("%d places, %v", len(places), err)
		}
		return l.fit(l.Context(), places[0])
	}
	l.h.deploy(1, "")
	if err := fit(); !errors.Is(err, errNotWorth) {
		t.Error(err)
	}
	l.h.deploy(1, "a b", "b", "e own")
	if err := fit(); !errors.Is(err, errNotWorth) || l.Active() {
		t.Errorf("for one call each: %v", err)
	}
	l.h.deploys[1].Calls, l.h.deploys[2].Calls, l.h.deploys[3].Calls = 1000, 1000, 1000
	l.h.fail = func(what string) error {
		if what == "probe e" {
			return errors.New("it hangs")
		}
		return nil
	}
	if err := fit(); err != nil || !l.Active() {
		t.Fatal(err)
	}
	if err := l.run(); err != nil {
		t.Fatal(err)
	}
	st := l.Status("", true)[0]
	if got := l.start("", "a", ""); !st.Fitted || len(st.Nodes) != 3 || got != "b / a" && got != "b a" {
		t.Errorf("a starts from %q by %+v", got, st)
	}
	// Those that have been looked at cost what was found, and those that cannot be imported
	// count no more: there is nothing that there is not.
	if err := fit(); !errors.Is(err, errNotWorth) {
		t.Errorf("the same again: %v", err)
	}
	// What saves a little more than it takes is not worth to change plans for.
	l.h.deploy(3, "c")
	if err := fit(); !errors.Is(err, errNotWorth) {
		t.Errorf("a little more: %v", err)
	}
	l.h.deploy(5000, "c")
	if err := fit(); err != nil {
		t.Errorf("much more: %v", err)
	}
}

// TestFitSpelling: functions that spell a package's name in many ways make neither more
// packages nor more plans of it, and none costs more than may be spent on it.
func TestFitSpelling(t *testing.T) {
	l := newLiving(t, t.TempDir(), map[string][]string{"a-b-c": {"a-b-c"}, "d": {"d", "a-b-c"}})
	l.h.deploy(1000, "a-b-c", "A-B-C a_b_c", "a.b-c A_b.C", "D A-b-c")
	places, err := l.populations()
	if err != nil {
		t.Fatal(err)
	}
	k, err := l.listed(t.Context(), places[0].Place)
	if err != nil {
		t.Fatal(err)
	}
	l.h.needs["D"] = []string{"D", "A-b-c"} // as functions tell it
	h, err := l.historyOf(places[0], k)
	if err != nil || len(h.Costs) != 2 || len(h.Dependencies.Sets) != 2 {
		t.Errorf("%d packages, %d sets, %v", len(h.Costs), len(h.Dependencies.Sets), err)
	}
	for _, c := range h.Calls {
		if len(c.Packages) > 1 && c.Name != "f3" {
			t.Errorf("%s has %v", c.Name, c.Packages)
		}
	}
	l.h.ms = 1e9 // of what no probe has found
	if h, err = l.historyOf(places[0], k); err != nil || h.Costs["d==1"].MS != float64(ProbeTimeout.Milliseconds()) {
		t.Errorf("%v, %v", h.Costs, err)
	}
}

// TestPays: a plan that saves little of all that is left to import is none to change for.
func TestPays(t *testing.T) {
	costs := plan.Costs{"a==1": {MS: 10000}, "b==1": {MS: 100}}
	for other, want := range map[int]bool{0: true, 1: false} {
		w, err := plan.NewWorkload([]plan.Call{{Packages: []string{"b==1"}, Calls: 4}, {Packages: []string{"a==1", "b==1"}[:other], Calls: 1}})
		if err != nil {
			t.Fatal(err)
		}
		if err := pays((&Applied{}).tree(), &plan.Tree{Root: tree("b")}, w, costs); err == nil != want {
			t.Errorf("with %d others: %v", other, err)
		}
	}
}

// TestContinuous: a plan is fitted when other functions are called than before, never while
// who serves is busy, and only once what there is has been made.
func TestContinuous(t *testing.T) {
	l := newLiving(t, t.TempDir(), someNeeds)
	synctest.Test(t, func(t *testing.T) {
		p := New(l.nodes, l.h, l.log) // its channels are those of the test's time
		ctx, cancel := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer cancel()
		go p.Refits(ctx, Continuous)
		nodes := func() (n int) {
			time.Sleep(10 * lookEvery)
			synctest.Wait()
			for _, st := range p.Status("", true) {
				n += len(st.Nodes)
			}
			return n
		}
		busy := func(is bool) {
			l.h.Lock()
			defer l.h.Unlock()
			l.h.busy = is
		}
		l.h.deploy(1000, "a b", "b", "b", "b")
		if n := nodes(); n != 0 {
			t.Errorf("a plan of %d nodes for 4 functions", n)
		}
		busy(true)
		l.h.deploy(1000, "b")
		if n := nodes(); n != 0 {
			t.Errorf("a plan of %d nodes by a busy daemon", n)
		}
		fails := func(why error) {
			l.h.Lock()
			defer l.h.Unlock()
			l.h.fail = func(string) error { return why }
		}
		fails(errors.New("there are no machines"))
		busy(false)
		if n := nodes(); n != 0 {
			t.Errorf("a plan of %d nodes, and the image cannot be looked at", n)
		}
		fails(nil)
		if n := nodes(); n != 2 {
			t.Errorf("a plan of %d nodes, want 2", n)
		}
		l.h.deploy(5000, "c", "c")
		if n := nodes(); n != 2 {
			t.Errorf("a plan of %d nodes while there are some to be made", n)
		}
		go p.Run(ctx, Continuous)
		if n := nodes(); n != 3 {
			t.Errorf("a plan of %d nodes, want 3", n)
		}
	})
}

// TestNightly: a plan is fitted at night, in one in which the daemon is not busy.
func TestNightly(t *testing.T) {
	l := newLiving(t, t.TempDir(), someNeeds)
	l.h.deploy(1000, "a b", "b")
	l.h.busy = true
	synctest.Test(t, func(t *testing.T) {
		p := New(l.nodes, l.h, l.log)
		ctx, cancel := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer cancel()
		go p.Refits(ctx, Nightly)
		time.Sleep(23*time.Hour + nightEnds)
		if p.Active() {
			t.Error("a plan was fitted by a busy daemon")
		}
		l.h.Lock()
		l.h.busy = false
		l.h.Unlock()
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if !p.Active() {
			t.Error("no plan was fitted")
		}
	})
}

// TestYields: beside a daemon that is always busy work goes on, a piece at a time with
// pauses; without, it goes on as soon as it has rested.
func TestYields(t *testing.T) {
	for _, busy := range []bool{false, true} {
		l := newLiving(t, t.TempDir(), someNeeds)
		l.h.busy = busy
		synctest.Test(t, func(t *testing.T) {
			p := New(l.nodes, l.h, l.log)
			ctx, cancel := context.WithCancel(t.Context())
			defer synctest.Wait()
			defer cancel()
			go p.Run(ctx, Beside)
			began := time.Now()
			if _, err := p.Apply(Ask{Which: Which{Image: "i", Shared: true}, Tree: tree("b", "c", "a")}); err != nil {
				t.Fatal(err)
			}
			if err := p.Wait(ctx); err != nil {
				t.Fatal(err)
			}
			const pieces = 1 + 3 + 3 // the list, the packages, the nodes
			took := time.Since(began)
			if busy && (took < (pieces-1)*maxYield || took > pieces*(maxYield+maxRest)) || !busy && took > maxYield {
				t.Errorf("busy: %t; it took %v", busy, took)
			}
		})
	}
}

func TestWhenToFit(t *testing.T) {
	calls := func(from, to int, each uint64) map[string]uint64 {
		m := map[string]uint64{}
		for n := from; n < to; n++ {
			m[string(rune('a'+n))] = each
		}
		return m
	}
	for _, c := range []struct {
		before, now map[string]uint64
		want        bool
	}{
		{nil, calls(0, 4, 1), false}, {nil, calls(0, 5, 1), true}, {calls(0, 100, 1), calls(0, 100, 7), false},
		{calls(0, 100, 1), calls(4, 104, 1), false}, {calls(0, 100, 1), calls(11, 111, 1), true}, {calls(0, 9, 1), nil, false},
		{map[string]uint64{"a": 10, "b": 10}, map[string]uint64{"a": 11, "b": 90}, true},
	} {
		if got := changed(c.before, c.now); got != c.want {
			t.Errorf("%v, then %v: %t", c.before, c.now, got)
		}
	}
	few := fitted{calls: calls(0, 9, 1)}
	if few.due(calls(0, 9, 1)) || !few.due(calls(0, 9, 2)) {
		t.Error("what did not pay is looked at again when twice as much is called, and not before")
	}
	if few.pays = true; few.due(calls(0, 9, 100)) {
		t.Error("what is applied is fitted anew for the same functions")
	}
	for _, hour := range []int{0, 2, 3, 23} {
		now := time.Date(2026, 1, 31, hour, 0, 0, 0, time.UTC)
		if wait := untilNight(now); wait <= 0 || wait > 24*time.Hour || now.Add(wait).Hour() != nightHour {
			t.Errorf("%d: %v", hour, wait)
		}
	}
}
