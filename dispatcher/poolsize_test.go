package dispatcher

import (
	"fmt"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"seuss/dispatcher/functions"
	"seuss/dispatcher/instance"
	"seuss/dispatcher/tasks"
	"seuss/lineage"
)

func TestDemandSlides(t *testing.T) {
	p := testPool(Options{PoolSize: 9, PoolWindow: 10 * time.Second})
	defer p.ps.tasks.Close()
	d, now := &p.demand, time.Unix(1e9, 0)
	asked := func(at time.Time, machines int) {
		p.total = machines - 1
		p.pick(nil, at)
	}
	asked(now, 3)
	asked(now.Add(time.Second), 7)
	if got := d.peak(); got != 7 {
		t.Errorf("peak %d, want 7", got)
	}
	d.turn(now.Add(9 * time.Second))
	if got := d.peak(); got != 7 {
		t.Errorf("within the window: peak %d, want 7", got)
	}
	asked(now.Add(11500*time.Millisecond), 2)
	if got := d.peak(); got != 2 {
		t.Errorf("after the window: peak %d, want 2", got)
	}
	d.turn(now.Add(time.Hour)) // and far beyond it
	if got := d.peak(); got != 0 {
		t.Errorf("an hour later: peak %d", got)
	}
	d.turn(now) // a clock that was set back changes nothing
	if got := d.peak(); got != 0 {
		t.Errorf("peak %d", got)
	}
}

func testSnapshot(id string) *instance.Snapshot {
	return &instance.Snapshot{Node: &lineage.Node{Info: lineage.Info{ID: id}}}
}

func TestMissesCount(t *testing.T) {
	d := newDemand(10 * time.Second)
	now := time.Unix(1e9, 0)
	a, b := testSnapshot("a"), testSnapshot("b")
	d.turn(now)
	if d.miss(a) {
		t.Error("once is no reason for a machine")
	}
	if !d.miss(a) || d.miss(b) {
		t.Error("twice is one, and nodes are counted apart")
	}
	all := func(*instance.Snapshot) bool { return true }
	if w := d.wanted(all); w != a {
		t.Errorf("wanted %v", w)
	}
	if w := d.wanted(func(s *instance.Snapshot) bool { return s != a }); w != b {
		t.Errorf("wanted %v where the first has a machine", w)
	}
	d.miss(b)
	if w := d.wanted(all); w != a {
		t.Errorf("of equals %v", w)
	}
	d.turn(now.Add(time.Minute))
	if d.wanted(all) != nil || d.miss(a) {
		t.Error("misses outlive the window")
	}
}

// What is not used otherwise is not kept in memory by having been missed.
func TestMissesHoldNothing(t *testing.T) {
	d := newDemand(10 * time.Second)
	d.miss(testSnapshot("a"))
	b := testSnapshot("b")
	d.miss(b)
	runtime.GC()
	if w := d.wanted(func(*instance.Snapshot) bool { return true }); w != b {
		t.Errorf("wanted %v", w)
	}
}

// testPool is a pool of machines that are none.
func testPool(o Options, free ...slot) *pool {
	ps := newPools(nil, nil, tasks.New(), slog.New(slog.DiscardHandler), poolSizes{o.PoolSize, o.PoolFloor, o.PoolWindow, o.PoolBytes}, func() {})
	p := newPool(ps, &image{Image: &instance.Image{Name: "test"}})
	for _, s := range free {
		p.free.Put(s)
	}
	p.total = len(free)
	return p
}

func standing(ready bool, on *instance.Snapshot, private uint64) slot {
	return slot{VM: &instance.VM{}, Ready: ready, Snapshot: on, Private: private}
}

// TestPickPrefers: ready on the node, then what ran it, then what has run, then
// what has stood ready elsewhere the longest.
func TestPickPrefers(t *testing.T) {
	a, b, c := testSnapshot("a"), testSnapshot("b"), testSnapshot("c")
	readyB, readyC := standing(true, b, 0), standing(true, c, 0)
	ranB, ranA, readyA := standing(false, b, 0), standing(false, a, 0), standing(true, a, 0)
	p := testPool(Options{PoolSize: 9}, readyB, readyC, ranB, ranA, readyA)
	for n, want := range []slot{readyA, ranA, ranB, readyB, readyC} {
		if got, _ := p.pick(a, time.Now()); got != want.VM {
			t.Errorf("pick %d: %+v", n, got)
		}
	}
	if got, _ := p.pick(a, time.Now()); got != nil || p.counts.ready != 1 || p.counts.moved != 4 {
		t.Errorf("%+v, though nothing is free; %+v", got, p.counts)
	}
}

func TestSizeFollowsDemand(t *testing.T) {
	now := time.Unix(1e9, 0)
	for _, c := range []struct {
		o       Options
		peak    int
		missed  int // nodes
		private uint64
		want    int
	}{
		{Options{PoolSize: 8}, 0, 0, 0, 0},
		{Options{PoolSize: 8, PoolFloor: 2}, 0, 0, 0, 2},
		{Options{PoolSize: 8}, 3, 0, 0, 4},
		{Options{PoolSize: 8}, 1, 6, 0, 6},
		{Options{PoolSize: 8}, 20, 0, 0, 8},
		{Options{PoolSize: 8, PoolBytes: 30 << 20}, 20, 0, 8 << 20, 3}, // 2 MiB each besides
		{Options{PoolSize: 8, PoolBytes: 1 << 20}, 20, 0, 8 << 20, 1},
	} {
		p := testPool(c.o, standing(false, nil, c.private))
		p.demand.turn(now)
		p.demand.peaks[p.demand.at] = c.peak
		for n := range c.missed {
			p.demand.miss(testSnapshot(fmt.Sprint(n)))
		}
		if got := p.size(); got != c.want {
			t.Errorf("%+v: size %d", c, got)
		}
	}
}

func TestRoomKeepsTheBudget(t *testing.T) {
	p := testPool(Options{PoolSize: 8, PoolBytes: 25 << 20}, standing(false, nil, 6<<20), standing(false, nil, 6<<20))
	if !p.room() { // 16 MiB, and 8 for one more
		t.Error("there is room for a third")
	}
	p.total++
	if p.room() {
		t.Error("a fourth is beyond the budget")
	}
	if q := testPool(Options{PoolSize: 1, PoolBytes: 1}); !q.room() {
		t.Error("one machine there may be in any case, or nothing runs")
	}
}

func TestPickVersion(t *testing.T) {
	a := functions.Alias{Version: "3", Weights: map[string]float64{"1": 0.25, "2": 0.25}}
	for r, want := range map[float64]string{0: "1", 0.2: "1", 0.3: "2", 0.49: "2", 0.6: "3", 0.999: "3"} {
		if got := pickVersion(a, r); got != want {
			t.Errorf("%v: %s, want %s", r, got, want)
		}
	}
}

// TestStatsAreKept: what a pool says of itself is kept as machines come and go. Nobody is
// asked when somebody wants to know, the kernel least: the machines here would panic. The
// work is the same with 10,000 of them as with one.
func TestStatsAreKept(t *testing.T) {
	on := testSnapshot("a")
	work := map[int]float64{}
	for _, n := range []int{1, 200, 10000} {
		free := make([]slot, n)
		for i := range free {
			free[i] = standing(i%2 == 0, on, 4096)
		}
		p := testPool(Options{PoolSize: n}, free...)
		st := p.stats()
		if st.Machines != n || st.Free != n || st.Ready != (n+1)/2 || st.At["a"] != st.Ready || st.FreePrivate != uint64(n)*4096 || st.Bytes != uint64(n)*(emptyMachineBytes+4096) {
			t.Errorf("%d machines: %+v", n, st)
		}
		work[n] = testing.AllocsPerRun(10, func() { p.stats() })
	}
	if work[10000] != work[1] {
		t.Errorf("allocations by number of machines: %v", work)
	}
}
