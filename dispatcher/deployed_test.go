package dispatcher_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher"
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
