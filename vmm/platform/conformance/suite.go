package conformance

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"seuss/guest"
	"seuss/vmm"
	"seuss/vmm/platform"
	"seuss/vmm/vmmtest/testguest"
)

// check is one promise.
type check struct {
	name  string
	needs func(platform.Capabilities) bool // nil: every platform keeps it
	run   func(*bench)
}

func machineCode(c platform.Capabilities) bool { return c.MachineCode }

var checks = []check{
	{"restore law", nil, restoreLaw},
	{"restore from computing", nil, restoreFromComputing},
	{"restore on another machine", nil, restoreElsewhere},
	{"registers survive a restore", func(c platform.Capabilities) bool { return c.MachineCode && c.ExtendedState }, guestRegisters},
	{"state is what was set", nil, stateRoundTrip},
	{"forged state", machineCode, forgedState},
	{"kick before a run", nil, kickBefore},
	{"kicks do not add up", nil, kicksDoNotAddUp},
	{"kick is cleared", nil, kickCleared},
	{"kick during a run", nil, kickDuring},
	{"deadline", nil, deadline},
	{"settled guest rests", machineCode, settled},
	{"exceptions", machineCode, exceptions},
	{"system calls", machineCode, systemCalls},
	{"page faults are counted", nil, faultsCounted},
	{"devices", nil, devices},
	{"ends", nil, ends},
	{"file mapping", nil, fileMapping},
	{"shared file", nil, sharedFile},
	{"window", nil, window},
	{"memory that guests share", func(c platform.Capabilities) bool { return c.FarWindow }, sharedMemory},
	{"paging in", func(c platform.Capabilities) bool { return c.PagesIn }, pagingIn},
	{"pager is filled", nil, pagerFilled},
	{"give back", nil, giveBack},
	{"tracker", nil, tracker},
	{"write tracker", func(c platform.Capabilities) bool { return c.WriteTracking }, writeTracker},
	{"life", nil, life},
	{"nothing leaks", nil, nothingLeaks},
	{"refused shapes", nil, refusedShapes},
}

// Run runs the suite on a platform, which open opens and closes at the end of the test:
// all of it, or the checks of these names.
func Run(t *testing.T, open func(testing.TB) platform.Platform, only ...string) {
	t.Helper()
	for _, c := range checks {
		if len(only) == 0 || slices.Contains(only, c.name) {
			t.Run(c.name, func(t *testing.T) { c.on(t, open) })
		}
	}
}

func (c *check) on(t testing.TB, open func(testing.TB) platform.Platform) {
	t.Helper()
	p := open(t)
	if c.needs != nil && !c.needs(p.Capabilities()) {
		t.Skipf("skipped: %s does not claim it", p.Name())
	}
	c.run(newBench(t, p, vmm.Config{}))
}

const (
	ramBytes   = 8 << 20
	imageBytes = 1 << 20
	imageFirst = ramBytes / guest.PageSize // page

	// patience is enough for anything that a check does, on the slowest machine.
	patience = 30 * time.Second
)

// bench is a machine with the test guest, at rest.
type bench struct {
	*vmm.Machine
	t testing.TB
	p platform.Platform
}

// newBench makes a machine and boots it. Config's sizes are the suite's.
func newBench(t testing.TB, p platform.Platform, cfg vmm.Config) *bench {
	t.Helper()
	cfg.RAMBytes, cfg.ImageBytes = ramBytes, imageBytes
	m, err := vmm.NewMachine(p, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	b := &bench{m, t, p}
	b.must(m.Memory().Write(guest.KernelGPA, testguest.Binary), m.ColdBoot(vmm.BootConfig{Args: []string{"x"}}))
	b.stops(vmm.StopIdle)
	return b
}

// another is a second machine of the same platform.
func (b *bench) another() *bench { return newBench(b.t, b.p, vmm.Config{}) }

func (b *bench) must(errs ...error) {
	b.t.Helper()
	if err := errors.Join(errs...); err != nil {
		b.t.Fatal(err)
	}
}

// run runs the machine until it stops, for at most so long.
func (b *bench) run(limit time.Duration) vmm.Stop {
	b.t.Helper()
	stop, err := b.Run(vmm.RunOptions{Deadline: time.Now().Add(limit)})
	b.must(err)
	return stop
}

func (b *bench) stops(want vmm.StopKind) vmm.Stop {
	b.t.Helper()
	stop := b.run(patience)
	if stop.Kind != want {
		b.t.Fatalf("stopped with %v (%+v), want %v; registers %+v", stop.Kind, stop, want, b.Registers())
	}
	return stop
}

// command has the guest do something and rest again.
func (b *bench) command(c testguest.Command) {
	b.t.Helper()
	b.order(c)
	b.stops(vmm.StopIdle)
}

func (b *bench) order(c testguest.Command) {
	b.t.Helper()
	b.must(b.Memory().WriteU32(testguest.Mailbox, uint32(c)))
}

// compute has the guest compute for ever, in the next run.
func (b *bench) compute() {
	b.t.Helper()
	b.program(testguest.Spin...)
	b.order(testguest.RunProgram)
}

func (b *bench) program(code ...byte) {
	b.t.Helper()
	b.must(b.Memory().Write(testguest.Program, code))
}

// add has the guest add 1 to words of its memory.
func (b *bench) add(words ...guest.GPA) {
	b.t.Helper()
	for i, w := range words {
		b.must(b.Memory().WriteU64(testguest.List+guest.GPA(8*i), uint64(w)))
	}
	b.must(b.Memory().WriteU64(testguest.Count, uint64(len(words))))
	b.command(testguest.Stores)
}

func (b *bench) u64(gpa guest.GPA) uint64 {
	b.t.Helper()
	v, err := b.Memory().ReadU64(gpa)
	b.must(err)
	return v
}

// peek reads a word without touching the page.
func (b *bench) peek(gpa guest.GPA) (v uint64) {
	page := b.Memory().Page(uint64(gpa) / guest.PageSize)[gpa%guest.PageSize:]
	for i := range 8 {
		v |= uint64(page[i]) << (8 * i)
	}
	return v
}

func (b *bench) capture() *vmm.State {
	b.t.Helper()
	s, err := b.Capture()
	b.must(err)
	return s
}

// contents copies all that the guest sees, and changes nothing of it.
func (b *bench) contents() []byte {
	out := make([]byte, 0, ramBytes+imageBytes)
	for page := range b.Memory().Pages() {
		out = append(out, b.Memory().Page(page)...)
	}
	return out
}

// restore makes the machine another instance, of memory that no file is mapped in.
func (b *bench) restore(s *vmm.State, ram []byte) {
	b.t.Helper()
	b.must(b.Settle())
	for page := range b.Memory().Pages() {
		was := ram[page*guest.PageSize : (page+1)*guest.PageSize]
		if !bytes.Equal(b.Memory().Page(page), was) {
			copy(b.Memory().Bytes()[page*guest.PageSize:], was)
		}
	}
	b.must(b.Restore(s))
}
