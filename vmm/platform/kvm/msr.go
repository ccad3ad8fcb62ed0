package kvm

import (
	"fmt"
	"slices"

	"github.com/bobuhiro11/gokvm/kvm"

	"seuss/vmm/internal/x86"
	"seuss/vmm/platform"
)

// savedMSRs are those that are part of a state, as far as the host has them: what
// guests of this and earlier versions may have changed. Not among them are the TSC
// and what derives from it (time goes on, and is rebased through the identity page),
// FS and GS base (special registers) and read-only descriptions of the CPU.
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
	x86.MSRSTAR,
	x86.MSRLSTAR,
	uint32(kvm.MSRCSTAR),
	x86.MSRFMASK,
	x86.MSRKernelGSBase,
	uint32(kvm.MSRTSCAUX),
	uint32(kvm.MSRVMHSAVEPA),
}

// allowedMSRs are what a guest may read and write, where KVM can keep it from the rest
// (KVM_CAP_X86_MSR_FILTER, Linux 5.10). A state has them.
var allowedMSRs = []msrRange{{x86.MSRFSBase, 1}, {x86.MSRGSBase, 1}, {x86.MSRKernelGSBase, 1}}

// unlistedMSRs are saved although KVM_GET_MSR_INDEX_LIST leaves them out on
// some kernels.
var unlistedMSRs = []uint32{uint32(kvm.MSRTSCAUX), uint32(kvm.MSRPAT)}

// listedMSRs asks which MSRs this KVM keeps for guests.
func (p *Platform) listedMSRs() ([]uint32, error) {
	list := &msrList{count: msrListMax}
	if _, err := callPtr(p.dev, "KVM_GET_MSR_INDEX_LIST", kvmGetMSRIndexList, list); err != nil {
		return nil, err
	}
	if list.count > msrListMax {
		return nil, fmt.Errorf("KVM_GET_MSR_INDEX_LIST: %d entries, have room for %d", list.count, msrListMax)
	}
	return slices.Clone(list.indices[:list.count]), nil
}

// settableMSRs returns which of savedMSRs this host lists and lets us set.
func (p *Platform) settableMSRs(v *VCPU) ([]uint32, error) {
	offered, err := p.listedMSRs()
	if err != nil {
		return nil, err
	}
	offered = append(offered, unlistedMSRs...)
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
	for _, must := range []uint32{x86.MSRSTAR, x86.MSRLSTAR, x86.MSRFMASK} {
		if !slices.Contains(settable, must) {
			return nil, fmt.Errorf("MSR %#x cannot be set on this host; the guest's system calls need it", must)
		}
	}
	return settable, nil
}

// msrRange is a run of MSRs.
type msrRange struct{ first, count uint32 }

// unlistedRanges are where KVM keeps MSRs for guests that KVM_GET_MSR_INDEX_LIST does
// not name: memory types, machine check banks, AMD's configuration (mtrr.c,
// set_msr_mce and svm_set_msr of Linux's arch/x86/kvm), and what kvm_pvm has of its own
// behind KVM's: a guest that writes 1 to 0x4b564d10 leaves the next one without exceptions.
var unlistedRanges = []msrRange{{0x200, 0x100}, {0x400, 0x100}, {x86.MSRKVMFirst, 0x100}, {x86.MSRAMDFirst, 0x220}, {x86.MSRAMDFirst + 0x1000, 0x40}}

// elsewhere tells which MSRs are put back by other means, or belong to nobody: the
// time-stamp counter (resetTSCOffset), what KVM_SET_SREGS has, and Hyper-V's, which
// KVM gives only guests whose CPUID says Hyper-V; ours does not.
func elsewhere(index uint32) bool {
	switch index {
	case x86.MSRTSC, x86.MSRAPICBase, x86.MSREFER, x86.MSRFSBase, x86.MSRGSBase:
		return true
	}
	const hyperV, hyperVCount = 0x40000000, 0x1000
	return index-hyperV < hyperVCount
}

// otherMSRs returns all MSRs that KVM keeps for a vCPU and that no state names, with
// what they hold after power-on. What changes by itself between two looks is a clock
// or a counter of the host's.
func (p *Platform) otherMSRs(v *VCPU) ([]platform.MSR, error) {
	listed, err := p.listedMSRs()
	if err != nil {
		return nil, err
	}
	for _, r := range unlistedRanges {
		for i := range r.count {
			listed = append(listed, r.first+i)
		}
	}
	slices.Sort(listed)
	listed = slices.DeleteFunc(slices.Compact(listed), func(index uint32) bool {
		return elsewhere(index) || slices.Contains(p.msrs, index)
	})
	first, err := v.readable(listed)
	if err != nil {
		return nil, err
	}
	second, err := v.readable(listed)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(first, func(m platform.MSR) bool { return !slices.Contains(second, m) }), nil
}

// readable reads those of some MSRs that there are.
func (v *VCPU) readable(indices []uint32) (out []platform.MSR, err error) {
	for len(indices) > 0 {
		n, err := v.readMSRs(indices[:min(len(indices), maxMSRs)])
		if err != nil {
			return nil, err
		}
		for _, e := range v.msrs.entries[:n] {
			out = append(out, platform.MSR{Index: e.index, Value: e.value})
		}
		if indices = indices[n:]; len(indices) > 0 && n < maxMSRs {
			indices = indices[1:] // the kernel stops at one that it does not have
		}
	}
	return out, nil
}

// readMSRs reads at most maxMSRs into v.msrs and returns how many there were before
// one that the kernel refused.
func (v *VCPU) readMSRs(indices []uint32) (int, error) {
	b := &v.msrs
	b.count = uint32(len(indices))
	for i, index := range indices {
		b.entries[i] = msrEntry{index: index}
	}
	return callPtr(v.h, "KVM_GET_MSRS", kvmGetMSRs, b)
}

// getMSRs reads every MSR of the platform's list.
func (v *VCPU) getMSRs(into []platform.MSR) ([]platform.MSR, error) {
	n, err := v.readMSRs(v.saved)
	if err != nil {
		return nil, err
	}
	if n != len(v.saved) {
		return nil, fmt.Errorf("get MSRs: read %d of %d, MSR %#x was refused", n, len(v.saved), v.saved[n])
	}
	into = into[:0]
	for _, e := range v.msrs.entries[:n] {
		into = append(into, platform.MSR{Index: e.index, Value: e.value})
	}
	return into, nil
}

// putMSRs makes MSRs hold what the list says. It looks first and writes what differs:
// looking has no effects, while some writes leave the next KVM_RUN work to do (clocks,
// for instance) although they change nothing. What the host lets nobody read or write
// is an error that names it: the machine is then of no more use. That IA32_TSC_ADJUST was
// among those that differed is noted in v.adjusted.
func (v *VCPU) putMSRs(list []platform.MSR) error {
	for len(list) > 0 {
		part := list[:min(len(list), maxMSRs)]
		list = list[len(part):]
		for i, m := range part {
			v.msrs.entries[i] = msrEntry{index: m.Index}
		}
		v.msrs.count = uint32(len(part))
		n, err := callPtr(v.h, "KVM_GET_MSRS", kvmGetMSRs, &v.msrs)
		if err != nil {
			return err
		}
		if n != len(part) {
			return fmt.Errorf("look at MSRs: read %d of %d, MSR %#x was refused", n, len(part), part[n].Index)
		}
		differ := v.differ[:0]
		for i, m := range part {
			if v.msrs.entries[i].value != m.Value {
				differ = append(differ, m)
				v.adjusted = v.adjusted || m.Index == uint32(kvm.MSRTSCADJUST)
			}
		}
		v.differ = differ
		if err := v.setMSRs(differ); err != nil {
			return err
		}
	}
	return nil
}

// setMSRs writes at most maxMSRs. The kernel stops at the first that it refuses.
func (v *VCPU) setMSRs(list []platform.MSR) error {
	if len(list) == 0 {
		return nil
	}
	b := &v.msrs
	b.count = uint32(len(list))
	for i, m := range list {
		b.entries[i] = msrEntry{index: m.Index, value: m.Value}
	}
	n, err := callPtr(v.h, "KVM_SET_MSRS", kvmSetMSRs, b)
	if err != nil {
		return err
	}
	if n != len(list) {
		return fmt.Errorf("set MSRs: wrote %d of %d, MSR %#x = %#x was refused", n, len(list), list[n].Index, list[n].Value)
	}
	return nil
}
