package dispatcher_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/instances"
)

// TestStanding: between two uses an instance stands on its machine, which costs nobody else
// anything: an invocation that finds no other machine has it at once.
func TestStanding(t *testing.T) {
	const machines = 8
	l := newLiving(t, machines, dispatcher.Options{})
	var all []*instances.Instance
	for range machines {
		i := l.create(instances.Spec{Function: "count"})
		l.want(i, event(`1`), "1")
		all = append(all, i)
	}
	pool := func() dispatcher.PoolStats { return l.Pools()[0] }
	if st := pool(); st.Standing != machines || st.Machines != machines || st.Free != 0 {
		t.Fatalf("%+v", st)
	}
	before := l.Lot().Stats().Parks
	for _, i := range all {
		l.want(i, event(`1`), "2")
		if info := i.Info(); !info.Standing || info.State != instances.Parked {
			t.Errorf("%+v", info)
		}
	}
	if st := l.Lot().Stats(); st.Parks != before {
		t.Errorf("nobody wants a machine: %+v", st)
	}
	invoke := func() {
		t.Helper()
		if got, err := l.Invoke(t.Context(), dispatcher.Request{Function: "count", Event: []byte(`1`)}); err != nil || string(got.Output) != "1" {
			t.Errorf("%+v, %v", got, err)
		}
	}
	invoke()
	if st := pool(); st.HitsVacated != 1 || st.HitsWaited != 0 || st.Machines != machines || st.Standing != machines-1 {
		t.Errorf("%+v", st)
	}
	if all[0].Info().Standing {
		t.Error("who has stood the longest leaves")
	}
	var wg sync.WaitGroup
	for range machines {
		wg.Go(invoke)
	}
	wg.Wait()
	if st := pool(); st.HitsWaited != 0 || st.Machines != machines {
		t.Errorf("%+v", st)
	}
	for round := range 3 { // more than there are machines, among those that are invoked
		for range machines {
			wg.Go(invoke)
		}
		for _, i := range all {
			wg.Go(func() { l.want(i, event(`1`), fmt.Sprint(3+round)) })
		}
		wg.Wait()
	}
	for _, i := range all {
		i.Remove()
	}
	if st := pool(); st.Standing != 0 || st.Machines > machines {
		t.Errorf("%+v", st)
	}
}

// TestCopiedWhereItStands: an instance is copied on its machine, where it stays; copies are what
// it is then, and not what it was when it was copied before.
func TestCopiedWhereItStands(t *testing.T) {
	l := newLiving(t, 2, dispatcher.Options{})
	i := l.create(instances.Spec{Function: "count"})
	var copies []string
	fork := func() {
		t.Helper()
		infos, err := i.Fork(t.Context(), 2, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range infos {
			copies = append(copies, c.Name)
		}
	}
	stands := func() {
		t.Helper()
		if !i.Info().Standing {
			t.Errorf("%+v", i.Info())
		}
	}
	l.want(i, event(`1`), "1")
	fork()
	stands()
	fork()
	l.want(i, event(`1`), "2")
	fork()
	stands()
	for n, name := range copies {
		l.want(l.get(name), event(`1`), fmt.Sprint(2+n/4))
	}
	l.want(i, event(`1`), "3") // it was parked for them meanwhile
	copies = nil
	node, err := i.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.want(i, event(`1`), "4")
	fork()
	if err := i.Rollback(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	fork()
	l.want(i, event(`1`), "4")
	fork()
	for n, name := range copies {
		l.want(l.get(name), event(`1`), []string{"5", "4", "5"}[n/2])
	}
}

// TestStandsInNobodysWay: an instance that has something to do by itself does it where it
// stands, and one that is paused, or has gone, stands nowhere.
func TestStandsInNobodysWay(t *testing.T) {
	l := newLiving(t, 1, dispatcher.Options{})
	i, other := l.create(instances.Spec{Function: "count"}), l.create(instances.Spec{Function: "count"})
	l.want(i, event(`1`), "1")
	if err := i.Pause(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	limited, done := context.WithTimeout(t.Context(), 10*time.Second)
	defer done()
	for i.Info().Standing {
		select {
		case <-limited.Done():
			t.Fatal("it is paused, and stands on a machine")
		case <-time.After(time.Millisecond):
		}
	}
	l.want(other, code("nap"), "2")
	l.want(i, event(`1`), "2") // for which the other one leaves
	if other.Info().Standing || !i.Info().Standing {
		t.Errorf("%+v, %+v", other.Info(), i.Info())
	}
	i.Remove()
	if st := l.Pools()[0]; st.Standing != 0 {
		t.Errorf("%+v", st)
	}
}
