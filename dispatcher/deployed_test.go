package dispatcher_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/instances"
	"seuss/lineage"
)

// TestDeployCheckpoint: a function that is deployed from a checkpoint begins, at each
// invocation, as the instance was; its snapshot stays as long as it does, and what else
// would be there in its place is refused.
func TestDeployCheckpoint(t *testing.T) {
	l := newLiving(t, 2, dispatcher.Options{})
	i := l.create(instances.Spec{Function: "count"})
	for _, want := range []string{"1", "2", "3"} {
		l.want(i, event(`1`), want)
	}
	node, err := i.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	deploy := func(s dispatcher.FunctionSpec) error {
		_, err := l.Deploy(t.Context(), s)
		return err
	}
	invoke := func(want string) {
		t.Helper()
		r, err := l.Invoke(t.Context(), dispatcher.Request{Function: "kept", Event: []byte(`1`)})
		if err != nil || string(r.Output) != want || r.Path != dispatcher.PathFunction {
			t.Fatalf("%+v, %v; want %s", r, err, want)
		}
	}
	if err := deploy(dispatcher.FunctionSpec{Name: "kept", Snapshot: node[:16]}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		invoke("4")
	}
	if f, err := l.Function("kept"); err != nil || f.Snapshot != node || f.Handler != "count.handler" {
		t.Errorf("%+v, %v", f, err)
	}
	for what, s := range map[string]dispatcher.FunctionSpec{
		"beside":    {Name: "x", Snapshot: node, Files: map[string][]byte{"f": nil}},
		"runtime":   {Name: "x", Snapshot: node, Settings: functions.Settings{Runtime: "nodejs22.x"}},
		"lazy":      {Name: "x", Snapshot: node, Lazy: true},
		"made of":   {Name: "x", Snapshot: l.Store().Function("count")[0].Parent},
		"not found": {Name: "somebody/x", Snapshot: node},
	} {
		if err := deploy(s); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := l.Invoke(t.Context(), dispatcher.Request{Function: "kept", Event: []byte(`1`), MaxPath: dispatcher.PathBase}); !errors.Is(err, lineage.ErrInvalid) {
		t.Errorf("from the base: %v", err)
	}
	i.Remove()
	if _, err := l.Collect(lineage.GCOptions{Unused: time.Nanosecond, Budget: 1}); err != nil {
		t.Fatal(err)
	}
	invoke("4")
	if err := l.RemoveFunction("count"); err == nil || !strings.Contains(err.Error(), `"kept"`) {
		t.Errorf("what it hangs on: %v", err)
	}
	// Of itself: what there was is in what there is.
	again := l.create(instances.Spec{Function: "kept"})
	l.want(again, event(`1`), "4")
	if node, err = again.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	again.Remove()
	if err := deploy(dispatcher.FunctionSpec{Name: "kept", Snapshot: node}); err != nil {
		t.Fatal(err)
	}
	invoke("5")
	if err := l.RemoveNode(node, true); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Invoke(t.Context(), dispatcher.Request{Function: "kept", Event: []byte(`1`)}); !errors.Is(err, lineage.ErrNotFound) || !strings.Contains(err.Error(), "checkpoint") {
		t.Errorf("what it began as is gone: %v", err)
	}
	for _, name := range []string{"kept", "count"} {
		if err := l.RemoveFunction(name); err != nil {
			t.Error(err)
		}
	}
}

// TestLiveMemory: what is said of an instance's memory is what a checkpoint of it has, and
// that of its copies; to be looked at changes nothing.
func TestLiveMemory(t *testing.T) {
	l := newLiving(t, 2, dispatcher.Options{})
	i := l.create(instances.Spec{Function: "count"})
	began, err := l.Store().Inspect().Memory(i.Info().Node)
	if err != nil {
		t.Fatal(err)
	}
	pages := func(of *instances.Instance, with lineage.Memory) (n int) {
		t.Helper()
		m, err := of.Memory(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range m.Differ(with) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		return n
	}
	if n := pages(i, began); n != 0 {
		t.Errorf("before it begins %d pages differ", n)
	}
	l.want(i, event(`1`), "1")
	if err := i.Pause(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if n := pages(i, began); n == 0 || i.Info().State != instances.Paused {
		t.Errorf("%d pages differ, %+v", n, i.Info())
	}
	list, err := i.Fork(t.Context(), 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	now, err := i.Memory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := pages(l.get(list[0].Name), now); n != 0 {
		t.Errorf("a copy differs in %d pages", n)
	}
	node, err := i.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := l.Store().Inspect().Memory(node)
	if err != nil {
		t.Fatal(err)
	}
	if n := pages(i, sealed) + pages(l.get(list[0].Name), sealed); n != 0 {
		t.Errorf("its checkpoint differs in %d pages", n)
	}
}
