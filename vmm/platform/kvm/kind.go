package kvm

import (
	"errors"
	"fmt"
	"os"

	"github.com/bobuhiro11/gokvm/kvm"
	"golang.org/x/sys/unix"

	"seuss/vmm/internal/demand"
	"seuss/vmm/platform"
)

// Kind is KVM, as users choose it.
var Kind = &platform.Kind{
	Name:    "kvm",
	Title:   "KVM",
	Summary: "guests are virtual machines",
	Instead: "guests run as virtual machines",
	Rank:    1,
	Requirements: []platform.Requirement{
		{Name: "device", Check: func(h platform.Host) error { return there(h.Device(deviceName)) }, Fix: fixDevice},
		{Name: "permission", Check: func(h platform.Host) error { return permitted(h.Device(deviceName)) }, Fix: fixPermission},
		{Name: "interface", Check: func(h platform.Host) error { return offers(h.Device(deviceName)) }, Fix: fixInterface},
		{Name: "paging on demand", Check: func(platform.Host) error { return canPage() },
			Fix:     "let this user open /dev/userfaultfd, run with CAP_SYS_PTRACE, or: sysctl vm.unprivileged_userfaultfd=1",
			Without: "snapshots are read before a guest runs: a cold start reads all of them"},
	},
}

func init() {
	Kind.Open = func(o platform.Options) (platform.Platform, error) {
		p, err := New(Options{Device: o.Host.Device(deviceName), NoHugePages: o.NoHugePages})
		if err != nil {
			return nil, err // not p: a nil *Platform in an interface is not nil
		}
		return p, nil
	}
	platform.Register(Kind)
}

const (
	deviceName = "kvm"

	fixDevice = "switch virtualisation on in the firmware (nested virtualisation in a cloud), load kvm_intel, kvm_amd or kvm_pvm, " +
		"and pass the device into the container if this is one"
	fixPermission = "run as root or add the user to the group that owns it (often kvm): sudo usermod -aG kvm $USER"
	fixInterface  = "load kvm_intel, kvm_amd or kvm_pvm, of Linux 4.17 or newer"
)

func there(device string) error {
	if _, err := os.Stat(device); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s does not exist", device)
	}
	return nil
}

func permitted(device string) error {
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	switch {
	case err == nil:
		return f.Close()
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("no permission to open %s", device)
	}
	return nil // what else is wrong with it, offers tells
}

func offers(device string) error {
	p, err := openDevice(device)
	if err == nil {
		err = p.Close()
	}
	return err
}

func canPage() error {
	fd, err := demand.OpenOwn()
	if err == nil {
		err = unix.Close(fd)
	}
	return err
}

// open opens a device that is a KVM with all that machines need.
func open(device string) (*Platform, error) {
	if err := there(device); err != nil {
		return nil, Kind.Lacks(err, fixDevice)
	}
	if err := permitted(device); err != nil {
		return nil, Kind.Lacks(err, fixPermission)
	}
	p, err := openDevice(device)
	if err != nil {
		return nil, Kind.Lacks(err, fixInterface)
	}
	return p, nil
}

func openDevice(device string) (*Platform, error) {
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	switch {
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return nil, fmt.Errorf("%s has no driver behind it", device)
	case err != nil:
		return nil, err
	}
	p := &Platform{dev: handle{file: f, fd: f.Fd()}, device: device}
	if err := p.checkInterface(); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", device, err)
	}
	return p, nil
}

// neededCaps are the capabilities without which no machine is created.
var neededCaps = []struct {
	number kvm.Capability
	name   string
}{
	{kvm.CapUserMemory, "KVM_CAP_USER_MEMORY"},
	{kvm.CapImmediateExit, "KVM_CAP_IMMEDIATE_EXIT (Linux 4.13)"},
	{kvm.CapSyncRegs, "KVM_CAP_SYNC_REGS (Linux 4.17)"},
	{kvm.CapXCRS, "KVM_CAP_XCRS"},
	{kvm.CapXSave, "KVM_CAP_XSAVE"},
	{kvm.CapVCPUEvents, "KVM_CAP_VCPU_EVENTS"},
	{kvm.CapDebugRegs, "KVM_CAP_DEBUGREGS"},
	{kvm.CapMPState, "KVM_CAP_MP_STATE"},
	{kvm.CapGetTSCkHz, "KVM_CAP_GET_TSC_KHZ"},
}

// checkInterface looks for what cannot be done without.
func (p *Platform) checkInterface() error {
	version, err := p.dev.call("KVM_GET_API_VERSION", kvmGetAPIVersion, 0)
	if err != nil {
		return err
	}
	if version != apiVersion {
		return fmt.Errorf("KVM API version %d, need %d", version, apiVersion)
	}
	for _, c := range neededCaps {
		if p.capability(c.number) == 0 {
			return fmt.Errorf("this KVM lacks %s", c.name)
		}
	}
	if mask := uint64(p.capability(kvm.CapSyncRegs)) & syncAll; mask != syncAll {
		return fmt.Errorf("KVM_CAP_SYNC_REGS offers %#x, need %#x", mask, uint64(syncAll))
	}
	return nil
}

// capability returns KVM_CHECK_EXTENSION's answer, 0 for an unknown one.
func (p *Platform) capability(c kvm.Capability) int {
	n, err := p.dev.call("KVM_CHECK_EXTENSION", kvmCheckExtension, uintptr(c))
	if err != nil {
		return 0
	}
	return n
}
