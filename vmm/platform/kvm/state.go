package kvm

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"

	"github.com/bobuhiro11/gokvm/kvm"

	"seuss/vmm/internal/x86"
	"seuss/vmm/platform"
)

// State implements platform.VCPU. It reads what SetState sets: the multiprocessing state
// first, because reading it may act on pending INIT and SIPI events, and the events
// last, because every other call may change them (KVM_SET_REGS clears a pending
// exception, for instance).
func (v *VCPU) State(s *platform.CPUState) error {
	if done, err := v.complete(); err != nil {
		return fmt.Errorf("save vCPU: %w", err)
	} else if !done {
		return fmt.Errorf("save vCPU: it is in the middle of an access: exit %d", v.page.ExitReason)
	}
	if err := v.readState(s); err != nil {
		return fmt.Errorf("save vCPU: %w", err)
	}
	return nil
}

func (v *VCPU) readState(s *platform.CPUState) error {
	var mp kvm.MPState
	if _, err := callPtr(v.h, "KVM_GET_MP_STATE", kvmGetMPState, &mp); err != nil {
		return err
	}
	s.MPState = mp.State
	var regs kvm.Regs
	if _, err := callPtr(v.h, "KVM_GET_REGS", kvmGetRegs, &regs); err != nil {
		return err
	}
	s.Regs = platform.Regs(regs)
	var sregs kvm.Sregs
	if _, err := callPtr(v.h, "KVM_GET_SREGS", kvmGetSregs, &sregs); err != nil {
		return err
	}
	specialFromKVM(&s.Special, &sregs)
	if err := v.readXSave(s); err != nil {
		return err
	}
	var xcrs kvm.XCRS
	if _, err := callPtr(v.h, "KVM_GET_XCRS", kvmGetXCRs, &xcrs); err != nil {
		return err
	}
	var err error
	if s.XCR0, err = xcr0Of(&xcrs); err != nil {
		return err
	}
	var debug kvm.DebugRegs
	if _, err := callPtr(v.h, "KVM_GET_DEBUGREGS", kvmGetDebugRegs, &debug); err != nil {
		return err
	}
	s.Debug = platform.DebugRegs{DB: debug.DB, DR6: debug.DR6, DR7: debug.DR7, Flags: debug.Flags}
	if s.MSRs, err = v.getMSRs(s.MSRs); err != nil {
		return err
	}
	var events kvm.VCPUEvents
	if _, err := callPtr(v.h, "KVM_GET_VCPU_EVENTS", kvmGetVCPUEvents, &events); err != nil {
		return err
	}
	s.Events = eventsFromKVM(&events)
	return nil
}

func (v *VCPU) readXSave(s *platform.CPUState) error {
	name, request := "KVM_GET_XSAVE2", kvmGetXSave2
	if len(v.xsave) == 4096 { // the two are then the same, and older kernels have only this
		name, request = "KVM_GET_XSAVE", kvmGetXSave
	}
	if err := callBytes(v.h, name, request, v.xsave); err != nil {
		return err
	}
	s.XSave = append(s.XSave[:0], v.xsave...)
	return nil
}

// SetState implements platform.VCPU. It puts back everything that a guest can change at
// ring 0, whether this guest runs there or not (see the package comment), and knows
// of nothing that it may leave out.
//
// General and special registers and events travel in the run page (KVM_CAP_SYNC_REGS)
// and cost no system call. KVM takes them when KVM_RUN begins, in this order, so that
// the events come last.
func (v *VCPU) SetState(s *platform.CPUState) error {
	// What the guest left pending in the run page must not come back.
	v.page.dirtyRegs = 0
	if err := v.abandon(); err != nil {
		return fmt.Errorf("restore vCPU: %w", err)
	}
	if err := v.writeState(s); err != nil {
		return fmt.Errorf("restore vCPU: %w", err)
	}
	v.page.regs = kvm.Regs(s.Regs)
	specialToKVM(&v.page.sregs, &s.Special)
	v.flush(&v.page.sregs)
	v.page.CR8 = s.Special.CR8 // without a local APIC of its own KVM believes this one
	v.page.events = eventsToKVM(&s.Events)
	v.page.dirtyRegs = syncAll
	return nil
}

// mpRunnable is KVM_MP_STATE_RUNNABLE. Without a local APIC in the kernel KVM has no other:
// it refuses to set one, and what halts leaves to user space.
const mpRunnable = 0

// put is what a vCPU is known to hold of what the run page has no room for: from the time
// that it was written until KVM_RUN is called, for nothing else lets a guest change it.
type put struct {
	known bool
	xsave []byte
	xcr0  uint64
	debug platform.DebugRegs
	msrs  []platform.MSR // of the state; the others, and the counter's offset, are as after power-on
}

// writeState writes what the run page has no room for, but for what is known to be there.
// Under kvm_pvm a system call for a vCPU takes 9 µs, and a machine that goes from one
// snapshot to another with no guest between needs one of them.
func (v *VCPU) writeState(s *platform.CPUState) error {
	xsave, err := platform.FitXSave(s.XSave, len(v.xsave))
	if err != nil {
		return err
	}
	had := v.put
	v.put.known = false
	if s.MPState != mpRunnable {
		mp := kvm.MPState{State: s.MPState}
		if _, err := callPtr(v.h, "KVM_SET_MP_STATE", kvmSetMPState, &mp); err != nil {
			return err
		}
	}
	if !had.known || !bytes.Equal(had.xsave, xsave) {
		if err := callBytes(v.h, "KVM_SET_XSAVE", kvmSetXSave, xsave); err != nil {
			return err
		}
		v.put.xsave = append(v.put.xsave[:0], xsave...)
	}
	if !had.known || had.xcr0 != s.XCR0 {
		xcrs := kvm.XCRS{NrXRCS: 1}
		xcrs.Registers[0].Value = s.XCR0
		if _, err := callPtr(v.h, "KVM_SET_XCRS", kvmSetXCRs, &xcrs); err != nil {
			return fmt.Errorf("XCR0 %#x: %w", s.XCR0, err)
		}
		v.put.xcr0 = s.XCR0
	}
	if !had.known || had.debug != s.Debug {
		debug := kvm.DebugRegs{DB: s.Debug.DB, DR6: s.Debug.DR6, DR7: s.Debug.DR7, Flags: s.Debug.Flags}
		if _, err := callPtr(v.h, "KVM_SET_DEBUGREGS", kvmSetDebugRegs, &debug); err != nil {
			return err
		}
		v.put.debug = s.Debug
	}
	if !had.known || !slices.Equal(had.msrs, s.MSRs) {
		if err := v.writeMSRs(s.MSRs); err != nil {
			return err
		}
		v.put.msrs = append(v.put.msrs[:0], s.MSRs...)
	}
	v.put.known = true
	return nil
}

// writeMSRs puts the MSRs of a state back, all others, and what the guest's counter
// differs by.
func (v *VCPU) writeMSRs(list []platform.MSR) error {
	v.all = append(append(v.all[:0], list...), v.others...) // in one call, where they fit
	if err := v.putMSRs(v.all); err != nil {
		return err
	}
	if v.tellsTSC && !v.adjusted {
		return nil
	}
	if err := v.resetTSCOffset(); err != nil {
		return err
	}
	v.adjusted = false
	return nil
}

// cr3Flush is CR3's bit PWT (SDM vol. 3, 4.9), which changes nothing for memory that is
// cached anyway.
const cr3Flush = 1 << 3

// flush has KVM flush what there is of the guest's translations, as a write to CR3 does:
// the next registers have another value there than the last. Where KVM shadows the
// guest's page tables it looks at those that the guest wrote to. So nothing is left of
// entries that an instance made for itself and took away again.
func (v *VCPU) flush(s *kvm.Sregs) {
	v.cr3 ^= cr3Flush
	s.CR3 = s.CR3&^cr3Flush | v.cr3
}

// KVM_VCPU_TSC_CTRL and KVM_VCPU_TSC_OFFSET, Documentation/virt/kvm/devices/vcpu.rst, 4.
const (
	groupTSC   = 0
	attrOffset = 0
)

// learnTSCOffset finds what the guest's TSC adds to the host's: exactly, where
// the kernel tells (Linux 5.16), else by reading both. Under kvm_pvm a guest reads the
// host's counter itself; the offset there is only put back.
func (v *VCPU) learnTSCOffset(pvm bool) error {
	value := new(uint64)
	attr := attrOf(groupTSC, attrOffset, value)
	defer runtime.KeepAlive(value)
	if _, err := callPtr(v.h, "KVM_HAS_DEVICE_ATTR", kvmHasDeviceAttr, &attr); err == nil {
		if _, err := callPtr(v.h, "KVM_GET_DEVICE_ATTR TSC offset", kvmGetDeviceAttr, &attr); err != nil {
			return err
		}
		v.offset, v.hasOffset = *value, true
		if !pvm {
			v.tscOffset = int64(*value)
		}
		return nil
	}
	if pvm {
		return nil
	}
	b := &msrBlock{count: 1}
	b.entries[0].index = uint32(kvm.MSRIA32TSC)
	before := x86.TSC()
	n, err := callPtr(v.h, "KVM_GET_MSRS", kvmGetMSRs, b)
	if err != nil {
		return fmt.Errorf("read guest TSC: %w", err)
	}
	if n != 1 {
		return fmt.Errorf("read guest TSC: the kernel refused MSR %#x", b.entries[0].index)
	}
	after := x86.TSC()
	v.tscOffset = int64(b.entries[0].value - before - (after-before)/2)
	return nil
}

// resetTSCOffset undoes a guest's write to its TSC.
func (v *VCPU) resetTSCOffset() error {
	if !v.hasOffset {
		return nil
	}
	value := new(uint64)
	*value = v.offset
	attr := attrOf(groupTSC, attrOffset, value)
	_, err := callPtr(v.h, "KVM_SET_DEVICE_ATTR TSC offset", kvmSetDeviceAttr, &attr)
	runtime.KeepAlive(value)
	return err
}

func segmentFromKVM(s kvm.Segment) platform.Segment {
	return platform.Segment{Base: s.Base, Limit: s.Limit, Selector: s.Selector, Type: s.Typ, Present: s.Present,
		DPL: s.DPL, DB: s.DB, S: s.S, L: s.L, G: s.G, AVL: s.AVL, Unusable: s.Unusable}
}

func segmentToKVM(s *platform.Segment) kvm.Segment {
	return kvm.Segment{Base: s.Base, Limit: s.Limit, Selector: s.Selector, Typ: s.Type, Present: s.Present,
		DPL: s.DPL, DB: s.DB, S: s.S, L: s.L, G: s.G, AVL: s.AVL, Unusable: s.Unusable}
}

func specialFromKVM(d *platform.SpecialRegs, s *kvm.Sregs) {
	d.CS, d.DS, d.ES, d.FS = segmentFromKVM(s.CS), segmentFromKVM(s.DS), segmentFromKVM(s.ES), segmentFromKVM(s.FS)
	d.GS, d.SS, d.TR, d.LDT = segmentFromKVM(s.GS), segmentFromKVM(s.SS), segmentFromKVM(s.TR), segmentFromKVM(s.LDT)
	d.GDT = platform.Table{Base: s.GDT.Base, Limit: s.GDT.Limit}
	d.IDT = platform.Table{Base: s.IDT.Base, Limit: s.IDT.Limit}
	d.CR0, d.CR2, d.CR3, d.CR4, d.CR8 = s.CR0, s.CR2, s.CR3&^cr3Flush, s.CR4, s.CR8
	d.EFER, d.APICBase, d.InterruptBitmap = s.EFER, s.ApicBase, s.InterruptBitmap
}

func specialToKVM(d *kvm.Sregs, s *platform.SpecialRegs) {
	d.CS, d.DS, d.ES, d.FS = segmentToKVM(&s.CS), segmentToKVM(&s.DS), segmentToKVM(&s.ES), segmentToKVM(&s.FS)
	d.GS, d.SS, d.TR, d.LDT = segmentToKVM(&s.GS), segmentToKVM(&s.SS), segmentToKVM(&s.TR), segmentToKVM(&s.LDT)
	d.GDT = kvm.Descriptor{Base: s.GDT.Base, Limit: s.GDT.Limit}
	d.IDT = kvm.Descriptor{Base: s.IDT.Base, Limit: s.IDT.Limit}
	d.CR0, d.CR2, d.CR3, d.CR4, d.CR8 = s.CR0, s.CR2, s.CR3, s.CR4, s.CR8
	d.EFER, d.ApicBase, d.InterruptBitmap = s.EFER, s.APICBase, s.InterruptBitmap
}

func eventsFromKVM(s *kvm.VCPUEvents) platform.Events {
	return platform.Events{
		ExceptionInjected: s.E.Inject, ExceptionNr: s.E.Nr, ExceptionHasError: s.E.HadErrorCode,
		ExceptionPending: s.E.Pending, ExceptionError: s.E.ErrorCode,
		InterruptInjected: s.I.Inject, InterruptNr: s.I.Nr, InterruptSoft: s.I.Soft, InterruptShadow: s.I.Shadow,
		NMIInjected: s.N.Inject, NMIPending: s.N.Pending, NMIMasked: s.N.Masked, TripleFault: s.TripleFault,
		SIPIVector: s.SipiVector, Flags: s.Flags,
		SMM: s.S.SMM, SMIPending: s.S.Pening, SMMInsideNMI: s.S.SMMInsideNMI, LatchedInit: s.S.LatchedInit,
		ExceptionHasPayload: s.ExceptionHasPayload, ExceptionPayload: s.ExceptionPayload,
	}
}

func eventsToKVM(s *platform.Events) kvm.VCPUEvents {
	return kvm.VCPUEvents{
		E: kvm.Exception{Inject: s.ExceptionInjected, Nr: s.ExceptionNr, HadErrorCode: s.ExceptionHasError,
			Pending: s.ExceptionPending, ErrorCode: s.ExceptionError},
		I:          kvm.Interrupt{Inject: s.InterruptInjected, Nr: s.InterruptNr, Soft: s.InterruptSoft, Shadow: s.InterruptShadow},
		N:          kvm.NMI{Inject: s.NMIInjected, Pending: s.NMIPending, Masked: s.NMIMasked},
		SipiVector: s.SIPIVector, Flags: s.Flags,
		S:           kvm.SMI{SMM: s.SMM, Pening: s.SMIPending, SMMInsideNMI: s.SMMInsideNMI, LatchedInit: s.LatchedInit},
		TripleFault: s.TripleFault, ExceptionHasPayload: s.ExceptionHasPayload, ExceptionPayload: s.ExceptionPayload,
	}
}

// FaultAddress implements platform.VCPU. It costs an ioctl: only a guest that runs at
// CPL 3 and took a fault asks for it.
func (v *VCPU) FaultAddress() (uint64, error) {
	var sregs kvm.Sregs
	if _, err := callPtr(v.h, "KVM_GET_SREGS", kvmGetSregs, &sregs); err != nil {
		return 0, err
	}
	return sregs.CR2, nil
}
