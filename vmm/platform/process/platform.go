package process

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"seuss/vmm/internal/host"
	"seuss/vmm/platform"
	"seuss/vmm/platform/process/stub"
)

// Options adjust a platform. The zero value is right for production.
type Options struct {
	// MonitorSpin and StubSpin are how long either side looks at the shared word
	// before it sleeps. 0 stands for the defaults, less than 0 for not at all.
	MonitorSpin, StubSpin time.Duration
	// Guest, which may be nil, is told of each guest's process when it has started,
	// before it has anything of its guest's, with the bytes of its memory. What it
	// returns is called when the process has ended.
	Guest func(pid int, bytes uint64) (ended func(), err error)
	// Host is where requirements look.
	Host platform.Host
	// NoHugePages makes guests' memory of the host's ordinary pages only.
	NoHugePages bool
}

// Defaults of Options: docs/decisions/process-platform.md, "How long do monitor and stub spin?".
const (
	defaultMonitorSpin = 50 * time.Microsecond
	defaultStubSpin    = 50 * time.Microsecond
)

// Platform runs guests as processes.
type Platform struct {
	program    *os.File // the stub's
	entries    stub.Entries
	filters    [2][]byte // of stubs, see setup.go
	cpu        platform.CPU
	clock      host.ClockCheck
	namespaces bool  // stubs have some of their own
	refused    error // why not
	small      bool  // no huge pages
	host       platform.Host
	sources    sources
	parts      []component // of the extended state
	guest      func(pid int, bytes uint64) (ended func(), err error)
	// in TSC ticks
	monitorSpin, stubSpin uint64
}

var _ platform.Platform = (*Platform)(nil)

// amx are the components of XCR0 that a process must ask its kernel for before
// it can use them (tiles): guests are not offered them.
const amx = 1<<17 | 1<<18

// New checks that the host's kernel and processor have what the platform needs.
// What is missing is an error that is a platform.Unmet.
func New(o Options) (*Platform, error) {
	p := &Platform{guest: o.Guest, small: o.NoHugePages, host: o.Host}
	if err := p.init(o); err != nil {
		return nil, errors.Join(fmt.Errorf("process platform: %w", err), p.Close())
	}
	return p, nil
}

func (p *Platform) init(o Options) error {
	if err := Kind.Check(o.Host); err != nil {
		return err
	}
	var err error
	if p.entries, err = stub.FindEntries(); err != nil {
		return err
	}
	if p.filters, err = filters(); err != nil {
		return err
	}
	if p.program, err = programFile(); err != nil {
		return err
	}
	if err := p.learnCPU(); err != nil {
		return err
	}
	ticks := func(d, fallback time.Duration) uint64 {
		if d == 0 {
			d = fallback
		}
		if runtime.NumCPU() == 1 { // whoever spins keeps the other from running
			return 0
		}
		return uint64(max(d, 0).Nanoseconds()) * p.cpu.TSCKHz / 1e6
	}
	p.monitorSpin, p.stubSpin = ticks(o.MonitorSpin, defaultMonitorSpin), ticks(o.StubSpin, defaultStubSpin)
	return p.probeStub()
}

func (p *Platform) learnCPU() error {
	cpuid := host.CPUID()
	xcr0 := host.XCR0()
	size, err := host.XSaveBytes(cpuid, xcr0)
	if err != nil {
		return err
	}
	own, err := host.XSaveBytes(cpuid, xcr0&^amx)
	if err != nil {
		return err
	}
	if own > stub.XSaveMax {
		return Kind.Lacks(fmt.Errorf("extended state of %d bytes, the stub has room for %d", own, stub.XSaveMax), "use a processor with less of it, or KVM")
	}
	start, err := host.ReadClocks()
	if err != nil {
		return err
	}
	if p.clock, err = host.CheckClock(start, time.Now(), 0); err != nil {
		return err
	}
	p.cpu = platform.CPU{CPL: 3, FSGSBASE: keepsBases(), XCR0: xcr0 &^ amx, XSaveBytes: size, TSCKHz: p.clock.KHz}
	p.parts = componentsOf(cpuid, p.cpu.XCR0)
	p.cpu.Features = platform.ReadCPUFeatures(cpuid, p.cpu.XCR0, size)
	return nil
}

const (
	atHWCAP2       = 26     // AT_HWCAP2
	hwcap2FSGSBASE = 1 << 1 // arch/x86/include/uapi/asm/hwcap2.h
)

// keepsBases reports whether the kernel keeps, over a context switch, what a
// program has set with wrfsbase.
func keepsBases() bool {
	auxv, err := os.ReadFile("/proc/self/auxv")
	if err != nil {
		return false
	}
	for ; len(auxv) >= 16; auxv = auxv[16:] {
		if binary.NativeEndian.Uint64(auxv) == atHWCAP2 {
			return binary.NativeEndian.Uint64(auxv[8:])&hwcap2FSGSBASE != 0
		}
	}
	return false
}

// probeStub starts a stub for a moment.
func (p *Platform) probeStub() error {
	return p.probe(func() error {
		vm := &VM{platform: p}
		vm.vcpu = &VCPU{vm: vm}
		m, err := vm.NewMemory(4<<20, false)
		if err != nil {
			return err
		}
		return errors.Join(vm.Close(), m.Close())
	})
}

// probe tries to start a stub with namespaces of its own, and without only where the host
// does not allow those: a host that lacks something else for the moment must not make all
// guests less isolated.
func (p *Platform) probe(try func() error) error {
	p.namespaces = true
	err := try()
	if refusesNamespaces(err) {
		p.namespaces, p.refused = false, err
		err = try()
	}
	var death *deathError
	if errors.As(err, &death) && death.signal() == unix.SIGILL {
		return Kind.Lacks(fmt.Errorf("programs may not use FSGSBASE: %w", err), "use a processor since 2012 and a kernel that switches it on")
	}
	if err != nil {
		fix := "see the platform's requirements in docs/platforms.md"
		if scope := traceScope(p.host); scope > 1 && (errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES)) {
			fix = traceFix
		}
		return Kind.Lacks(err, fix)
	}
	return nil
}

// refusesNamespaces tells a host without namespaces for everybody: unshare(2), chroot(2),
// and what security modules answer.
func refusesNamespaces(err error) bool {
	for _, e := range []unix.Errno{unix.EPERM, unix.EACCES, unix.ENOSPC, unix.EINVAL, unix.ENOSYS} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Name implements platform.Platform.
func (p *Platform) Name() string { return "process" }

// CPU implements platform.Platform.
func (p *Platform) CPU() platform.CPU { return p.cpu }

// Info implements platform.Platform.
func (p *Platform) Info() platform.Info {
	own := "user, network, mounts, IPC, control group and host name of its own, an empty root directory"
	if !p.namespaces {
		own = fmt.Sprintf("the host's (new ones are not allowed: %v)", p.refused)
	}
	return platform.Info{Platform: p.Name(), Device: "none", Facts: []string{
		"isolation: a process with a system call filter, weaker than a virtual machine",
		"guest privilege level: CPL 3",
		"processor: " + p.cpu.Features.String(),
		fmt.Sprintf("extended state: XCR0 %#x, %d bytes", p.cpu.XCR0, p.cpu.XSaveBytes),
		"time-stamp counter: " + p.clock.String(),
		"namespaces: " + own,
	}}
}

// Capabilities implements platform.Platform.
func (p *Platform) Capabilities() platform.Capabilities {
	return platform.Capabilities{MachineCode: true, ExtendedState: true, FarWindow: true, PagesIn: canPage() == nil, ForeignData: hostUserDS, Machine: machineNeeds}
}

// machineNeeds: the memory file and the area are mapped; descriptors are those of the memory
// file, the process (two), its notifications, page faults, page map and memory, and some
// while it is set up; a thread waits while the guest runs in its process.
var machineNeeds = platform.Needs{Mappings: 3, Descriptors: 12, Tasks: 2}

// NewVM implements platform.Platform.
func (p *Platform) NewVM() (platform.VM, error) {
	vm := &VM{platform: p}
	vm.vcpu = &VCPU{vm: vm}
	return vm, nil
}

// Close implements platform.Platform.
func (p *Platform) Close() error {
	if p.program == nil {
		return nil
	}
	f := p.program
	p.program = nil
	return f.Close()
}
