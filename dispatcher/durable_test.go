package dispatcher_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"seuss/dispatcher"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/instance/instancetest"
	"seuss/dispatcher/instances"
	"seuss/lineage"
)

// TestDurable: whenever the service dies, a durable instance comes back as it was when it
// answered last; what was not durable is said to be lost, and what has a name is kept when
// the service ends in order.
func TestDurable(t *testing.T) {
	dir := instancetest.FakeStateDir(t, dispatcher.DefaultImage())
	l := newLiving(t, 2, dispatcher.Options{StateDir: dir})
	kept, named := l.create(instances.Spec{Function: "count", Name: "kept", Durable: true}), l.create(instances.Spec{Function: "count", Name: "named"})
	madeUp := l.create(instances.Spec{Function: "count"})
	died := func() *living {
		t.Helper()
		now := t.TempDir()
		if err := os.CopyFS(now, os.DirFS(dir)); err != nil { // what is on the disk at a moment
			t.Fatal(err)
		}
		return newLiving(t, 1, dispatcher.Options{StateDir: now})
	}
	for n := range 4 {
		after := died()
		after.want(after.get("kept"), event(`1`), fmt.Sprint(n+1))
		lost := after.get("named")
		if info := lost.Info(); info.State != instances.Failed || !strings.Contains(info.Failure, "not durable") {
			t.Fatalf("%+v", info)
		}
		if err := lost.Rollback(t.Context(), lost.Info().Node); err != nil {
			t.Fatal(err)
		}
		after.want(lost, event(`1`), "1")
		after.stop()
		for _, i := range []*instances.Instance{kept, named, madeUp} {
			l.want(i, event(`1`), fmt.Sprint(n+1))
		}
		if _, err := l.Collect(lineage.GCOptions{Budget: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(l.Store().Kind(lineage.KindInstance)); n != 1 {
		t.Errorf("%d nodes for one instance that is kept", n)
	}
	list, err := kept.Fork(t.Context(), 1, []string{"fork"})
	if err != nil {
		t.Fatal(err)
	}
	l.want(l.get(list[0].Name), event(`1`), "5")
	kept.Remove()
	if err := named.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := died()
	after.want(after.get("fork"), event(`1`), "6")
	if _, err := after.Keeper.Get(functions.DefaultOwner, "kept"); err == nil {
		t.Error("what was removed has come back")
	}
	l.stop()
	again := newLiving(t, 2, dispatcher.Options{StateDir: dir})
	again.want(again.get("fork"), event(`1`), "6")
	if info := again.get("named").Info(); info.State != instances.Paused {
		t.Errorf("%+v", info)
	}
	again.want(again.get("named"), event(`1`), "5")
	if info := again.get(madeUp.Info().Name).Info(); info.State != instances.Failed {
		t.Errorf("%+v", info)
	}
}
