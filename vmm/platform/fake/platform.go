package fake

import (
	"errors"
	"sync"
	"time"

	"seuss/vmm/internal/host"
	"seuss/vmm/platform"
)

// Kind is this platform. Users cannot choose it: a guest comes from the test that opens
// it. Opened by name its guests do nothing.
var Kind = &platform.Kind{
	Name:    "fake",
	Title:   "fake platform",
	Summary: "guests are Go functions, for tests",
}

func init() {
	Kind.Open = func(platform.Options) (platform.Platform, error) {
		p, err := New(Options{Guest: func(*CPU) {}})
		if err != nil {
			return nil, err
		}
		return p, nil
	}
	platform.Register(Kind)
}

// Options describe a platform.
type Options struct {
	// Guest is what every machine runs.
	Guest Guest
	// NewVM, if not nil, is asked before a machine is made; an error is NewVM's.
	NewVM func() error
	// Settle and SetState, if not nil, are asked before a guest is settled or its vCPU's
	// state replaced; an error is those'.
	Settle, SetState func() error
	// CPU, if not nil, changes what guests see of the processor.
	CPU func(*platform.CPU)
}

// Guest is a program. See the package comment.
type Guest func(*CPU)

// Platform makes machines that run a Guest.
type Platform struct {
	o   Options
	cpu platform.CPU

	mu   sync.Mutex
	live int // machines that are open
	made int // and that were ever made
}

var _ platform.Platform = (*Platform)(nil)

// xsaveBytes is the size of the legacy area with its header, Intel SDM vol. 1, 13.4.
const xsaveBytes = 576

// New returns a platform. An error is one of reading the host's clocks.
func New(o Options) (*Platform, error) {
	if o.Guest == nil {
		return nil, errors.New("fake platform: no guest")
	}
	start, err := host.ReadClocks()
	if err != nil {
		return nil, err
	}
	clock, err := host.CheckClock(start, time.Now(), 0)
	if err != nil {
		return nil, err
	}
	p := &Platform{o: o, cpu: platform.CPU{CPL: 3, FSGSBASE: true, XCR0: 3, XSaveBytes: xsaveBytes, TSCKHz: clock.KHz,
		Features: platform.CPUFeatures{Vendor: "fake", Model: "0-0-0", XSaveBytes: xsaveBytes}}}
	if o.CPU != nil {
		o.CPU(&p.cpu)
	}
	return p, nil
}

// Name implements platform.Platform.
func (p *Platform) Name() string { return "fake" }

// Info implements platform.Platform.
func (p *Platform) Info() platform.Info {
	return platform.Info{Platform: p.Name(), Device: "none", Facts: []string{"guests: a Go function"}}
}

// Capabilities implements platform.Platform: none.
func (p *Platform) Capabilities() platform.Capabilities {
	return platform.Capabilities{Machine: platform.Needs{Mappings: 2, Descriptors: 2, Tasks: 1, MemoryHere: true}}
}

// CPU implements platform.Platform.
func (p *Platform) CPU() platform.CPU { return p.cpu }

// Machines returns how many machines are open, and how many were ever made.
func (p *Platform) Machines() (open, made int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.live, p.made
}

// NewVM implements platform.Platform.
func (p *Platform) NewVM() (platform.VM, error) {
	if p.o.NewVM != nil {
		if err := p.o.NewVM(); err != nil {
			return nil, err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.live++
	p.made++
	vm := &VM{platform: p}
	vm.vcpu.init(vm)
	return vm, nil
}

// Close implements platform.Platform.
func (p *Platform) Close() error { return nil }
