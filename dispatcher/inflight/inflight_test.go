package inflight

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestTable: each entry has its slot alone, a walk sees all that stay and none that has
// gone, and slots are used again.
func TestTable(t *testing.T) {
	for _, n := range []int{0, 1, firstChunk, 10_000} {
		var table Table[int]
		numbers := map[uint32]*int{}
		for i := range n {
			p := &i
			number := table.Add(p)
			if numbers[number] != nil {
				t.Fatalf("slot %d is given away twice", number)
			}
			numbers[number] = p
		}
		count := func() (seen int) {
			for range table.All() {
				seen++
			}
			return seen
		}
		if count() != n {
			t.Errorf("%d entries are seen of %d", count(), n)
		}
		for number, p := range numbers {
			if *p%2 == 1 {
				table.Remove(number)
			}
		}
		for p := range table.All() {
			if *p%2 == 1 {
				t.Fatalf("%d was removed", *p)
			}
		}
		for range n / 2 {
			table.Add(new(int))
		}
		if count() != n || int(table.used.Load()) != n {
			t.Errorf("%d entries, %d slots: want %d", count(), table.used.Load(), n)
		}
	}
}

// TestTableTogether: many enter, leave and walk at a time; who stays is seen by each walk.
func TestTableTogether(t *testing.T) {
	var table Table[int]
	stays := new(int)
	table.Add(stays)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 2000 {
				p := &i
				number := table.Add(p)
				if got := table.slot(number).entry.Load(); got != p {
					t.Errorf("slot %d has another's entry", number)
				}
				table.Remove(number)
			}
		})
	}
	for range 200 {
		seen := false
		for p := range table.All() {
			seen = seen || p == stays
		}
		if !seen {
			t.Fatal("an entry was not seen that was there all the time")
		}
	}
	all.Wait()
	if used := table.used.Load(); used > 9 {
		t.Errorf("%d slots for 9 entries at a time", used)
	}
}

// machine is where a guest runs that is told to stop.
type machine struct{ interrupts atomic.Int32 }

func (m *machine) Number() uint64 { return 1 }
func (m *machine) Interrupt()     { m.interrupts.Add(1) }

// TestNoAllocations: to enter, to be followed and to leave costs no memory.
func TestNoAllocations(t *testing.T) {
	var table Table[Progress]
	p, on := &Progress{}, &machine{}
	now := time.Now()
	each := testing.AllocsPerRun(100, func() {
		number := table.Add(p)
		p.Begin(now)
		p.Place(on, nil, now)
		if p.Killed() || p.End() {
			t.Error("nobody has killed it")
		}
		p.Changed(1)
		table.Remove(number)
	})
	if each > 0.5 { // the first chunk
		t.Errorf("%.2f allocations", each)
	}
}

// TestKill: whatever the moment, a kill holds or says that it came too late; the machine that
// it is on is interrupted once, and none that it has left.
func TestKill(t *testing.T) {
	early, on := &Progress{}, &machine{}
	for range 2 {
		if !early.Kill() {
			t.Error("a kill before it ran came too late")
		}
	}
	if early.Place(on, nil, time.Now()); !early.Killed() || !early.End() || on.interrupts.Load() != 0 {
		t.Error("it was killed before it ran")
	}
	<-early.Done()
	waits := &Progress{}
	done := waits.Done()
	if waits.Kill(); !waits.Killed() {
		t.Error("it was killed while it waited")
	}
	<-done
	late := &Progress{}
	if late.End() || late.Kill() || late.Killed() {
		t.Error("it was over")
	}
	left := &Progress{}
	left.Place(on, nil, time.Now())
	if left.Leave(); !left.Kill() || on.interrupts.Load() != 0 {
		t.Error("a machine was interrupted that it had left")
	}
	if nobody := (*Progress)(nil); nobody.Killed() || nobody.End() || nobody.Done() != nil {
		t.Error("nobody looks")
	}
	for range 2000 {
		p, here, there := &Progress{}, &machine{}, &machine{}
		var killer sync.WaitGroup
		var hit bool
		killer.Go(func() { hit = p.Kill() })
		p.Place(here, nil, time.Now())
		p.Leave()
		left := here.interrupts.Load()
		p.Move(there)
		was := p.End()
		late := there.interrupts.Load()
		killer.Wait()
		if here.interrupts.Load() != left || there.interrupts.Load() != late || left+late > 1 || hit != was || was != p.Killed() {
			t.Fatalf("killed %v, ended so %v, %d and %d interrupts, later %d and %d", hit, was, left, late, here.interrupts.Load(), there.interrupts.Load())
		}
	}
}
