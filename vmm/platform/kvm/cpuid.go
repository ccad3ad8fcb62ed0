package kvm

import (
	"fmt"

	"seuss/vmm/internal/host"
)

// Leaves of CPUID that are looked at here.
const (
	leafExtended  = 0x80000001 // AMD APM vol. 3, E.4.2
	featureVMX    = 1 << 5     // of leaf 1, ECX
	featureSVM    = 1 << 2     // of leafExtended, ECX
	featureLZCNT  = 1 << 5     // of leafExtended, ECX
	leafKVMFirst  = 0x40000001 // KVM_CPUID_FEATURES, Documentation/virt/kvm/x86/cpuid.rst
	leafKVMLast   = 0x400000ff
	cpuidSigIndex = 1 // KVM_CPUID_FLAG_SIGNIFCANT_INDEX
)

// supportedCPUID asks what KVM can show to a guest. Virtual machines of its own are
// left out: no state has what a guest would leave there. On hardware KVM the
// paravirtual leaves are left out too: a guest at CPL 0 could otherwise have the
// host write clocks and steal time into its memory behind the monitor's back. Under
// kvm_pvm programs run natively, so they may use the one instruction without state of its
// own that its list leaves out: programs for x86-64-v3 do not start without it.
func (p *Platform) supportedCPUID() (*cpuidList, error) {
	list := &cpuidList{count: cpuidEntries}
	if _, err := callPtr(p.dev, "KVM_GET_SUPPORTED_CPUID", kvmGetSupportedCPUID, list); err != nil {
		return nil, err
	}
	if list.count > cpuidEntries {
		return nil, fmt.Errorf("KVM_GET_SUPPORTED_CPUID: %d entries, have room for %d", list.count, cpuidEntries)
	}
	for i := range list.entries[:list.count] {
		switch e := &list.entries[i]; e.Function {
		case 1:
			e.Ecx &^= featureVMX
		case leafExtended:
			e.Ecx &^= featureSVM
			if p.pvm {
				_, _, c, _ := host.CPUID()(leafExtended, 0)
				e.Ecx |= c & featureLZCNT
			}
		}
	}
	if p.pvm {
		return list, nil
	}
	kept := uint32(0)
	for _, e := range list.entries[:list.count] {
		if e.Function >= leafKVMFirst && e.Function <= leafKVMLast {
			continue
		}
		list.entries[kept] = e
		kept++
	}
	clear(list.entries[kept:list.count])
	list.count = kept
	return list, nil
}

// lookup returns KVM's CPUID leaf, zeros if it has none.
func (l *cpuidList) lookup(leaf, subleaf uint32) (a, b, c, d uint32) {
	for _, e := range l.entries[:l.count] {
		if e.Function == leaf && (e.Index == subleaf || e.Flags&cpuidSigIndex == 0) {
			return e.Eax, e.Ebx, e.Ecx, e.Edx
		}
	}
	return 0, 0, 0, 0
}

// guestCPUID returns CPUID as the guest's programs may see it: KVM's table, and under
// kvm_pvm, some builds of which do not intercept it, the host CPU's own, which has more.
func (p *Platform) guestCPUID() host.CPUIDFunc {
	if !p.pvm {
		return p.cpuid.lookup
	}
	return host.CPUID()
}

// learnExtendedState sets XCR0 to everything KVM supports and computes the
// size of the XSAVE area in its standard format from the components' places.
//
// Under kvm_pvm a guest's code runs with the host's XCR0, whatever KVM was
// told: an XSAVE with all bits requested then also writes components that are
// no part of the guest's state (AMX tiles, for instance), so the area must have
// room for them.
func (p *Platform) learnExtendedState() error {
	a, _, _, d := p.cpuid.lookup(host.LeafXSave, 0)
	xcr0 := uint64(d)<<32 | uint64(a)
	if xcr0&3 != 3 {
		return fmt.Errorf("CPUID leaf %#x: supported XCR0 %#x lacks x87 or SSE", host.LeafXSave, xcr0)
	}
	written := xcr0
	if p.pvm {
		written |= host.XCR0()
	}
	size, err := host.XSaveBytes(p.guestCPUID(), written)
	if err != nil {
		return err
	}
	p.cpu.XCR0, p.cpu.XSaveBytes = xcr0, size
	return nil
}
