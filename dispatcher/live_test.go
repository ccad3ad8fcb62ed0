package dispatcher_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/instance/instancetest"
	"seuss/dispatcher/instances"
	"seuss/guest"
	"seuss/lineage"
)

// living is a dispatcher on the fake platform with instances that live on.
type living struct {
	*dispatcher.Dispatcher
	t       *testing.T
	stopped bool
}

func newLiving(t *testing.T, machines int, o dispatcher.Options) *living {
	t.Helper()
	r := &instancetest.Runtime{Handlers: map[string]instancetest.Handler{
		// count counts in the guest's memory, and says how often this memory was called.
		"count": func(c *instancetest.Call) (string, error) {
			n := c.CPU.Word(0) + 1
			c.CPU.SetWord(0, n)
			c.CPU.Print(1, fmt.Sprintf("at %d\n", n))
			return fmt.Sprint(n), nil
		},
		"fail":  func(*instancetest.Call) (string, error) { return "", errors.New("it was told to") },
		"sleep": func(c *instancetest.Call) (string, error) { c.Sleep(time.Minute); return "1", nil },
		"nap":   func(c *instancetest.Call) (string, error) { c.Sleep(30 * time.Millisecond); return "2", nil },
		"bow": func(c *instancetest.Call) (string, error) {
			c.Afterwards = func() { c.CPU.Store(guest.VsockMMIOGPA+0x50, 1); c.CPU.Exit(3) } // it has sent, and goes on
			return "", errors.New("it was told to")
		},
		"die": func(c *instancetest.Call) (string, error) { c.CPU.Exit(3); return "", nil },
	}}
	if o.StateDir == "" {
		o.StateDir = instancetest.FakeStateDir(t, dispatcher.DefaultImage())
	}
	o.Platform, o.PoolSize = r.Platform(t), machines
	d, err := dispatcher.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	l := &living{Dispatcher: d, t: t}
	t.Cleanup(l.stop)
	if _, err := d.Deploy(t.Context(), dispatcher.FunctionSpec{Name: "count", Handler: "count.handler", Files: map[string][]byte{"f": []byte("x")}}); err != nil {
		t.Fatal(err)
	}
	return l
}

// stop ends the service in order.
func (l *living) stop() {
	if l.stopped {
		return
	}
	l.stopped = true
	if err := l.Close(); err != nil {
		l.t.Error(err)
	}
}

func (l *living) create(s instances.Spec) *instances.Instance {
	l.t.Helper()
	info, err := l.Keeper.Create(l.t.Context(), functions.DefaultOwner, s)
	if err != nil {
		l.t.Fatal(err)
	}
	return l.get(info.Name)
}

func (l *living) get(name string) *instances.Instance {
	l.t.Helper()
	i, err := l.Keeper.Get(functions.DefaultOwner, name)
	if err != nil {
		l.t.Fatal(err)
	}
	return i
}

func code(text string) *instances.Call { return &instances.Call{Code: &text} }

func event(text string) *instances.Call { return &instances.Call{Event: json.RawMessage(text)} }

func (l *living) want(i *instances.Instance, c *instances.Call, value string) {
	l.t.Helper()
	a, err := i.Do(l.t.Context(), c)
	if err != nil || a.Error != nil || string(a.Value) != value {
		l.t.Fatalf("%s: %+v, %v; want %s", i.Info().Name, a, err, value)
	}
}

// TestLiveInstances: what an instance has done stays, of whatever it is, and between two uses
// it holds no machine: a hundred of them live on one.
func TestLiveInstances(t *testing.T) {
	l := newLiving(t, 1, dispatcher.Options{})
	var all []*instances.Instance
	for n := range 100 {
		s := instances.Spec{Function: "count", Name: fmt.Sprint("i", n)}
		if n%2 == 1 {
			s.Function, s.Image = "", dispatcher.DefaultImage()
		}
		all = append(all, l.create(s))
	}
	for round := range 3 {
		for n, i := range all {
			if n%2 == 0 {
				l.want(i, event(`{}`), fmt.Sprint(round+1))
			} else {
				l.want(i, code("count"), fmt.Sprint(round+1))
			}
		}
	}
	if st := l.Pools(); st[0].Machines > 1 {
		t.Errorf("%+v", st[0])
	}
	a, err := all[0].Do(t.Context(), code("count"))
	if err != nil || a.Repr != "it" || len(a.Logs) != 1 || a.Logs[0].Text != "at 4\n" {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err = all[0].Do(t.Context(), code("fail")); err != nil || a.Error == nil || a.Error.Message != "it was told to" {
		t.Errorf("%+v, %v", a, err)
	}
	l.want(all[0], event(`{}`), "5") // it lives
	if _, err := all[1].Do(t.Context(), event(`{}`)); err == nil || !errors.Is(err, lineage.ErrInvalid) {
		t.Errorf("an event for what has no handler: %v", err)
	}
	if lines, _, _ := all[0].Logs(0); len(lines) != 5 {
		t.Errorf("%v", lines)
	}
	for _, i := range all {
		i.Remove()
	}
	if st := l.Keeper.Stats(); st != (instances.Stats{}) {
		t.Errorf("%+v", st)
	}
}

// TestForks: forks are what their original was, and go their own ways; forks of forks too.
func TestForks(t *testing.T) {
	l := newLiving(t, 2, dispatcher.Options{})
	i := l.create(instances.Spec{Function: "count"})
	l.want(i, event(`1`), "1")
	infos, err := i.Fork(t.Context(), 100, []string{"first"})
	if err != nil || len(infos) != 100 || infos[0].Name != "first" || infos[0].Parent != i.Info().Name {
		t.Fatalf("%v, %v", infos, err)
	}
	l.want(i, event(`1`), "2")
	var wg sync.WaitGroup
	for _, f := range infos {
		wg.Go(func() {
			fork := l.get(f.Name)
			l.want(fork, event(`1`), "2")
			l.want(fork, event(`1`), "3")
		})
	}
	wg.Wait()
	l.want(i, event(`1`), "3")
	at := l.get("first")
	for depth := range 20 {
		infos, err := at.Fork(t.Context(), 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		at = l.get(infos[0].Name)
		if depth%2 == 0 { // and of one that has not begun
			l.want(at, event(`1`), fmt.Sprint(4+depth/2))
		}
	}
	if _, err := at.Fork(t.Context(), 1, []string{"first"}); !errors.Is(err, instances.ErrExists) {
		t.Errorf("a name that is taken: %v", err)
	}
	l.want(at, event(`1`), "14")
}

// TestRollback: a checkpoint is a node of the lineage, to which any instance of its owner's
// can be brought, as often as is asked for; one that has failed too.
func TestRollback(t *testing.T) {
	l := newLiving(t, 2, dispatcher.Options{})
	i := l.create(instances.Spec{Function: "count"})
	var nodes []string
	for n := range 5 {
		l.want(i, event(`1`), fmt.Sprint(n+1))
		node, err := i.Checkpoint(t.Context())
		if err != nil || slices.Contains(nodes, node) || i.Info().Node != node {
			t.Fatalf("%s, %v", node, err)
		}
		nodes = append(nodes, node)
		if got, err := l.Store().Get(node); err != nil || got.Kind != lineage.KindInstance || got.Key.Function != "count" {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	for _, n := range []int{2, 0, 4, 2, 2} {
		if err := i.Rollback(t.Context(), nodes[n]); err != nil {
			t.Fatal(err)
		}
		l.want(i, event(`1`), fmt.Sprint(n+2))
	}
	if _, err := i.Do(t.Context(), code("die")); !errors.Is(err, dispatcher.ErrGuestExit) || i.Info().State != instances.Failed {
		t.Fatalf("%v, %+v", err, i.Info())
	}
	if _, err := i.Do(t.Context(), event(`1`)); !errors.Is(err, instances.ErrFailed) {
		t.Errorf("%v", err)
	}
	if err := i.Rollback(t.Context(), nodes[1]); err != nil {
		t.Fatal(err)
	}
	if a, err := i.Do(t.Context(), code("bow")); !errors.Is(err, dispatcher.ErrGuestExit) || !strings.Contains(err.Error(), "it was told to") || i.Info().State != instances.Failed {
		t.Errorf("code failed, and then its guest ended: %+v, %v, %+v", a, err, i.Info())
	}
	if err := i.Rollback(t.Context(), nodes[1]); err != nil {
		t.Fatal(err)
	}
	l.want(i, event(`1`), "3")
	if err := i.Rollback(t.Context(), "nothing"); !errors.Is(err, lineage.ErrNotFound) || i.Info().State != instances.Parked {
		t.Errorf("%v, %+v", err, i.Info())
	}
	l.want(i, event(`1`), "4")
	other := l.create(instances.Spec{Snapshot: nodes[3]})
	l.want(other, event(`1`), "5")
	if _, err := l.Keeper.Create(t.Context(), "somebody", instances.Spec{Snapshot: nodes[3]}); !errors.Is(err, lineage.ErrNotFound) {
		t.Errorf("another owner's snapshot: %v", err)
	}
	report, err := l.Collect(lineage.GCOptions{Unused: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	for _, gone := range report.Removed {
		if gone.ID == nodes[3] || gone.ID == nodes[1] {
			t.Errorf("%s was collected, and an instance stands there", gone.ID)
		}
	}
	l.want(other, event(`1`), "6")
}

// TestLiveWaits: what an instance waits for in the middle of a call does not hold the only
// machine; it ends with the instance, and with the time that it was given.
func TestLiveWaits(t *testing.T) {
	l := newLiving(t, 1, dispatcher.Options{})
	sleeper, other := l.create(instances.Spec{Function: "count", Name: "sleeper"}), l.create(instances.Spec{Function: "count"})
	ended := make(chan error, 1)
	go func() {
		_, err := sleeper.Do(t.Context(), code("sleep"))
		ended <- err
	}()
	if _, err := sleeper.Wait(t.Context(), instances.Running); err != nil {
		t.Fatal(err)
	}
	for n := range 10 {
		l.want(other, event(`1`), fmt.Sprint(n+1))
	}
	sleeper.Remove()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "removed") {
		t.Errorf("%v", err)
	}
	l.want(other, code("nap"), "2")
	short := code("sleep")
	short.Timeout = instances.Millis(50 * time.Millisecond)
	if _, err := other.Do(t.Context(), short); !errors.Is(err, dispatcher.ErrTimeout) || other.Info().State != instances.Failed {
		t.Errorf("%v, %+v", err, other.Info())
	}
	brief := l.create(instances.Spec{Function: "count", TTL: instances.Millis(time.Millisecond)})
	if info, err := brief.Wait(t.Context()); err != nil || info.State != instances.Gone {
		t.Errorf("%+v, %v", info, err)
	}
}

// TestLiveTakesRoom: an instance that lives on takes room where those wait that have no machine,
// before it is there, and has it until it is removed, on a machine or not: what finds none is
// refused, and of copies all or none are made.
func TestLiveTakesRoom(t *testing.T) {
	l := newLiving(t, 1, dispatcher.Options{Instances: 4})
	parked := func(want int) {
		t.Helper()
		if st := l.Lot().Stats(); st.Instances != want || want == 0 && st.Bytes != 0 {
			t.Errorf("%+v, want %d", st, want)
		}
	}
	i := l.create(instances.Spec{Function: "count"})
	l.want(i, event(`1`), "1")
	parked(1)
	if infos, err := i.Fork(t.Context(), 4, nil); !errors.Is(err, instances.ErrTooMany) || !strings.Contains(err.Error(), "--instances") {
		t.Errorf("%v, %v", infos, err)
	}
	parked(1)
	infos, err := i.Fork(t.Context(), 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	last := l.create(instances.Spec{Image: dispatcher.DefaultImage()})
	parked(4)
	for range 3 { // each takes its own again
		l.want(i, code("count"), fmt.Sprint(i.Info().Uses+1))
		l.want(l.get(infos[0].Name), event(`1`), fmt.Sprint(l.get(infos[0].Name).Info().Uses+2))
		parked(4)
	}
	if _, err := l.Keeper.Create(t.Context(), functions.DefaultOwner, instances.Spec{Function: "count"}); !errors.Is(err, instances.ErrTooMany) {
		t.Errorf("%v", err)
	}
	last.Remove()
	parked(3)
	l.create(instances.Spec{Function: "count"}).Remove()
	i.Remove()
	for _, f := range infos {
		l.get(f.Name).Remove()
	}
	parked(0)
}
