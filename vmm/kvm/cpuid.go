package kvm

import (
	"fmt"
	"math/bits"

	"seuss/vmm/internal/x86"
)

// Leaves of CPUID that are looked at here.
const (
	leafXSave     = 0xd        // Intel SDM vol. 1, 13.2
	leafKVMFirst  = 0x40000001 // KVM_CPUID_FEATURES, Documentation/virt/kvm/x86/cpuid.rst
	leafKVMLast   = 0x400000ff
	leafExtended  = 0x80000000
	cpuidOSXSAVE  = 1 << 27 // leaf 1, ECX
	cpuidSigIndex = 1       // KVM_CPUID_FLAG_SIGNIFCANT_INDEX
)

// supportedCPUID asks what KVM can show to a guest. On hardware KVM the
// paravirtual leaves are left out: a guest at CPL 0 could otherwise have the
// host write clocks and steal time into its memory behind the monitor's back.
func (p *Platform) supportedCPUID() (*cpuidList, error) {
	list := &cpuidList{count: cpuidEntries}
	if _, err := callPtr(p.dev, "KVM_GET_SUPPORTED_CPUID", kvmGetSupportedCPUID, list); err != nil {
		return nil, err
	}
	if list.count > cpuidEntries {
		return nil, fmt.Errorf("KVM_GET_SUPPORTED_CPUID: %d entries, have room for %d", list.count, cpuidEntries)
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

// guestCPUID returns CPUID as the guest's programs see it: under kvm_pvm
// essentially the host CPU's own, else KVM's table.
// Answers are remembered, since CPUID exits when the host is itself a guest.
func (p *Platform) guestCPUID() func(leaf, subleaf uint32) (a, b, c, d uint32) {
	if !p.pvm {
		return p.cpuid.lookup
	}
	known := map[[2]uint32][4]uint32{}
	get := func(leaf, subleaf uint32) [4]uint32 {
		key := [2]uint32{leaf, subleaf}
		r, ok := known[key]
		if !ok {
			r[0], r[1], r[2], r[3] = x86.CPUID(leaf, subleaf)
			known[key] = r
		}
		return r
	}
	return func(leaf, subleaf uint32) (a, b, c, d uint32) {
		// A leaf above the largest returns the largest one's content (SDM).
		if leaf > get(leaf&leafExtended, 0)[0] {
			return 0, 0, 0, 0
		}
		r := get(leaf, subleaf)
		return r[0], r[1], r[2], r[3]
	}
}

// learnExtendedState sets XCR0 to everything KVM supports and computes the
// size of the XSAVE area in its standard format from the components' places.
//
// Under kvm_pvm a guest's code runs with the host's XCR0, whatever KVM was
// told: an XSAVE with all bits requested then also writes components that are
// no part of the guest's state (AMX tiles, for instance), so the area must have
// room for them.
func (p *Platform) learnExtendedState() error {
	a, _, _, d := p.cpuid.lookup(leafXSave, 0)
	xcr0 := uint64(d)<<32 | uint64(a)
	if xcr0&3 != 3 {
		return fmt.Errorf("CPUID leaf %#x: supported XCR0 %#x lacks x87 or SSE", leafXSave, xcr0)
	}
	written := xcr0
	if p.pvm {
		if _, _, c, _ := x86.CPUID(1, 0); c&cpuidOSXSAVE != 0 {
			written |= x86.XGETBV()
		}
	}
	const legacyAndHeader = 512 + 64
	size := uint32(legacyAndHeader)
	cpuid := p.guestCPUID()
	for rest := written &^ 3; rest != 0; rest &= rest - 1 {
		component := uint32(bits.TrailingZeros64(rest))
		bytes, offset, _, _ := cpuid(leafXSave, component)
		if bytes == 0 {
			return fmt.Errorf("CPUID leaf %#x: XCR0 component %d has no place", leafXSave, component)
		}
		size = max(size, offset+bytes)
	}
	p.cpu.XCR0, p.cpu.XSaveBytes = xcr0, size
	return nil
}
