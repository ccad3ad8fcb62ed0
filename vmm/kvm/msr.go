package kvm

import (
	"fmt"
	"slices"

	"github.com/bobuhiro11/gokvm/kvm"

	"seuss/vmm"
)

// savedMSRs are the MSRs that a guest at CPL 0 can change and that matter to
// it or, if they survived a reset, to the next instance in the same machine.
// Not among them: the TSC and what derives from it (time goes on, and is
// rebased through the identity page), FS and GS base (special registers) and
// read-only descriptions of the CPU.
var savedMSRs = [...]uint32{
	uint32(kvm.MSRIA32SPECCTRL),
	uint32(kvm.MSRIA32UMWAITCONTROL),
	uint32(kvm.MSRIA32SYSENTERCS),
	uint32(kvm.MSRIA32SYSENTERESP),
	uint32(kvm.MSRIA32SYSENTEREIP),
	uint32(kvm.MSRMCGSTATUS),
	uint32(kvm.MSRMCGCTL),
	uint32(kvm.MSRIA32MISCENABLE),
	uint32(kvm.MSRIA32XFD),
	uint32(kvm.MSRIA32XFDERR),
	0x1d9, // IA32_DEBUGCTL
	uint32(kvm.MSRPAT),
	uint32(kvm.MSRMTRRdefType),
	uint32(kvm.MSRIA32BNDCFGS),
	uint32(kvm.MSRIA32XSS),
	0x12,       // MSR_KVM_SYSTEM_TIME: while set, the host writes into guest memory
	0x4b564d01, // MSR_KVM_SYSTEM_TIME_NEW
	0x4b564d02, // MSR_KVM_ASYNC_PF_EN
	0x4b564d03, // MSR_KVM_STEAL_TIME
	0x4b564d04, // MSR_KVM_PV_EOI_EN
	0x4b564d05, // MSR_KVM_POLL_CONTROL
	0x4b564d06, // MSR_KVM_ASYNC_PF_INT
	uint32(kvm.MSRSTAR),
	uint32(kvm.MSRLSTAR),
	uint32(kvm.MSRCSTAR),
	uint32(kvm.MSRFMASK),
	uint32(kvm.MSRKERNELGSBASE),
	uint32(kvm.MSRTSCAUX),
	uint32(kvm.MSRVMHSAVEPA),
}

// unlistedMSRs are saved although KVM_GET_MSR_INDEX_LIST leaves them out on
// some kernels.
var unlistedMSRs = []uint32{uint32(kvm.MSRTSCAUX), uint32(kvm.MSRPAT)}

// settableMSRs returns which of savedMSRs this host lists and lets us set.
func (p *Platform) settableMSRs(v *VCPU) ([]uint32, error) {
	list := &msrList{count: msrListMax}
	if _, err := callPtr(p.dev, "KVM_GET_MSR_INDEX_LIST", kvmGetMSRIndexList, list); err != nil {
		return nil, err
	}
	if list.count > msrListMax {
		return nil, fmt.Errorf("KVM_GET_MSR_INDEX_LIST: %d entries, have room for %d", list.count, msrListMax)
	}
	offered := append(slices.Clone(list.indices[:list.count]), unlistedMSRs...)
	var settable []uint32
	for _, index := range savedMSRs {
		if !slices.Contains(offered, index) {
			continue
		}
		b := &msrBlock{count: 1}
		b.entries[0].index = index
		// An MSR that is listed may still be refused where CPUID lacks the
		// feature; such a one cannot hold anything and is left out.
		if n, err := callPtr(v.h, "KVM_GET_MSRS", kvmGetMSRs, b); err != nil || n != 1 {
			continue
		}
		if n, err := callPtr(v.h, "KVM_SET_MSRS", kvmSetMSRs, b); err != nil || n != 1 {
			continue
		}
		settable = append(settable, index)
	}
	slices.Sort(settable)
	for _, must := range []kvm.MSR{kvm.MSRSTAR, kvm.MSRLSTAR, kvm.MSRFMASK} {
		if !slices.Contains(settable, uint32(must)) {
			return nil, fmt.Errorf("MSR %#x cannot be set on this host; the guest's system calls need it", uint32(must))
		}
	}
	return settable, nil
}

// getMSRs reads every MSR of the platform's list.
func (v *VCPU) getMSRs(into []vmm.MSR) ([]vmm.MSR, error) {
	b := &v.msrs
	b.count = uint32(len(v.saved))
	for i, index := range v.saved {
		b.entries[i] = msrEntry{index: index}
	}
	n, err := callPtr(v.h, "KVM_GET_MSRS", kvmGetMSRs, b)
	if err != nil {
		return nil, err
	}
	if n != len(v.saved) {
		return nil, fmt.Errorf("get MSRs: read %d of %d, MSR %#x was refused", n, len(v.saved), v.saved[n])
	}
	into = into[:0]
	for _, e := range b.entries[:n] {
		into = append(into, vmm.MSR{Index: e.index, Value: e.value})
	}
	return into, nil
}

// setMSRs writes the given MSRs. The kernel stops at the first that it
// refuses, which is an error naming it.
func (v *VCPU) setMSRs(list []vmm.MSR) error {
	b := &v.msrs
	for len(list) > 0 {
		part := list[:min(len(list), len(b.entries))]
		b.count = uint32(len(part))
		for i, m := range part {
			b.entries[i] = msrEntry{index: m.Index, value: m.Value}
		}
		n, err := callPtr(v.h, "KVM_SET_MSRS", kvmSetMSRs, b)
		if err != nil {
			return err
		}
		if n != len(part) {
			return fmt.Errorf("set MSRs: wrote %d of %d, MSR %#x = %#x was refused", n, len(part), part[n].Index, part[n].Value)
		}
		list = list[len(part):]
	}
	return nil
}
