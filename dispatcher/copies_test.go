package dispatcher

import (
	"context"
	"errors"
	"testing"
	"time"

	"seuss/dispatcher/chain"
	"seuss/dispatcher/instance"
	"seuss/dispatcher/instance/instancetest"
	"seuss/dispatcher/instances"
)

// TestNamesOfCopies: a copy is somebody else than its original to whom it calls, and to whoever
// has a lock that it holds.
func TestNamesOfCopies(t *testing.T) {
	s := newFakeService(t, &instancetest.Runtime{}, Options{PoolSize: 1})
	body, err := newLife(t.Context(), s.Dispatcher, "", &instances.Spec{Name: "original", Image: DefaultImage()})
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	list, err := body.Fork(t.Context(), nil, []string{"one", "two"})
	if err != nil {
		t.Fatal(err)
	}
	for n, name := range []string{"one", "two"} {
		l := list[n].(*life)
		defer l.Close()
		var w chain.Who
		if l.who(&w); l.spec.Name != name || w.Link.Request[:4] != name+"/" {
			t.Errorf("%q calls as %q", l.spec.Name, w.Link.Request)
		}
	}
}

// overdue parks what waits until its time is over, and what it waits for is there.
type overdue struct{ parks int }

func (o *overdue) Waits() bool             { return true }
func (o *overdue) Works()                  {}
func (o *overdue) Room(uint64) bool        { return true }
func (o *overdue) Discard(vm *instance.VM) { vm.Close() }

func (o *overdue) Park(_ context.Context, p *instance.Parked, vm *instance.VM, until time.Time) (*instance.VM, error) {
	o.parks++
	time.Sleep(max(time.Until(until), time.Until(p.Due)))
	return vm, nil
}

// TestOverdue: what was parked until its deadline does nothing more, though what it has waited
// for has come.
func TestOverdue(t *testing.T) {
	ran := 0
	s := newFakeService(t, &instancetest.Runtime{Handlers: map[string]instancetest.Handler{"nap": func(c *instancetest.Call) (string, error) {
		ran++
		c.Sleep(50 * time.Millisecond)
		return "1", nil
	}}}, Options{PoolSize: 1})
	node, err := s.snapshots.Get(s.deploy("nap", "nap", false).ID)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := s.Lookup("nap")
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.cache.get(spec)
	if err != nil {
		t.Fatal(err)
	}
	call, err := newInvocation(f, &Request{Event: []byte("1")}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.pools.lend(t.Context(), nil, f.image, node, false)
	if err != nil {
		t.Fatal(err)
	}
	defer l.release(true, nil)
	away := &overdue{}
	l.Instance.Parking = away
	reply, err := l.Converse(t.Context(), time.Now().Add(40*time.Millisecond)).Call(instance.WithEvent, call.context, call.event.raw)
	if !errors.Is(err, ErrTimeout) || ran > 1 || away.parks > 1 {
		t.Errorf("it ran %d times, and was parked %d times: %s, %v", ran, away.parks, reply.Output, err)
	}
}
