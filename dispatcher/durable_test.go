package dispatcher_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"seuss/dispatcher"
	"seuss/dispatcher/access"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/instance/instancetest"
	"seuss/dispatcher/instances"
	"seuss/lineage"
)

// onDisk copies what of a state directory is on the disk at a moment.
func onDisk(t *testing.T, dir string) string {
	t.Helper()
	now := t.TempDir()
	if err := os.CopyFS(now, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return now
}

// TestDurable: whenever the service dies, a durable instance comes back as it was when it
// answered last; what was not durable is said to be lost, and what has a name is kept when
// the service ends in order.
func TestDurable(t *testing.T) {
	dir := instancetest.FakeStateDir(t, dispatcher.DefaultImage())
	l := newLiving(t, 2, dispatcher.Options{StateDir: dir})
	kept, named := l.create(instances.Spec{Function: "count", Name: "kept", Durable: true}), l.create(instances.Spec{Function: "count", Name: "named"})
	madeUp := l.create(instances.Spec{Function: "count"})
	died := func() *living { return newLiving(t, 1, dispatcher.Options{StateDir: onDisk(t, dir)}) }
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
	if err := named.Pause(t.Context(), false); err != nil {
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

// TestDurableCopies: copies of what is durable come back as what it was when it was copied,
// used or not, and whatever becomes of it; what one of them is kept as goes with the last.
func TestDurableCopies(t *testing.T) {
	dir := instancetest.FakeStateDir(t, dispatcher.DefaultImage())
	l := newLiving(t, 2, dispatcher.Options{StateDir: dir})
	i := l.create(instances.Spec{Function: "count", Name: "one", Durable: true})
	l.want(i, event(`1`), "1")
	if _, err := i.Fork(t.Context(), 2, []string{"two", "three"}); err != nil {
		t.Fatal(err)
	}
	check := func(want map[string]string) {
		t.Helper()
		after := newLiving(t, 1, dispatcher.Options{StateDir: onDisk(t, dir)})
		for name, next := range want {
			after.want(after.get(name), event(`1`), next)
		}
		after.stop()
	}
	check(map[string]string{"one": "2", "two": "2", "three": "2"})
	l.want(i, event(`1`), "2")
	l.get("two").Remove()
	check(map[string]string{"one": "3", "three": "2"})
	i.Remove()
	check(map[string]string{"three": "2"})
	l.get("three").Remove()
	if list := l.Store().Kind(lineage.KindInstance); len(list) != 0 {
		t.Errorf("%d nodes of instances that were removed", len(list))
	}
}

// TestDurableCheckpoints: what was made to keep an instance goes, and never a checkpoint.
func TestDurableCheckpoints(t *testing.T) {
	l := newLiving(t, 2, dispatcher.Options{})
	i := l.create(instances.Spec{Function: "count", Name: "one", Durable: true})
	var nodes []string
	for n := range 3 {
		l.want(i, event(`1`), fmt.Sprint(n+1))
		node, err := i.Checkpoint(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, node)
	}
	for _, n := range []int{0, 2, 1, 0, 1} {
		if err := i.Rollback(t.Context(), nodes[n]); err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			continue
		}
		l.want(i, event(`1`), "2")
	}
	i.Remove()
	for _, node := range nodes {
		if _, err := l.Store().Get(node); err != nil {
			t.Error(err)
		}
	}
	if list := l.Store().Kind(lineage.KindInstance); len(list) != len(nodes) {
		t.Errorf("%d nodes, of %d checkpoints", len(list), len(nodes))
	}
}

// TestCheckpointOfWhatCameBack: a checkpoint of what has come back, and of which nothing was asked
// since, is not what it was kept as, which goes with it.
func TestCheckpointOfWhatCameBack(t *testing.T) {
	dir := instancetest.FakeStateDir(t, dispatcher.DefaultImage())
	l := newLiving(t, 1, dispatcher.Options{StateDir: dir})
	l.want(l.create(instances.Spec{Function: "count", Name: "kept", Durable: true}), event(`1`), "1")
	l.stop()
	l = newLiving(t, 1, dispatcher.Options{StateDir: dir})
	node, err := l.get("kept").Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.get("kept").Remove()
	l.want(l.create(instances.Spec{Snapshot: node}), event(`1`), "2")
}

// TestNamesThatWentOn: what came back because it has a name is not, after that, silently
// what it was when the service ended in order.
func TestNamesThatWentOn(t *testing.T) {
	dir := instancetest.FakeStateDir(t, dispatcher.DefaultImage())
	l := newLiving(t, 1, dispatcher.Options{StateDir: dir})
	l.want(l.create(instances.Spec{Function: "count", Name: "named"}), event(`1`), "1")
	l.stop()
	l = newLiving(t, 1, dispatcher.Options{StateDir: dir})
	after := newLiving(t, 1, dispatcher.Options{StateDir: onDisk(t, dir)})
	after.want(after.get("named"), event(`1`), "2") // nothing was asked of it
	after.stop()
	l.want(l.get("named"), event(`1`), "2")
	after = newLiving(t, 1, dispatcher.Options{StateDir: onDisk(t, dir)})
	i := after.get("named")
	if info := i.Info(); info.State != instances.Failed || !strings.Contains(info.Failure, "not durable") {
		t.Fatalf("%+v", info)
	}
	if err := i.Rollback(t.Context(), i.Info().Node); err != nil { // what it came back as
		t.Fatal(err)
	}
	after.want(i, event(`1`), "2")
	l.stop()
	l = newLiving(t, 1, dispatcher.Options{StateDir: dir})
	l.want(l.get("named"), event(`1`), "3")
}

// TestOthersInstances: a command that works on the state directory of a service that is not
// there neither brings its instances back nor loses them, and what it collects is not theirs.
func TestOthersInstances(t *testing.T) {
	dir := instancetest.FakeStateDir(t, dispatcher.DefaultImage())
	l := newLiving(t, 1, dispatcher.Options{StateDir: dir})
	kept, lost := l.create(instances.Spec{Function: "count", Name: "kept", Durable: true}), l.create(instances.Spec{Function: "count"})
	for n := range 2 {
		l.want(kept, event(`1`), fmt.Sprint(n+1))
		l.want(lost, event(`1`), fmt.Sprint(n+1))
	}
	l.stop()
	records, err := os.ReadFile(filepath.Join(dir, dispatcher.RecordsFile))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		command := newLiving(t, 1, dispatcher.Options{StateDir: dir, ForOthers: true})
		if list := command.Keeper.List(func(*instances.Info) bool { return true }); len(list) != 0 {
			t.Errorf("%+v", list)
		}
		if _, err := command.Keeper.Create(t.Context(), functions.DefaultOwner, instances.Spec{Function: "count", Durable: true}); !errors.Is(err, instances.ErrInvalid) {
			t.Errorf("%v", err)
		}
		command.want(command.create(instances.Spec{Function: "count", Name: "kept"}), event(`1`), "1") // its own
		if _, err := command.Collect(lineage.GCOptions{Budget: 1, Unused: 1}); err != nil {
			t.Fatal(err)
		}
		command.stop()
	}
	if now, err := os.ReadFile(filepath.Join(dir, dispatcher.RecordsFile)); err != nil || !bytes.Equal(now, records) {
		t.Errorf("%s, %v; was %s", now, err, records)
	}
	l = newLiving(t, 1, dispatcher.Options{StateDir: dir})
	l.want(l.get("kept"), event(`1`), "3")
	if info := l.get(lost.Info().Name).Info(); info.State != instances.Failed {
		t.Errorf("%+v", info)
	}
}

// TestNotBack: what is durable and cannot be brought back is there, says why, and waits for
// what it lacks; it can be rolled back, where there is room for it, and removed.
func TestNotBack(t *testing.T) {
	dir := instancetest.FakeStateDir(t, dispatcher.DefaultImage())
	l := newLiving(t, 1, dispatcher.Options{StateDir: dir})
	names := []string{"a", "b", "c"}
	for _, name := range names {
		l.want(l.create(instances.Spec{Function: "count", Name: name, Durable: true}), event(`1`), "1")
	}
	base := l.get("a").Info().Node
	l.stop()
	few := dispatcher.Options{StateDir: dir, Quota: func(string) access.Quota { return access.Quota{Instances: 2} }}
	l = newLiving(t, 1, few)
	l.want(l.get("a"), event(`1`), "2")
	over := l.get("c")
	if info := over.Info(); info.State != instances.Failed || !strings.Contains(info.Failure, "too many instances") || !strings.Contains(info.Failure, "seussctl owner set") {
		t.Fatalf("%+v", info)
	}
	if _, err := over.Do(t.Context(), event(`1`)); !errors.Is(err, instances.ErrFailed) {
		t.Errorf("%v", err)
	}
	if err := over.Rollback(t.Context(), base); !errors.Is(err, instances.ErrTooMany) {
		t.Errorf("%v", err)
	}
	if _, err := l.Collect(lineage.GCOptions{Budget: 1, Unused: 1}); err != nil {
		t.Fatal(err)
	}
	l.stop()
	l = newLiving(t, 1, dispatcher.Options{StateDir: dir})
	l.want(l.get("c"), event(`1`), "2") // there is room now
	l.stop()
	few.Quota = nil
	s, err := lineage.Open(dir, lineage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range s.Kind(lineage.KindInstance) {
		if _, err := s.Get(n.ID); err == nil {
			if err := s.Remove(n.ID, true); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	l = newLiving(t, 1, few)
	for _, name := range names {
		if info := l.get(name).Info(); info.State != instances.Failed || !strings.Contains(info.Failure, "snapshot") {
			t.Errorf("%+v", info)
		}
	}
	if err := l.get("a").Rollback(t.Context(), base); err != nil {
		t.Fatal(err)
	}
	l.want(l.get("a"), event(`1`), "1")
	l.get("b").Remove()
	l.stop()
	l = newLiving(t, 1, few)
	l.want(l.get("a"), event(`1`), "2")
	if _, err := l.Keeper.Get(functions.DefaultOwner, "b"); !errors.Is(err, instances.ErrUnknown) {
		t.Errorf("what was removed: %v", err)
	}
	if info := l.get("c").Info(); info.State != instances.Failed {
		t.Errorf("%+v", info)
	}
}

// TestComesBackOften: however often an instance comes back and is used, its nodes stay few, of
// a bounded depth.
func TestComesBackOften(t *testing.T) {
	dir := instancetest.FakeStateDir(t, dispatcher.DefaultImage())
	l := newLiving(t, 1, dispatcher.Options{StateDir: dir})
	l.create(instances.Spec{Function: "count", Name: "kept", Durable: true})
	const times = 25
	for n := range times {
		l.want(l.get("kept"), event(`1`), fmt.Sprint(2*n+1))
		l.want(l.get("kept"), event(`1`), fmt.Sprint(2*n+2))
		l.stop()
		l = newLiving(t, 1, dispatcher.Options{StateDir: dir})
		if list := l.Store().Kind(lineage.KindInstance); len(list) > 10 {
			t.Fatalf("%d nodes after it came back %d times", len(list), n+1)
		}
	}
	l.get("kept").Remove()
	if list := l.Store().Kind(lineage.KindInstance); len(list) != 0 {
		t.Errorf("%d nodes of what was removed", len(list))
	}
}

// TestCopiesComeBackOften: what becomes of the nodes that one instance came back from, those that
// its copies come back as stay, though they are not back yet, or there is no room for them.
func TestCopiesComeBackOften(t *testing.T) {
	dir := instancetest.FakeStateDir(t, dispatcher.DefaultImage())
	o := dispatcher.Options{StateDir: dir}
	l := newLiving(t, 1, o)
	l.create(instances.Spec{Function: "count", Name: "one", Durable: true})
	const times = 8
	for n := range times {
		l.want(l.get("one"), event(`1`), fmt.Sprint(n+1))
		if n < times-1 {
			l.stop()
			l = newLiving(t, 1, o)
		}
	}
	if _, err := l.get("one").Fork(t.Context(), 2, []string{"two", "three"}); err != nil {
		t.Fatal(err)
	}
	few := o
	few.Quota = func(string) access.Quota { return access.Quota{Instances: 1} }
	for n, o := range []dispatcher.Options{o, few, o, few, o} {
		l.stop()
		l = newLiving(t, 1, o)
		l.want(l.get("one"), event(`1`), fmt.Sprint(times+n+1))
	}
	for _, name := range []string{"two", "three"} {
		l.want(l.get(name), event(`1`), fmt.Sprint(times+1))
	}
}

// TestPausedDurably: what is paused durably comes back as it was then, paused, whatever its name,
// until it goes on; then it is kept as that no more.
func TestPausedDurably(t *testing.T) {
	dir := instancetest.FakeStateDir(t, dispatcher.DefaultImage())
	l := newLiving(t, 1, dispatcher.Options{StateDir: dir})
	i := l.create(instances.Spec{Function: "count"})
	l.want(i, event(`1`), "1")
	nodes := func() int { return len(l.Store().Kind(lineage.KindInstance)) }
	for n := range 3 {
		if err := i.Pause(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		if nodes() != 1 {
			t.Errorf("%d nodes", nodes())
		}
		for range 2 { // it stays what it is
			after := newLiving(t, 1, dispatcher.Options{StateDir: onDisk(t, dir)})
			back := after.get(i.Info().Name)
			if back.Info().State != instances.Paused {
				t.Errorf("%+v", back.Info())
			}
			after.want(back, event(`1`), fmt.Sprint(n+2))
			after.stop()
		}
		l.want(i, event(`1`), fmt.Sprint(n+2))
		if nodes() != 0 {
			t.Errorf("%d nodes of what went on", nodes())
		}
		after := newLiving(t, 1, dispatcher.Options{StateDir: onDisk(t, dir)})
		if back := after.get(i.Info().Name).Info(); back.State != instances.Failed {
			t.Errorf("%+v", back)
		}
		after.stop()
	}
	if err := i.Pause(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if err := i.Rollback(t.Context(), "nothing"); err == nil { // what is refused changes nothing
		t.Error("it is what there is not")
	}
	after := newLiving(t, 1, dispatcher.Options{StateDir: onDisk(t, dir)})
	if back := after.get(i.Info().Name).Info(); back.State != instances.Paused {
		t.Errorf("after what was refused: %+v", back)
	}
	after.stop()
	l.stop()
	l = newLiving(t, 1, dispatcher.Options{StateDir: dir})
	l.want(l.get(i.Info().Name), event(`1`), "5")
	command := newLiving(t, 1, dispatcher.Options{StateDir: onDisk(t, dir), ForOthers: true})
	if err := command.create(instances.Spec{Function: "count"}).Pause(t.Context(), true); !errors.Is(err, instances.ErrInvalid) {
		t.Errorf("%v", err)
	}
}
