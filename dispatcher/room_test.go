package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"seuss/dispatcher/capacity"
	"seuss/dispatcher/instance/instancetest"
	"seuss/lineage"
)

// roomFor are limits with which so many machines of the fake platform fit, those that are
// kept for who makes snapshots included.
func roomFor(machines int) *capacity.Limits {
	l := capacity.Host{}.Limits()
	l.Mappings.Limit = machines * 43 * 2 // half is for the rest of the process
	l.Descriptors.Limit, l.Tasks.Limit = 0, 0
	return &l
}

// gated is a runtime whose handler "wait" answers when it may.
func gated(gate <-chan struct{}) *instancetest.Runtime {
	return &instancetest.Runtime{Handlers: map[string]instancetest.Handler{"echo": echo, "wait": func(c *instancetest.Call) (string, error) {
		<-gate
		return "1", nil
	}}}
}

// TestRoomIsRefusedByName: what does not fit into the process is refused when it starts, and
// by the pool, with the number and the remedy; the others go on, and with room it is served.
func TestRoomIsRefusedByName(t *testing.T) {
	gate := make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	r := gated(gate)
	if _, err := Open(Options{StateDir: t.TempDir(), Platform: r.Platform(t), PoolSize: 50, Limits: roomFor(8)}); err == nil ||
		!strings.Contains(err.Error(), "50 machines do not fit, 7 do: vm.max_map_count allows") || !strings.Contains(err.Error(), "sysctl -w vm.max_map_count=") {
		t.Errorf("%v", err)
	}
	s := newFakeService(t, r, Options{PoolSize: 7, Limits: roomFor(8)})
	t.Cleanup(open) // or what runs would keep it from being closed
	s.deploy("wait", "wait", false)
	var wg sync.WaitGroup
	for range 7 {
		wg.Go(func() { s.want(ask("wait", "1"), "1") })
	}
	s.settled(func(p PoolStats) bool { return p.Machines == 7 && p.Free == 0 })
	// The eighth is there for who makes a snapshot, or wants a machine of its own.
	own := Request{Function: "wait", Event: []byte("1"), Fresh: true}
	wg.Go(func() { s.want(own, "1") })
	for s.host.Room.(*capacity.Budget).Machines() < 8 {
		time.Sleep(time.Millisecond)
	}
	if _, err := s.Invoke(t.Context(), own); !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "sysctl -w vm.max_map_count=") {
		t.Errorf("a ninth machine: %v", err)
	}
	if _, made := s.platform.Machines(); made < 8 {
		t.Errorf("%d machines were made", made)
	}
	open()
	wg.Wait()
	for n := range 20 {
		s.want(Request{Function: "wait", Event: []byte(fmt.Sprint(n)), Fresh: true}, "1")
	}
}

// TestRoomIsShared: where other images' machines have all the room, one of them that is free
// gives way.
func TestRoomIsShared(t *testing.T) {
	s := newFakeService(t, gated(nil), Options{PoolSize: 7, Limits: roomFor(8)})
	s.deploy("a", "echo", false)
	img, err := s.images.get("")
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.pools.of(img)
	if err != nil {
		t.Fatal(err)
	}
	base, err := s.Base(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Base(t.Context(), "", "cobol"); !errors.Is(err, lineage.ErrInvalid) || !strings.Contains(err.Error(), "cobol") {
		t.Errorf("the base of a runtime that the image does not have: %v", err)
	}
	at, err := s.snapshots.Get(base.Info.ID)
	if err != nil {
		t.Fatal(err)
	}
	for range 8 - p.stats().Machines { // all there is
		p.mu.Lock()
		p.total++
		p.mu.Unlock()
		vm, err := p.create(at)
		if err != nil {
			t.Fatal(err)
		}
		p.put(slot{VM: vm})
	}
	before := p.stats()
	other := newPool(s.pools, img)
	long, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	vm, err := other.take(long, nil, at)
	if err != nil {
		t.Fatal(err)
	}
	defer other.discard(vm)
	if after := p.stats(); after.Machines != before.Machines-1 || after.ClosedIdle != before.ClosedIdle+1 {
		t.Errorf("%+v, then %+v", before, after)
	}
	// Nor is one the last that it gets, as long as others have more and do not need them.
	for range 2 {
		more, err := other.take(long, nil, at)
		if err != nil {
			t.Fatal(err)
		}
		defer other.discard(more)
	}
	if mine, theirs := other.stats().Machines, p.stats().Machines; mine != 3 || theirs != 4 {
		t.Errorf("%d machines and %d", mine, theirs)
	}
	soon, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if vm, err := other.take(soon, nil, at); err == nil { // it would have more than they then
		other.discard(vm)
		t.Errorf("%+v and %+v: a machine too many", p.stats(), other.stats())
	}
	if err := s.host.Room.Take(); err != nil { // the last
		t.Fatal(err)
	}
	defer s.host.Room.Give()
	// Who boots a machine of his own takes the room of one that is free too.
	if r := s.want(Request{Function: "a", Event: []byte("1"), MaxPath: PathCold}, "[1,0]"); r.Path != PathCold {
		t.Errorf("%+v", r)
	}
}

// TestThousandMachines: a thousand machines whose memory is all in this process, which the
// kernel gives 65,530 mappings, take less than 50 each, and answer.
func TestThousandMachines(t *testing.T) {
	machines := 100
	if os.Getenv("SEUSS_SCALE") != "" {
		machines = 1000
	}
	gate := make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	s := newFakeService(t, gated(gate), Options{PoolSize: machines})
	t.Cleanup(open) // or what runs would keep it from being closed
	s.deploy("wait", "wait", false)
	maps := func() int {
		b, err := os.ReadFile("/proc/self/maps")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(b), "\n")
	}
	before := maps()
	var wg sync.WaitGroup
	for range machines {
		wg.Go(func() { s.want(ask("wait", "1"), "1") })
	}
	st := s.settled(func(p PoolStats) bool { return p.Machines == machines && p.Free == 0 && p.Waiting == 0 })
	if each := float64(maps()-before) / float64(machines); each > 50 {
		t.Errorf("%.1f mappings for each machine", each)
	} else {
		t.Logf("%d machines, %.1f mappings each", machines, each)
	}
	open()
	wg.Wait()
	if again := s.settled(func(p PoolStats) bool { return p.Ready == machines }); again.Machines != st.Machines {
		t.Errorf("%+v", again)
	}
	s.want(ask("wait", "1"), "1")
}
