package dispatcher

import (
	"testing"
	"time"

	"seuss/dispatcher/instance"
	"seuss/lineage"
)

// costFunction is a function with one argument node that holds pages and saves
// so much.
func costFunction(pages uint64, saved time.Duration) (*costs, *function, *instance.Snapshot) {
	node := func(kind lineage.Kind, depth int, pages uint64, saved time.Duration) *instance.Snapshot {
		return &instance.Snapshot{Node: &lineage.Node{Info: lineage.Info{ID: string(kind), Kind: kind, SavedTime: saved}}, Depth: depth, Pages: pages}
	}
	argument := node(lineage.KindArgument, 3, 100+pages, saved)
	f := &function{spec: &Deployment{}, image: &image{Image: &instance.Image{}}, node: node(lineage.KindFunction, 2, 100, 60*time.Millisecond),
		ancestors: []*instance.Snapshot{node(lineage.KindImage, 0, 0, 0), node(lineage.KindBase, 1, 0, time.Second)}, arguments: []*instance.Snapshot{argument}}
	return &costs{ready: func(*image, *instance.Snapshot) int { return 0 }}, f, argument
}

// TestDeeperIsWorthIt: a node that saves more than its pages cost is taken, one
// that saves less is not, and measurements overrule what the capture saw.
func TestDeeperIsWorthIt(t *testing.T) {
	parsed, err := parseEvent([]byte(`{}`), true)
	if err != nil {
		t.Fatal(err)
	}
	e := &parsed
	d, f, argument := costFunction(1000, 20*time.Millisecond)
	if got := d.match(f, e, ""); got != argument {
		t.Errorf("20 ms for 1,000 pages: %v", got.Node.Info.ID)
	}
	d, f, argument = costFunction(50_000, 2*time.Millisecond)
	if got := d.match(f, e, ""); got != f.node {
		t.Errorf("2 ms for 50,000 pages: %v", got.Node.Info.ID)
	}
	list := d.candidates(f, e, f.node, "")
	if last := list[len(list)-1]; last.Chosen || last.Reason != "node function is predicted to cost less" || last.Pages != 50_100 || last.Run != 0 || last.Move < 50*time.Millisecond {
		t.Errorf("%+v", last)
	}
	// A machine that stands ready on it changes that: nothing is moved.
	none := d.ready
	p := testPool(Options{}, standing(true, argument, 0))
	f.image.pool.Store(p)
	d.ready = p.ps.readyAt
	if got := d.match(f, e, ""); got != argument {
		t.Errorf("a machine stands ready: %v", got.Node.Info.ID)
	}
	d.ready = none
	// Moving pages turns out to be cheap, and the function slow.
	d.learn(argument, &Result{PagesMapped: 50_000, Timings: Timings{Deploy: time.Millisecond}})
	d.learn(f.node, &Result{Pooled: true, Timings: Timings{Run: 5 * time.Millisecond}})
	if got := d.match(f, e, ""); got != argument {
		t.Errorf("as measured: %v", got.Node.Info.ID)
	}
	if got := d.match(f, e, PathBase); got.Node.Info.Kind != lineage.KindBase {
		t.Errorf("no deeper than base: %v", got.Node.Info.ID)
	}
	// The whole event was bound otherwise: it does not fit, whatever it saves.
	argument.Node.Info.Key.Args = []lineage.Binding{{Key: "k", Digest: "other"}}
	if got := d.match(f, e, ""); got != f.node {
		t.Errorf("another binding: %v", got.Node.Info.ID)
	}
}
