package instance

import (
	"context"
	"slices"
	"testing"
	"time"

	"seuss/guest"
	"seuss/vmm"
	"seuss/vmm/vmmtest"
)

// TestParkTimes prints, of a small function, how long it takes to park it and to bring it
// back, whole and squeezed, beside a start on a machine that stands ready. Shortest times,
// since machines are noisy; none is asserted.
func TestParkTimes(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: it prints times")
	}
	platform := vmmtest.Require(t)
	b := newLawBench(t, platform)
	b.load("small", "import time\ndef handler(event, context):\n    if event['sleep']: time.sleep(1000)\n    return 1\n")
	vm, other := b.machine(platform, false), b.machine(platform, false)
	times := map[string][]time.Duration{}
	took := func(what string, began time.Time) { times[what] = append(times[what], time.Since(began)) }
	for n := range 20 {
		b.bring(vm, "small")
		began := time.Now()
		i, err := vm.Begin(b.nodes["small"])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := i.Converse(context.Background(), time.Now().Add(time.Minute)).Call(WithEvent, invocationContext, []byte(`{"sleep": 0}`)); err != nil {
			t.Fatal(err)
		}
		took("start, event to result", began)
		i.End()
		began = time.Now()
		b.bring(vm, "small")
		took("reset", began)
		if i, err = vm.Begin(b.nodes["small"]); err != nil {
			t.Fatal(err)
		}
		var seed [guest.SeedBytes]byte
		if err := vm.stream.conn.Send(vm.stream.make(guest.MsgInvoke, seed[:], invocationContext, []byte(`{"sleep": 1}`))); err != nil {
			t.Fatal(err)
		}
		if stop, err := vm.m.Run(vmm.RunOptions{Deadline: time.Now().Add(time.Minute), Wait: vmm.WaitNone, Done: vm.arrived}); err != nil || stop.Kind != vmm.StopIdle {
			t.Fatalf("%+v, %v", stop, err)
		}
		began = time.Now()
		p, err := i.park(anyRoom)
		if err != nil {
			t.Fatal(err)
		}
		took("park", began)
		how := "back, whole"
		if n%2 == 1 {
			began = time.Now()
			if err := p.Squeeze(); err != nil {
				t.Fatal(err)
			}
			took("squeeze", began)
			how = "back, squeezed"
		}
		b.bring(other, "small")
		began = time.Now()
		if err := i.resume(other); err != nil {
			t.Fatal(err)
		}
		took(how, began)
		i.End()
	}
	for what, all := range times {
		slices.Sort(all)
		t.Logf("%-24s least %7.1f us, median %7.1f us", what, float64(all[0])/1e3, float64(all[len(all)/2])/1e3)
	}
}
