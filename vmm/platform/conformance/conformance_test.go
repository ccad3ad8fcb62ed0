package conformance

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"seuss/dirtytrack"
	"seuss/vmm/platform"
	"seuss/vmm/platform/fake"
)

// recorder is a test that says how it came out.
type recorder struct {
	testing.TB // the real one, for what takes no side
	failed     []string
	cleanups   []func()
}

func (r *recorder) Helper() {}

func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

func (r *recorder) Errorf(format string, args ...any) {
	r.failed = append(r.failed, fmt.Sprintf(format, args...))
}
func (r *recorder) Error(args ...any) { r.failed = append(r.failed, fmt.Sprintln(args...)) }

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Fatal(args ...any) {
	r.Error(args...)
	runtime.Goexit()
}
func (r *recorder) Skipf(string, ...any) { runtime.Goexit() }
func (r *recorder) Logf(string, ...any)  {}

// try runs a check of the suite on a platform that is the fake one but for what change
// breaks, and returns what it complains of.
func try(t *testing.T, c check, change broken) []string {
	p, err := fake.New(fake.Options{Guest: StandIn})
	if err != nil {
		t.Fatal(err)
	}
	change.Platform = p
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			for _, f := range slices.Backward(r.cleanups) {
				f()
			}
		}()
		c.on(r, func(testing.TB) platform.Platform { return &change })
	}()
	<-done
	return r.failed
}

// broken is a platform with one mistake.
type broken struct {
	platform.Platform
	vcpu   func(platform.VCPU) platform.VCPU
	memory func(platform.Backing) platform.Backing
	vm     func(platform.VM) platform.VM
}

func (p *broken) NewVM() (platform.VM, error) {
	vm, err := p.Platform.NewVM()
	if err != nil {
		return nil, err
	}
	b := platform.VM(&brokenVM{VM: vm, p: p})
	if p.vm != nil {
		b = p.vm(b)
	}
	return b, nil
}

type brokenVM struct {
	platform.VM
	p *broken
	v platform.VCPU
}

func (vm *brokenVM) VCPU() platform.VCPU {
	if vm.v == nil {
		if vm.v = vm.VM.VCPU(); vm.p.vcpu != nil {
			vm.v = vm.p.vcpu(vm.v)
		}
	}
	return vm.v
}

func (vm *brokenVM) NewMemory(bytes uint64, log bool) (platform.Backing, error) {
	b, err := vm.VM.NewMemory(bytes, log)
	if err == nil && vm.p.memory != nil {
		b = vm.p.memory(b)
	}
	return b, err
}

// Mistakes.
type (
	keepsRAX   struct{ platform.VCPU }
	losesKicks struct{ platform.VCPU }
	addsKicks  struct {
		platform.VCPU
		more int
	}
	neverForgets struct{ platform.VCPU }
	countsNone   struct{ platform.VCPU }
	dirtyState   struct {
		platform.VCPU
		sets int
	}
	keepsStores  struct{ platform.Backing }
	wrongOffset  struct{ platform.Backing }
	findsNothing struct{ platform.Backing }
	emptyTracker struct{ dirtytrack.Tracker }
	neverAlive   struct{ platform.VM }
	leaks        struct{ platform.VM }
)

func (v *keepsRAX) SetState(s *platform.CPUState) error {
	var now platform.Regs
	v.Regs(&now)
	c := s.Clone()
	c.Regs.RAX = now.RAX
	return v.VCPU.SetState(&c)
}
func (v *losesKicks) Kick() {}
func (v *addsKicks) Kick()  { v.more++; v.VCPU.Kick() }
func (v *addsKicks) Run() (platform.Exit, error) {
	if v.more > 1 {
		v.VCPU.Kick()
	}
	e, err := v.VCPU.Run()
	if e.Kind == platform.ExitInterrupted {
		v.more--
	}
	return e, err
}
func (v *neverForgets) ClearKick()   {}
func (v *countsNone) Faults() uint64 { return 0 }
func (v *dirtyState) SetState(s *platform.CPUState) error {
	c := s.Clone()
	v.sets++
	c.XSave[100] = byte(v.sets)
	return v.VCPU.SetState(&c)
}

func (b *keepsStores) Discard(uint64, uint64) error { return nil }
func (b *wrongOffset) MapFile(first, count uint64, f *os.File, off int64) error {
	return b.Backing.MapFile(first, count, f, max(off-4096, 0))
}
func (b *findsNothing) Tracker() (dirtytrack.Tracker, error) {
	t, err := b.Backing.Tracker()
	return emptyTracker{t}, err
}
func (emptyTracker) Collect(*dirtytrack.PageSet) error { return nil }
func (vm *neverAlive) Alive() bool                     { return false }
func (vm *leaks) Close() error {
	f, err := os.Open("/dev/null")
	held = append(held, f)
	if err != nil {
		return err
	}
	return vm.VM.Close()
}

var held []*os.File

// TestSuiteFindsMistakes: a platform with one mistake fails the check that is about it.
func TestSuiteFindsMistakes(t *testing.T) {
	for _, c := range []struct {
		check  string
		change broken
	}{
		{"state is what was set", broken{vcpu: func(v platform.VCPU) platform.VCPU { return &keepsRAX{v} }}},
		{"restore law", broken{vcpu: func(v platform.VCPU) platform.VCPU { return &dirtyState{VCPU: v} }}},
		{"restore on another machine", broken{vcpu: func(v platform.VCPU) platform.VCPU { return &dirtyState{VCPU: v} }}},
		{"kick before a run", broken{vcpu: func(v platform.VCPU) platform.VCPU { return &losesKicks{v} }}},
		{"kicks do not add up", broken{vcpu: func(v platform.VCPU) platform.VCPU { return &addsKicks{VCPU: v} }}},
		{"kick is cleared", broken{vcpu: func(v platform.VCPU) platform.VCPU { return &neverForgets{v} }}},
		{"page faults are counted", broken{vcpu: func(v platform.VCPU) platform.VCPU { return &countsNone{v} }}},
		{"file mapping", broken{memory: func(b platform.Backing) platform.Backing { return &keepsStores{b} }}},
		{"give back", broken{memory: func(b platform.Backing) platform.Backing { return &keepsStores{b} }}},
		{"file mapping", broken{memory: func(b platform.Backing) platform.Backing { return &wrongOffset{b} }}},
		{"tracker", broken{memory: func(b platform.Backing) platform.Backing { return &findsNothing{b} }}},
		{"life", broken{vm: func(vm platform.VM) platform.VM { return &neverAlive{vm} }}},
		{"nothing leaks", broken{vm: func(vm platform.VM) platform.VM { return &leaks{vm} }}},
	} {
		i := slices.IndexFunc(checks, func(x check) bool { return x.name == c.check })
		if got := try(t, checks[i], broken{}); len(got) > 0 {
			t.Errorf("%s complains of a platform that is in order: %s", c.check, strings.Join(got, "\n"))
		}
		got := try(t, checks[i], c.change)
		if len(got) == 0 {
			t.Errorf("%s has nothing against %+v", c.check, c.change)
			continue
		}
		t.Logf("%s: %.200s", c.check, got[0])
	}
	for _, f := range held {
		f.Close()
	}
}
