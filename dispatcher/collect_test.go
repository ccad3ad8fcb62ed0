package dispatcher

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher/tiers"
	"seuss/lineage"
)

// TestCollect: a collection keeps what machines stand at, and functions whose nodes
// went are captured again when they are invoked.
func TestCollect(t *testing.T) {
	b := newColdBench(t)
	d := b.open(Options{PoolSize: 1})
	defer b.close(d)
	if _, err := d.Deploy(context.Background(), FunctionSpec{Name: "other", Handler: "main.handler", Files: map[string][]byte{"main.py": []byte("def handler(e, c): return e\n")}}); err != nil {
		t.Fatal(err)
	}
	if err := b.invoke(d, `"1"`); err != nil { // the one machine stands at its node
		t.Fatal(err)
	}
	stands, others := b.node(d).ID, len(d.store.Function("other"))
	report, err := d.Collect(lineage.GCOptions{Budget: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.store.Get(stands); err != nil || report.Kept["running"] == 0 || report.WithinBudget {
		t.Errorf("%+v, %v", report, err)
	}
	if len(report.Removed) == 0 || others == 0 || len(d.store.Function("other")) != 0 {
		t.Errorf("removed %+v", report.Removed)
	}
	r, err := d.Invoke(context.Background(), Request{Function: "other", Event: []byte(`[1]`)})
	if err != nil || r.Error != nil || string(r.Output) != "[1]" {
		t.Errorf("%+v, %v", r, err)
	}
	if len(d.store.Function("other")) == 0 {
		t.Error("the function was not captured again")
	}
	if err := b.invoke(d, `"2"`); err != nil {
		t.Error(err)
	}
	for _, tg := range d.snapshots.All() {
		// The last machine's reset, off the request's way, is a user while it lasts.
		for end := time.Now().Add(time.Minute); tg.Held() && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		if tg.Held() {
			t.Errorf("node %s is held", tg.Node.ID)
		}
	}
}

// TestBudgetsSayOnce: that what must stay takes more than a budget is said when it begins, and
// not each time that it is found.
func TestBudgetsSayOnce(t *testing.T) {
	b := newColdBench(t)
	var said bytes.Buffer
	d := b.open(Options{PoolSize: 1, NodeBytes: 1, TierBytes: tiers.Budgets{Handler: 1}, Log: slog.New(slog.NewTextHandler(&said, nil))})
	defer b.close(d)
	if err := b.invoke(d, `"1"`); err != nil { // the one machine stands at its node
		t.Fatal(err)
	}
	said.Reset()
	look := budgets{Dispatcher: d}
	for range 3 {
		look.collect(time.Now())
	}
	if n := strings.Count(said.String(), "level=ERROR"); n != 2 {
		t.Errorf("%d errors, want one of the tier and one of the store:\n%s", n, &said)
	}
}

// TestUnloadedFunctions: a function whose node was unloaded for want of room is let
// go of, and expanded again when it is invoked.
func TestUnloadedFunctions(t *testing.T) {
	b := newColdBench(t)
	d := b.open(Options{PoolSize: 1, HotBytes: 1}) // room for one node
	defer b.close(d)
	for _, name := range []string{"one", "two", "three"} {
		source := "def handler(e, c): return ['" + name + "', e]\n"
		if _, err := d.Deploy(context.Background(), FunctionSpec{Name: name, Handler: "main.handler", Files: map[string][]byte{"main.py": []byte(source)}}); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		for _, name := range []string{"one", "two", "three"} {
			r, err := d.Invoke(context.Background(), Request{Function: name, Event: []byte(`1`)})
			if err != nil || r.Error != nil || string(r.Output) != `["`+name+`", 1]` {
				t.Fatalf("%s: %+v, %v", name, r, err)
			}
		}
	}
	expanded := 0
	for _, tg := range d.snapshots.All() {
		if tg.Node.Kind == lineage.KindFunction && tg.Node.Key.Function != "cold" {
			expanded++
		}
	}
	var kept []string
	for name, spec := range d.known {
		if spec.built.Load() != nil {
			kept = append(kept, name)
		}
	}
	if expanded != 1 || len(kept) != 1 {
		t.Errorf("%d nodes and %d functions are held, want 1", expanded, len(kept))
	}
}
