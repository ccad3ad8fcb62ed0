package process

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/arch/x86/x86asm"
	"golang.org/x/sys/unix"

	"seuss/guest"
	"seuss/vmm/internal/x86"
	"seuss/vmm/platform"
	"seuss/vmm/platform/process/stub"
)

// VCPU is the guest in its stub.
type VCPU struct {
	vm    *VM
	state platform.CPUState // as last set; Regs, FS.Base and GS.Base are live
	load  moving            // a load from the device window that waits for its value
	fault uint64            // CR2
	// usage: the guest has run since the page faults were last asked for.
	usage   bool
	decoded map[code]x86asm.Inst // see decode
	faults  uint64
}

var _ platform.VCPU = (*VCPU)(nil)

// minXSave is the size of struct kvm_xsave: states have at least that much, so
// that the same state serves KVM.
const minXSave = 4096

// prepare gives a vCPU with memory its state after power-on. The MSRs are those that
// guests of KVM need; here they say where the system call entry is.
func (v *VCPU) prepare() {
	c := v.vm.platform.cpu
	x := make([]byte, max(minXSave, c.XSaveBytes))
	binary.LittleEndian.PutUint16(x[xFCW:], initFCW)
	binary.LittleEndian.PutUint32(x[xMXCSR:], initMXCSR)
	v.state = platform.CPUState{XCR0: c.XCR0, XSave: x, MSRs: []platform.MSR{{Index: x86.MSRSTAR}, {Index: x86.MSRLSTAR}, {Index: x86.MSRFMASK}}}
	v.state.Debug.DR6, v.state.Debug.DR7 = 0xffff0ff0, 0x400 // SDM vol. 3, table 9-1
	v.constants()
	v.putXSave()
}

// constants writes what the stub knows of its guest.
func (v *VCPU) constants() {
	a := v.vm.proc.area
	c := &v.vm.platform.cpu
	a.Spin = v.vm.platform.stubSpin
	a.XSaveMask, a.XSaveBytes = c.XCR0, min(uint64(c.XSaveBytes), stub.XSaveMax)
	for _, m := range v.state.MSRs {
		if m.Index == x86.MSRLSTAR {
			a.SyscallEntry = m.Value
		}
	}
}

// putXSave has the next run load the extended state.
func (v *VCPU) putXSave() {
	p := v.vm.proc
	room := p.mem[stub.XSaveOffset : stub.XSaveOffset+stub.XSaveMax]
	copy(room, v.state.XSave)
	p.area.LoadXSave = 1
}

// Run implements platform.VCPU.
func (v *VCPU) Run() (platform.Exit, error) {
	p := v.vm.proc
	v.finishLoad(0)
	v.vm.mem.tables.fault = 0
	for {
		// Also after a fault, which may have changed what is to be mapped.
		if err := v.vm.mem.flushUnless(p.kicked); err != nil {
			return v.failed(err)
		}
		// The stub looks too, but the guest can forge what it sees: one that faults
		// again and again must not go on for ever.
		if p.kicked() {
			return v.failed(errKicked)
		}
		v.putRegs()
		v.usage, v.vm.mem.ran = true, true
		err := p.hand(stub.CommandRun)
		if err == nil {
			err = p.await(0)
		}
		if err != nil {
			return v.failed(err)
		}
		exit, again := v.exit()
		if !again {
			return exit, nil
		}
	}
}

// failed tells what the guest did to its process from what the host did.
func (v *VCPU) failed(err error) (platform.Exit, error) {
	if errors.Is(err, errKicked) {
		v.ClearKick()
		return platform.Exit{Kind: platform.ExitInterrupted}, nil
	}
	var death *deathError
	switch {
	case errors.Is(err, errBroken):
		return platform.Exit{Kind: platform.ExitInternalError, Value: uint64(unix.SIGSYS), Why: err.Error()}, nil
	case errors.As(err, &death) && death.signal() == unix.SIGSYS:
		return platform.Exit{Kind: platform.ExitInternalError, Value: uint64(unix.SIGSYS), Why: "the guest made a system call of its process, which is not allowed"}, nil
	}
	return platform.Exit{}, fmt.Errorf("run vCPU at RIP %#x: %w", v.state.Regs.RIP, err)
}

// Flags that belong to the guest; of the others only IF is set outside.
const (
	guestFlags = 0x244dd5 // CF PF AF ZF SF TF DF OF NT AC ID, reserved bit 1 apart
	flagFixed  = 1 << 1
	flagIF     = 1 << 9
)

func (v *VCPU) putRegs() {
	a, r := v.vm.proc.area, &v.state.Regs
	a.RAX, a.RBX, a.RCX, a.RDX, a.RSI, a.RDI, a.RSP, a.RBP = r.RAX, r.RBX, r.RCX, r.RDX, r.RSI, r.RDI, r.RSP, r.RBP
	a.R8, a.R9, a.R10, a.R11, a.R12, a.R13, a.R14, a.R15 = r.R8, r.R9, r.R10, r.R11, r.R12, r.R13, r.R14, r.R15
	a.RIP, a.RFLAGS = r.RIP, r.RFLAGS&guestFlags|flagFixed|flagIF
	s := &v.state.Special
	a.FSBase, a.GSBase = s.FS.Base, s.GS.Base
	a.DS, a.ES, a.FS, a.GS = toHost(s.DS), toHost(s.ES), toHost(s.FS), toHost(s.GS)
}

// Selectors of Linux that load on every x86-64 kernel (asm/segment.h); a state
// has those of KVM's guests, whose data segment is a program's null selector.
const hostUserDS = 0x2b

func toHost(s platform.Segment) uint16 {
	if s.Selector == hostUserDS {
		return hostUserDS
	}
	return 0
}

func fromHost(s *platform.Segment, selector uint16) {
	switch {
	case selector == hostUserDS:
		s.Selector = hostUserDS
	case s.Selector == hostUserDS:
		s.Selector = guest.SelData3
	}
}

func (v *VCPU) getRegs() {
	a := v.vm.proc.area
	v.state.Regs = platform.Regs{
		RAX: a.RAX, RBX: a.RBX, RCX: a.RCX, RDX: a.RDX, RSI: a.RSI, RDI: a.RDI, RSP: a.RSP, RBP: a.RBP,
		R8: a.R8, R9: a.R9, R10: a.R10, R11: a.R11, R12: a.R12, R13: a.R13, R14: a.R14, R15: a.R15,
		RIP: a.RIP, RFLAGS: a.RFLAGS&guestFlags | flagFixed,
	}
	s := &v.state.Special
	s.FS.Base, s.GS.Base = a.FSBase, a.GSBase
	fromHost(&s.DS, a.DS)
	fromHost(&s.ES, a.ES)
	fromHost(&s.FS, a.FS)
	fromHost(&s.GS, a.GS)
}

// Kick implements platform.VCPU.
func (v *VCPU) Kick() {
	if p := v.vm.proc; p != nil {
		p.kick()
	}
}

// ClearKick implements platform.VCPU.
func (v *VCPU) ClearKick() { v.vm.proc.clearKick() }

// Settle implements platform.VCPU.
func (v *VCPU) Settle() error { return v.vm.proc.settle() }

// GuestCalls implements platform.VCPU.
func (v *VCPU) GuestCalls() platform.GuestCalls {
	p := v.vm.platform
	c := platform.GuestCalls{DeviceStore: p.entries.DeviceStore, Protect: true}
	if !p.cpu.FSGSBASE {
		c.SetBase = p.entries.SetBase
	}
	return c
}

// Regs implements platform.VCPU.
func (v *VCPU) Regs(into *platform.Regs) { *into = v.state.Regs }

// SetRegs implements platform.VCPU.
func (v *VCPU) SetRegs(r *platform.Regs) { v.state.Regs = *r }

// FaultAddress implements platform.VCPU.
func (v *VCPU) FaultAddress() (uint64, error) { return v.fault, nil }

// EventPending implements platform.VCPU: exceptions are delivered before Run returns.
func (v *VCPU) EventPending() bool { return false }

// TSCOffset implements platform.VCPU: the guest reads the host's counter.
func (v *VCPU) TSCOffset() int64 { return 0 }

// Faults implements platform.VCPU. The count is the kernel's, of the stub's process;
// the stub asks for it once it is known to be in its own code.
func (v *VCPU) Faults() uint64 {
	// A page that was claimed is one more that may change without a fault.
	if !v.usage {
		return v.faults + v.vm.mem.claims
	}
	const minor, major = 64, 72 // struct rusage
	p := v.vm.proc
	at := stub.Shared + uint64(stub.AreaUsage)
	if p.settle() != nil || p.call(unix.SYS_GETRUSAGE, unix.RUSAGE_SELF, at) != nil {
		v.faults++ // unknown counts as one; the next Run tells the reason
		return v.faults + v.vm.mem.claims
	}
	v.usage = false
	u := p.area.Usage[:]
	v.faults = binary.LittleEndian.Uint64(u[minor:]) + binary.LittleEndian.Uint64(u[major:])
	return v.faults + v.vm.mem.claims
}

// State implements platform.VCPU.
func (v *VCPU) State(into *platform.CPUState) error {
	p := v.vm.proc
	v.finishLoad(0)
	if err := p.settle(); err != nil {
		return fmt.Errorf("save vCPU: %w", err)
	}
	if atomic.LoadUint32(&p.area.LoadXSave) == 0 {
		if err := p.command(stub.CommandSave); err != nil {
			return fmt.Errorf("save vCPU: %w", err)
		}
	}
	copy(v.state.XSave, p.mem[stub.XSaveOffset:stub.XSaveOffset+stub.XSaveMax])
	canonical(v.state.XSave, v.vm.platform.cpu.XCR0, v.vm.platform.parts)
	x, msrs := into.XSave, into.MSRs
	*into = v.state
	into.XSave = append(x[:0], v.state.XSave...)
	into.MSRs = append(msrs[:0], v.state.MSRs...)
	return nil
}

// SetState implements platform.VCPU.
func (v *VCPU) SetState(s *platform.CPUState) error {
	for _, m := range s.MSRs {
		if !isMSR(m.Index) {
			return fmt.Errorf("restore vCPU: MSR %#x: there is none of that number", m.Index)
		}
	}
	if err := v.stopped(s); err != nil {
		return err
	}
	x, msrs := v.state.XSave, v.state.MSRs
	v.state = *s
	v.state.XSave = append(x[:0], s.XSave...)
	v.state.MSRs = append(msrs[:0], s.MSRs...)
	return v.fresh()
}

// isMSR reports whether x86 has, or KVM adds, MSRs near a number (AMD APM vol. 2,
// appendix A; Documentation/virt/kvm/x86/msr.rst). They are kept for KVM; the
// guest reaches none of them here.
func isMSR(index uint32) bool {
	const span = 0x2000
	return index < span || index-x86.MSRKVMFirst < 0x100 || index-x86.MSRExtended < span || index-x86.MSRAMDFirst < span
}

// stopped makes sure that nothing of the old instance runs on.
func (v *VCPU) stopped(s *platform.CPUState) error {
	if len(s.XSave) < int(min(v.vm.platform.cpu.XSaveBytes, minXSave)) {
		return fmt.Errorf("restore vCPU: extended state of %d bytes, this host uses %d", len(s.XSave), v.vm.platform.cpu.XSaveBytes)
	}
	v.load = moving{}
	if err := v.vm.proc.settle(); err != nil {
		return fmt.Errorf("restore vCPU: %w", err)
	}
	return nil
}

// fresh leaves nothing in the area that the guest could have put there, and
// makes the stub ready for the next run.
func (v *VCPU) fresh() error {
	p := v.vm.proc
	clear(p.mem[stub.AreaKick:]) // turn and asleep before it stay in use
	p.area.Sealed, p.area.LoadSegments = 1, 1
	v.constants()
	v.putXSave()
	if err := v.vm.mem.flush(); err != nil {
		return fmt.Errorf("restore vCPU: %w", err)
	}
	return nil
}

// CompleteRead implements platform.VCPU.
func (v *VCPU) CompleteRead(value uint64) { v.finishLoad(value) }
