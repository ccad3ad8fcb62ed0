package dispatcher

import (
	"errors"
	"testing"
	"time"

	"seuss/dirtytrack"
	"seuss/guest"
	"seuss/vmm"
	"seuss/vmm/kvm"
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
		open     func(*shell) (dirtytrack.Tracker, error)
	}{
		{"memory", kvm.Options{}, false, func(s *shell) (dirtytrack.Tracker, error) { return s.m.Memory().Tracker() }},
		{"dirty-log", kvm.Options{}, true, func(s *shell) (dirtytrack.Tracker, error) { return s.m.VM().(*kvm.VM).DirtyLog() }},
		{"dirty-ring", kvm.Options{DirtyRingEntries: 1 << 15}, true, func(s *shell) (dirtytrack.Tracker, error) { return s.m.VM().(*kvm.VM).DirtyRing() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.options.DirtyRingEntries != 0 {
				probe, err := kvm.New(c.options)
				if err != nil && !errors.Is(err, vmm.ErrNoKVM) {
					t.Skip("skipped, this KVM has no dirty ring:", err)
				} else if err == nil {
					probe.Close()
				}
			}
			var platform vmm.Platform
			if c.logDirty { // KVM's own mechanisms
				platform = vmmtest.RequireKVMOptions(t, c.options)
			} else {
				platform = vmmtest.Require(t)
			}
			b := newLawBench(t, platform)
			s := b.shell(platform, c.logDirty)
			tracker, err := c.open(s)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { // before the shell is closed
				if err := tracker.Close(); err != nil {
					t.Error(err)
				}
			})
			for _, name := range []string{"base", "function A", "function B", "argument"} {
				for _, how := range []string{"little", "files", "large", "thread", "raise"} {
					b.bring(s, name)
					before := contents(s.m.Memory())
					if err := tracker.Arm(); err != nil {
						t.Fatal(err)
					}
					s.m.Memory().HostWritten().Clear()
					s.m.Memory().GivenBack().Clear()
					b.invoke(s, name, how)
					found := dirtytrack.NewPageSet(s.m.Memory().Pages())
					if err := tracker.Collect(found); err != nil {
						t.Fatal(err)
					}
					found.Union(s.m.Memory().HostWritten())
					found.Union(s.m.Memory().GivenBack())
					pages := differing(contents(s.m.Memory()), before)
					for _, page := range pages {
						if !found.Has(page) {
							t.Errorf("%s, %s: page %#x differs and is not reported", name, how, page)
						}
					}
					if len(pages) == 0 || found.Len() == found.Cap() {
						t.Errorf("%s, %s: %d pages differ, %d of %d are reported", name, how, len(pages), found.Len(), found.Cap())
					}
					// What the dispatcher itself keeps must contain them as well.
					if err := s.collect(); err != nil {
						t.Fatal(err)
					}
					for _, page := range pages {
						if !s.layout.private.Has(page) {
							t.Errorf("%s, %s: page %#x differs and is not in the layout's private pages", name, how, page)
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
	platform := vmmtest.Require(t)
	b := newLawBench(t, platform)
	s := b.shell(platform, false)
	b.bring(s, "function A")
	f, err := b.d.catalog.function("a")
	if err != nil {
		t.Fatal(err)
	}
	e, err := f.event([]byte(`{"how": "simd"}`))
	if err != nil {
		t.Fatal(err)
	}
	i := b.d.newInvocation(f, e, &Request{Timeout: time.Hour}, time.Now())
	var seed [guest.SeedBytes]byte
	request := appendHeader(nil, guest.MsgInvoke, len(seed)+len(i.context)+len(e.raw))
	request = append(append(append(request, seed[:]...), i.context...), e.raw...)
	options := vmm.RunOptions{Deadline: i.deadline, Wait: vmm.WaitEvents, Done: s.link.arrived}
	once := func() {
		if err := s.m.WriteIdentity(vmm.Identity{}); err != nil {
			t.Fatal(err)
		}
		s.link.reply = s.link.reply[:0]
		if err := s.link.conn.Send(request); err != nil {
			t.Fatal(err)
		}
		stop, err := s.m.Run(options)
		if err != nil || stop.Kind != vmm.StopDone || s.link.err != nil || s.link.frame.kind != guest.MsgResult {
			t.Fatal(stop, err, s.link.err, s.link.frame.kind)
		}
	}
	for range 20 {
		once() // buffers grow to their size
	}
	if n := testing.AllocsPerRun(300, once); n != 0 {
		t.Errorf("%v allocations an invocation, want none", n)
	}
}
