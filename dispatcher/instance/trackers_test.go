package instance

import (
	"errors"
	"testing"
	"time"

	"seuss/dirtytrack"
	"seuss/guest"
	"seuss/vmm"
	"seuss/vmm/platform"
	"seuss/vmm/platform/kvm"
	"seuss/vmm/vmmtest"
)

// TestTrackersSeeEverything: what each dirty tracker reports of a real Python
// invocation contains every page that a comparison of all memory finds, and
// equals it after pruning the pages that do not differ.
func TestTrackersSeeEverything(t *testing.T) {
	for _, c := range []struct {
		name     string
		options  kvm.Options
		logDirty bool
		open     func(*VM) (dirtytrack.Tracker, error)
	}{
		{"memory", kvm.Options{}, false, func(vm *VM) (dirtytrack.Tracker, error) { return vm.m.Memory().Tracker() }},
		{"dirty-log", kvm.Options{}, true, func(vm *VM) (dirtytrack.Tracker, error) { return vm.m.VM().WriteTracker() }},
		{"dirty-ring", kvm.Options{DirtyRingEntries: 1 << 15}, true, func(vm *VM) (dirtytrack.Tracker, error) { return vm.m.VM().WriteTracker() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.options.DirtyRingEntries != 0 {
				probe, err := kvm.New(c.options)
				if err != nil && !errors.Is(err, platform.ErrUnavailable) {
					t.Skip("skipped, this KVM has no dirty ring:", err)
				} else if err == nil {
					probe.Close()
				}
			}
			var p platform.Platform
			if c.logDirty { // KVM's own mechanisms
				p = vmmtest.RequireKVMOptions(t, c.options)
			} else {
				p = vmmtest.Require(t)
			}
			b := newLawBench(t, p)
			vm := b.machine(p, c.logDirty)
			tracker, err := c.open(vm)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { // before the machine is closed
				if err := tracker.Close(); err != nil {
					t.Error(err)
				}
			})
			names := []string{"base", "function A", "function B", "argument"}
			if testing.Short() { // under the race detector: comparisons take longest
				names = names[1:2]
			}
			for _, name := range names {
				for _, how := range []string{"little", "files", "large", "thread", "raise"} {
					b.bring(vm, name)
					before := contents(vm.m.Memory())
					if err := tracker.Arm(); err != nil {
						t.Fatal(err)
					}
					vm.m.Memory().HostWritten().Clear()
					vm.m.Memory().GivenBack().Clear()
					b.invoke(vm, name, how)
					found := dirtytrack.NewPageSet(vm.m.Memory().Pages())
					if err := tracker.Collect(found); err != nil {
						t.Fatal(err)
					}
					found.Union(vm.m.Memory().HostWritten())
					found.Union(vm.m.Memory().GivenBack())
					pages := differing(contents(vm.m.Memory()), before)
					for _, page := range pages {
						if !found.Has(page) {
							t.Errorf("%s, %s: page %#x differs and is not reported", name, how, page)
						}
					}
					if len(pages) == 0 || found.Len() == found.Cap() {
						t.Errorf("%s, %s: %d pages differ, %d of %d are reported", name, how, len(pages), found.Len(), found.Cap())
					}
					// What the dispatcher itself keeps must contain them as well.
					if err := vm.collect(); err != nil {
						t.Fatal(err)
					}
					for _, page := range pages {
						if !vm.plan.private.Has(page) {
							t.Errorf("%s, %s: page %#x differs and is not in the plan's private pages", name, how, page)
						}
					}
				}
			}
		})
	}
}

// TestRunPathAllocations: the monitor's part of an invocation (identity,
// request in, run, answer out) takes nothing from the heap.
func TestRunPathAllocations(t *testing.T) {
	p := vmmtest.Require(t)
	b := newLawBench(t, p)
	vm := b.machine(p, false)
	b.bring(vm, "function A")
	event := []byte(`{"how": "simd"}`)
	var seed [guest.SeedBytes]byte
	request := appendHeader(nil, guest.MsgInvoke, len(seed)+len(invocationContext)+len(event))
	request = append(append(append(request, seed[:]...), invocationContext...), event...)
	options := vmm.RunOptions{Deadline: time.Now().Add(time.Hour), Wait: vmm.WaitEvents, Done: vm.stream.arrived}
	once := func() {
		if err := vm.m.WriteIdentity(vmm.Identity{}); err != nil {
			t.Fatal(err)
		}
		vm.stream.reply = vm.stream.reply[:0]
		if err := vm.stream.conn.Send(request); err != nil {
			t.Fatal(err)
		}
		stop, err := vm.m.Run(options)
		if err != nil || stop.Kind != vmm.StopDone || vm.stream.err != nil || vm.stream.frame.kind != guest.MsgResult {
			t.Fatal(stop, err, vm.stream.err, vm.stream.frame.kind)
		}
	}
	for range 20 {
		once() // buffers grow to their size
	}
	if n := testing.AllocsPerRun(300, once); n != 0 {
		t.Errorf("%v allocations an invocation, want none", n)
	}
}
