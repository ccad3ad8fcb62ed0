package kvm

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/bobuhiro11/gokvm/kvm"
	"golang.org/x/sys/unix"

	"seuss/vmm/internal/demand"
	"seuss/vmm/internal/host"
	"seuss/vmm/platform"
)

// Level chooses the privilege level of guests.
type Level uint8

// Levels. LevelAuto is CPL 3 under kvm_pvm and CPL 0 on hardware KVM.
const (
	LevelAuto Level = iota
	LevelKernel
	LevelUser
)

// Options adjust a platform. The zero value is right for production.
type Options struct {
	// Device is the KVM device, "/dev/kvm" if empty.
	Device string
	// Level overrides the privilege level, for tests.
	Level Level
	// DirtyRingEntries, if not 0, gives every VM a dirty ring of so many
	// entries (a power of two); it cannot be combined with the dirty log.
	DirtyRingEntries uint32
	// NoHugePages makes guests' memory of the host's ordinary pages only.
	NoHugePages bool
	// NoMSRFilter leaves guests the MSRs that KVM offers, for tests: what they do to
	// them is put back.
	NoMSRFilter bool
}

// pvmModule exists where the KVM in use is kvm_pvm.
const pvmModule = "/sys/module/kvm_pvm"

// Platform is an open KVM.
type Platform struct {
	dev        handle
	device     string
	pvm        bool
	cpu        platform.CPU
	cpuid      *cpuidList
	msrs       []uint32       // of a state, ascending
	others     []platform.MSR // that no state has and a guest may reach, after power-on
	filters    bool           // guests may use allowedMSRs alone
	runBytes   int            // size of the vCPU's mapping
	xsaveBytes int            // size that KVM_GET_XSAVE2 fills
	clock      host.ClockCheck
	ringBytes  uint64
	small      bool // no huge pages
}

var _ platform.Platform = (*Platform)(nil)

// New opens KVM, checks that it offers what a machine needs and learns what
// its guests see of the processor. What the host lacks is a platform.Unmet.
func New(o Options) (*Platform, error) {
	if o.Device == "" {
		o.Device = platform.Host{}.Device(deviceName)
	}
	p, err := open(o.Device)
	if err != nil {
		return nil, err
	}
	p.small = o.NoHugePages
	if err := p.init(o); err != nil {
		return nil, errors.Join(fmt.Errorf("set up %s: %w", o.Device, err), p.Close())
	}
	return p, nil
}

func (p *Platform) init(o Options) error {
	var err error
	if p.runBytes, err = p.dev.call("KVM_GET_VCPU_MMAP_SIZE", kvmGetVCPUMmapSize, 0); err != nil {
		return err
	}
	// 4096 is the size of struct kvm_xsave, which KVM without KVM_CAP_XSAVE2 fills.
	p.xsaveBytes = max(p.capability(kvm.CapXSave2), 4096)
	if _, err := os.Stat(pvmModule); err == nil {
		p.pvm = true
	}
	p.filters = !o.NoMSRFilter && p.capability(kvm.CapX86MSRFilter) != 0
	if o.DirtyRingEntries != 0 {
		if err := p.setRing(o.DirtyRingEntries); err != nil {
			return err
		}
	}
	if p.cpuid, err = p.supportedCPUID(); err != nil {
		return err
	}
	p.setLevel(o.Level)
	return p.learnFromProbe()
}

func (p *Platform) setLevel(l Level) {
	switch {
	case l == LevelUser, l == LevelAuto && p.pvm:
		p.cpu.CPL = 3
	default:
		p.cpu.CPL = 0
	}
}

func (p *Platform) setRing(entries uint32) error {
	bytes := uint64(entries) * dirtyRingEntryBytes
	most := uint64(p.capability(kvm.CapDirtyLogRing))
	switch {
	case most == 0:
		return errors.New("this KVM offers no dirty ring (KVM_CAP_DIRTY_LOG_RING, Linux 5.11)")
	case entries&(entries-1) != 0 || bytes < pageSize || bytes > most:
		return fmt.Errorf("dirty ring of %d entries: must be a power of two from %d to %d",
			entries, pageSize/dirtyRingEntryBytes, most/dirtyRingEntryBytes)
	}
	p.ringBytes = bytes
	return nil
}

// learnFromProbe creates a VM for a moment, since MSRs, extended state and the
// TSC frequency can only be asked of a vCPU.
func (p *Platform) learnFromProbe() (err error) {
	started := time.Now()
	start, err := host.ReadClocks()
	if err != nil {
		return err
	}
	vm, err := p.newVM()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, vm.Close()) }()
	v := vm.vcpu
	khz, err := v.h.call("KVM_GET_TSC_KHZ", kvmGetTSCKHz, 0)
	if err != nil {
		return err
	}
	if err := p.learnExtendedState(); err != nil {
		return err
	}
	if p.msrs, err = p.settableMSRs(v); err != nil {
		return err
	}
	if p.pvm || !p.filters {
		if p.others, err = p.otherMSRs(v); err != nil {
			return err
		}
	}
	if p.clock, err = host.CheckClock(start, started, uint64(khz)); err != nil {
		return err
	}
	p.cpu.TSCKHz = p.clock.KHz
	p.cpu.Features = platform.ReadCPUFeatures(p.guestCPUID(), p.cpu.XCR0, p.cpu.XSaveBytes)
	p.cpu.FSGSBASE = p.pvm || slices.Contains(p.cpu.Features.Names, "fsgsbase")
	return nil
}

// Name implements platform.Platform: "kvm" or "kvm-pvm".
func (p *Platform) Name() string {
	if p.pvm {
		return "kvm-pvm"
	}
	return "kvm"
}

// CPU implements platform.Platform.
func (p *Platform) CPU() platform.CPU { return p.cpu }

// Capabilities implements platform.Platform.
func (p *Platform) Capabilities() platform.Capabilities {
	own, err := demand.OpenOwn()
	if err == nil {
		unix.Close(own)
	}
	return platform.Capabilities{
		MachineCode: true, FarWindow: true, PagesIn: err == nil, WriteTracking: true,
		// kvm_pvm interprets ring 0 without the extended state's instructions.
		ExtendedState: !p.pvm || p.cpu.CPL == 3,
		// The run page and tables of the far window; VM, vCPU, page map, userfaultfd and
		// what a VM's own reaper and page map need while they work; a thread in the guest
		// and one of the kernel's.
		Machine: platform.Needs{Mappings: 3, Descriptors: 8, Tasks: 2, MemoryHere: true},
	}
}

// NewVM implements platform.Platform.
func (p *Platform) NewVM() (platform.VM, error) {
	vm, err := p.newVM()
	if err != nil {
		return nil, err // not vm: a nil *VM in an interface is not nil
	}
	return vm, nil
}

// Close implements platform.Platform.
func (p *Platform) Close() error {
	if err := p.dev.close(); err != nil {
		return fmt.Errorf("close %s: %w", p.device, err)
	}
	return nil
}

// Info implements platform.Platform.
func (p *Platform) Info() platform.Info {
	yes := func(c kvm.Capability) string {
		if n := p.capability(c); n != 0 {
			return fmt.Sprintf("yes (%d)", n)
		}
		return "no"
	}
	return platform.Info{Platform: p.Name(), Device: p.device, Facts: []string{
		fmt.Sprintf("guest privilege level: CPL %d", p.cpu.CPL),
		"processor: " + p.cpu.Features.String(),
		fmt.Sprintf("extended state: XCR0 %#x, %d bytes", p.cpu.XCR0, p.cpu.XSaveBytes),
		"time-stamp counter: " + p.clock.String(),
		fmt.Sprintf("MSRs: %d in a state, %d others put back, all but %d out of a guest's reach: %v",
			len(p.msrs), len(p.others), len(allowedMSRs), p.filters),
		"fsgsbase: " + fmt.Sprint(p.cpu.FSGSBASE),
		"dirty ring: " + yes(kvm.CapDirtyLogRing),
		"dirty log, manual protect: " + yes(kvm.CapManualDirtyLogProtect2),
		"memory slots: " + yes(kvm.CapNRMemSlots),
	}}
}
