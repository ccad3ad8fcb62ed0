package kvm

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"

	"github.com/bobuhiro11/gokvm/kvm"
	"golang.org/x/sys/unix"

	"seuss/guest"
	"seuss/vmm/platform"
)

// VCPU is a KVM vCPU. Kick may be called from any goroutine.
type VCPU struct {
	h         handle
	page      *runPage
	mapping   []byte
	immediate *atomic.Uint32 // first word of page, with immediateExitBit
	tid       atomic.Int32   // thread inside KVM_RUN, 0 = none
	pid       int
	usage     unix.Rusage
	faults    uint64 // page faults that running the guest has caused
	// unfinished: the last exit left something that KVM completes in the next
	// KVM_RUN, by writing to the guest's registers or with another exit. A store that
	// rings the doorbell leaves nothing: KVM has a part of it for each page that it is to,
	// and of a string instruction what remains is in the registers.
	unfinished bool

	saved     []uint32       // the platform's MSR list
	others    []platform.MSR // and the MSRs that no state has
	msrs      msrBlock
	differ    []platform.MSR // putMSRs's
	all       []platform.MSR // writeMSRs's
	put       put
	xsave     []byte
	cr3       uint64 // cr3Flush or not, as last set
	tscOffset int64  // what the guest's counter differs by, for its clock
	offset    uint64 // KVM's own value after power-on
	hasOffset bool   // and can be set
	tellsTSC  bool   // IA32_TSC_ADJUST is looked at, and tells of each change of it
	adjusted  bool   // it told of one, and the counter is not put back yet
}

var _ platform.VCPU = (*VCPU)(nil)

func newVCPU(vm *VM) (*VCPU, error) {
	p := vm.platform
	fd, err := vm.h.call("KVM_CREATE_VCPU", kvmCreateVCPU, 0)
	if err != nil {
		return nil, err
	}
	v := &VCPU{h: newHandle(uintptr(fd), "kvm-vcpu"), pid: unix.Getpid(), saved: p.msrs, others: p.others, xsave: make([]byte, p.xsaveBytes)}
	if err := v.init(p); err != nil {
		return nil, errors.Join(err, v.close())
	}
	return v, nil
}

func (v *VCPU) init(p *Platform) error {
	mapping, err := unix.Mmap(int(v.h.fd), 0, p.runBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map run page of %d bytes: %w", p.runBytes, err)
	}
	v.mapping = mapping
	if v.page, v.immediate, err = runPageOf(mapping); err != nil {
		return err
	}
	// CPUID first: newer kernels refuse control register bits, and with them
	// KVM_SET_SREGS, that the vCPU's CPUID does not announce.
	if _, err := callPtr(v.h, "KVM_SET_CPUID2", kvmSetCPUID2, p.cpuid); err != nil {
		return err
	}
	if !p.pvm && p.capability(capEnforcePVFeatureCPUID) != 0 {
		// Guests see no paravirtual leaves (supportedCPUID): hold them to it.
		if err := v.h.enable("KVM_CAP_ENFORCE_PV_FEATURE_CPUID", capEnforcePVFeatureCPUID, 1); err != nil {
			return err
		}
	}
	v.page.validRegs = syncRegs | syncEvents
	// Linux adds to IA32_TSC_ADJUST what a guest's write to either adds to the offset
	// (kvm_set_msr_common), in every version that tells the offset. On hardware, where the
	// host may change it too and a system call is cheap, it is put back every time.
	v.tellsTSC = p.pvm && slices.ContainsFunc(p.others, func(m platform.MSR) bool { return m.Index == uint32(kvm.MSRTSCADJUST) })
	return v.learnTSCOffset(p.pvm)
}

// Run implements platform.VCPU.
//
// The thread is fixed only while it is inside KVM_RUN, so that Kick knows whom
// to signal. A signal that is not a kick (Go preempts with the same one) makes
// KVM_RUN return too; the guest is then simply entered again.
func (v *VCPU) Run() (platform.Exit, error) {
	runtime.LockOSThread()
	v.tid.Store(int32(unix.Gettid()))
	v.put.known = false
	before := v.threadFaults()
	var errno unix.Errno
	for {
		errno = v.h.runOnce()
		if errno != unix.EINTR && errno != unix.EAGAIN || v.kicked() {
			break
		}
	}
	v.faults += v.threadFaults() - before
	v.tid.Store(0)
	runtime.UnlockOSThread()
	v.unfinished = false
	switch errno {
	case 0:
		return v.exit()
	case unix.EINTR, unix.EAGAIN:
		v.ClearKick()
		return platform.Exit{Kind: platform.ExitInterrupted}, nil
	}
	return platform.Exit{}, v.runError(errno)
}

// threadFaults returns the page faults that the calling thread has taken
// without disk access. KVM resolves the guest's faults on the vCPU's thread and
// the kernel counts them there, so a count that stood still means that the guest
// got no new page.
func (v *VCPU) threadFaults() uint64 {
	if unix.Getrusage(unix.RUSAGE_THREAD, &v.usage) != nil {
		v.usage.Minflt++ // unknown counts as one
	}
	return uint64(v.usage.Minflt) + uint64(v.usage.Majflt)
}

// Faults implements platform.VCPU.
func (v *VCPU) Faults() uint64 { return v.faults }

func (v *VCPU) runError(errno unix.Errno) error {
	if errno == unix.EINVAL {
		return fmt.Errorf("run vCPU at RIP %#x, CR0 %#x, CR4 %#x, EFER %#x: registers refused: %w",
			v.page.regs.RIP, v.page.sregs.CR0, v.page.sregs.CR4, v.page.sregs.EFER, errno)
	}
	return fmt.Errorf("run vCPU at RIP %#x: %w", v.page.regs.RIP, errno)
}

// exit translates struct kvm_run's exit data.
func (v *VCPU) exit() (platform.Exit, error) {
	d := &v.page.Data
	v.unfinished = true
	switch reason := kvm.ExitType(v.page.ExitReason); reason {
	case kvm.EXITMMIO:
		// { __u64 phys_addr; __u8 data[8]; __u32 len; __u8 is_write; }
		e := platform.Exit{GPA: guest.GPA(d[0]), Size: uint8(d[2])}
		if e.Size == 0 || e.Size > 8 {
			return e, fmt.Errorf("run vCPU: MMIO access of %d bytes at %#x", uint32(d[2]), d[0])
		}
		if d[2]>>32&0xff == 0 {
			e.Kind = platform.ExitMMIORead
			return e, nil
		}
		e.Kind, e.Value = platform.ExitMMIOWrite, d[1]&(^uint64(0)>>(64-8*uint(e.Size)))
		if e.GPA&^(pageSize-1) == guest.DoorbellGPA && e.Size == 4 {
			e.Kind = platform.ExitDoorbell
			e.GPA -= guest.DoorbellGPA
			v.unfinished = e.GPA == pageSize-4
		}
		return e, nil
	case kvm.EXITSHUTDOWN:
		return platform.Exit{Kind: platform.ExitShutdown}, nil
	case exitDirtyRingFull:
		return platform.Exit{Kind: platform.ExitDirtyFull}, nil
	case kvm.EXITINTR:
		return platform.Exit{Kind: platform.ExitInterrupted}, nil
	case kvm.EXITINTERNALERROR:
		return platform.Exit{Kind: platform.ExitInternalError, Value: uint64(reason), Detail: d[0] & 0xffffffff}, nil
	default: // hlt, port I/O, failed entry: nothing that our guests do on purpose
		return platform.Exit{Kind: platform.ExitInternalError, Value: uint64(reason), Detail: d[0]}, nil
	}
}

// Kick implements platform.VCPU. The flag is set before the thread is looked up: if
// the thread is about to enter KVM_RUN, the flag makes it return at once; if
// it is inside, the signal does. A signal that comes too late is harmless,
// since the Go runtime takes it for an unneeded preemption request.
func (v *VCPU) Kick() {
	v.immediate.Store(immediateExitBit)
	if tid := v.tid.Load(); tid != 0 {
		// ESRCH cannot happen while the thread is in KVM_RUN, and otherwise
		// there is nobody to interrupt.
		_ = unix.Tgkill(v.pid, int(tid), unix.SIGURG)
	}
}

func (v *VCPU) kicked() bool { return v.immediate.Load()&immediateExitBit != 0 }

// ClearKick implements platform.VCPU.
func (v *VCPU) ClearKick() { v.immediate.Store(0) }

// CompleteRead implements platform.VCPU.
func (v *VCPU) CompleteRead(value uint64) {
	v.page.Data[1] = value
}

// Settle implements platform.VCPU: once KVM_RUN has returned nothing runs.
func (v *VCPU) Settle() error { return nil }

// GuestCalls implements platform.VCPU: a guest of KVM has the instructions.
func (v *VCPU) GuestCalls() platform.GuestCalls { return platform.GuestCalls{} }

// Regs implements platform.VCPU.
func (v *VCPU) Regs(into *platform.Regs) { *into = platform.Regs(v.page.regs) }

// SetRegs implements platform.VCPU.
func (v *VCPU) SetRegs(r *platform.Regs) {
	v.page.regs = kvm.Regs(*r)
	v.page.dirtyRegs |= syncRegs
}

// EventPending implements platform.VCPU.
func (v *VCPU) EventPending() bool {
	e := &v.page.events
	return e.E.Inject|e.E.Pending|e.I.Inject|e.N.Inject|e.N.Pending != 0
}

// TSCOffset implements platform.VCPU.
func (v *VCPU) TSCOffset() int64 { return v.tscOffset }

// complete finishes a pending access without running the guest: api.rst, 5,
// "KVM_EXIT_MMIO". A kick that waits stays waiting. done is false where the access
// goes on: a store over two pages, or a string instruction.
func (v *VCPU) complete() (done bool, err error) {
	v.put.known = false
	waiting := v.immediate.Swap(immediateExitBit)
	errno := v.h.runOnce()
	if waiting == 0 {
		v.ClearKick()
	}
	switch errno {
	case unix.EINTR, unix.EAGAIN:
		v.unfinished = false
		return true, nil
	case 0:
		return false, nil
	}
	return false, fmt.Errorf("complete an access: %w", v.runError(errno))
}

// maxParts bounds the exits of what remains of an access: KVM splits one in two, and
// a string instruction ends with its count.
const maxParts = 4

// abandon ends what the guest had begun. Whatever that still writes to is replaced.
func (v *VCPU) abandon() error {
	if !v.unfinished {
		return nil
	}
	// A string instruction counts in RCX, which the emulator reads anew.
	v.page.regs.RCX = 0
	v.page.dirtyRegs = syncRegs
	for range maxParts {
		if done, err := v.complete(); done || err != nil {
			return err
		}
	}
	return fmt.Errorf("the guest's last access does not end: exit %d", v.page.ExitReason)
}

func (v *VCPU) close() error {
	var errs []error
	if v.mapping != nil {
		if err := unix.Munmap(v.mapping); err != nil {
			errs = append(errs, fmt.Errorf("unmap run page: %w", err))
		}
		v.mapping, v.page, v.immediate = nil, nil, nil
	}
	if err := v.h.close(); err != nil {
		errs = append(errs, fmt.Errorf("close vCPU: %w", err))
	}
	return errors.Join(errs...)
}

// xcr0Of finds XCR0 in a list of extended control registers.
func xcr0Of(x *kvm.XCRS) (uint64, error) {
	for _, r := range x.Registers[:min(x.NrXRCS, uint32(len(x.Registers)))] {
		if r.XRC == 0 {
			return r.Value, nil
		}
	}
	return 0, errors.New("get XCRs: the kernel returned no XCR0")
}
