package process

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/arch/x86/x86asm"
	"golang.org/x/sys/unix"

	"seuss/guest"
	"seuss/vmm/platform"
	"seuss/vmm/platform/process/stub"
)

// Exception vectors, SDM vol. 3, table 6-1.
const (
	vectors      = 32
	vecPageFault = 14
	errorWrite   = 1 << 1 // in a page fault's error code, SDM vol. 3, 4.7
)

// exit translates why the stub gave the turn back. Everything in the area may
// be forged: each word is read once. again means that the guest goes on.
func (v *VCPU) exit() (e platform.Exit, again bool) {
	a := v.vm.proc.area
	switch a.Reason {
	case stub.ReasonDevice:
		v.getRegs()
		return deviceStore(a.DeviceOffset, a.DeviceValue), false
	case stub.ReasonInterrupted:
		v.getRegs()
		v.ClearKick()
		return platform.Exit{Kind: platform.ExitInterrupted}, false
	case stub.ReasonSignal:
		v.getRegs()
		return v.signal(unix.Signal(a.Signal), a.Trap, a.Error, a.Address)
	}
	return platform.Exit{Kind: platform.ExitShutdown}, false
}

// deviceStore is a 4-byte store at an offset in the device window.
func deviceStore(offset, value uint64) platform.Exit {
	e := platform.Exit{Kind: platform.ExitMMIOWrite, GPA: guest.DeviceGPA + guest.GPA(uint32(offset)), Size: 4, Value: uint64(uint32(value))}
	if e.GPA&^(pageSize-1) == guest.DoorbellGPA {
		e.Kind = platform.ExitDoorbell
		e.GPA -= guest.DoorbellGPA
	}
	return e
}

// signal serves a fault of the guest as the processor would: an access to the
// device window is one of the monitor's, everything else an exception.
func (v *VCPU) signal(s unix.Signal, trap, code, address uint64) (e platform.Exit, again bool) {
	switch {
	case trap == vecPageFault && withoutMemory(address):
		return v.device(address)
	case s == unix.SIGSEGV && trap == vecPageFault && v.vm.mem.opens(address, code&errorWrite != 0):
		return e, true
	case s == unix.SIGBUS && trap == vecPageFault: // a file that ends early, or no memory left
		return platform.Exit{Kind: platform.ExitInternalError, Value: uint64(s), Detail: address, Why: fmt.Sprintf("a page of guest memory at %#x cannot be had: its file has ended, or the host has no memory for it", address)}, false
	case trap >= vectors:
		return platform.Exit{Kind: platform.ExitShutdown}, false
	}
	if trap == vecPageFault {
		v.fault = address
	}
	if !v.deliver(trap, code) {
		return platform.Exit{Kind: platform.ExitShutdown}, false // no way to deliver it: a triple fault
	}
	return e, true
}

// withoutMemory reports whether the guest's page tables, which serve it on KVM,
// map an address behind which there is no memory: the device window.
func withoutMemory(address uint64) bool {
	return address >= guest.DeviceGPA && address < guest.DeviceGPA+guest.ImageAlign
}

// Where the processor finds a handler and its stack, SDM vol. 3, 6.14 and 7.7.
const (
	gateBytes = 16
	tssIST1   = guest.TSSIST1

	gatePresent = 1 << 47
)

// hasErrorCode tells which exceptions push one, SDM vol. 3, 6.13.
func hasErrorCode(vector uint64) bool {
	switch vector {
	case 8, 10, 11, 12, 13, 14, 17, 21, 29, 30:
		return true
	}
	return false
}

// deliver makes the guest enter the handler of an exception, through the gates
// that are in its memory for KVM.
func (v *VCPU) deliver(vector, code uint64) bool {
	gate, ok := v.words(guest.IDTGPA+vector*gateBytes, 2)
	if !ok || gate[0]&gatePresent == 0 {
		return false
	}
	ist, ok := v.words(guest.TSSGPA+tssIST1, 1)
	if !ok {
		return false
	}
	handler := gate[0]&0xffff | gate[0]>>48<<16 | gate[1]<<32
	r := &v.state.Regs
	frame := []uint64{r.RIP, guest.SelCode3, r.RFLAGS | flagIF, r.RSP, guest.SelData3}
	if hasErrorCode(vector) {
		frame = append([]uint64{code}, frame...)
	}
	sp := ist[0]&^15 - uint64(8*len(frame))
	window, ok := v.claim(sp, uint64(8*len(frame)))
	if !ok {
		return false
	}
	for i, w := range frame {
		binary.LittleEndian.PutUint64(window[8*i:], w)
	}
	const cleared = 1<<8 | 1<<14 | 1<<16 // TF, NT, RF
	r.RIP, r.RSP, r.RFLAGS = handler, sp, r.RFLAGS&^cleared
	return true
}

// claim returns guest memory for the monitor to write.
func (v *VCPU) claim(gpa, n uint64) ([]byte, bool) {
	m := v.vm.mem
	if end := uint64(len(m.window)); gpa < guest.LowGPA || gpa > end || n > end-gpa {
		return nil, false
	}
	if m.Claim(gpa/pageSize, (gpa+n-1)/pageSize-gpa/pageSize+1) != nil {
		return nil, false
	}
	return m.window[gpa : gpa+n], true
}

// read copies guest memory, as far as there is any.
func (v *VCPU) read(gpa uint64, p []byte) (n int) {
	m := v.vm.mem
	for n < len(p) && gpa >= guest.LowGPA && gpa < uint64(len(m.window)) {
		k := copy(p[n:], m.Page(gpa / pageSize)[gpa%pageSize:])
		n, gpa = n+k, gpa+uint64(k)
	}
	return n
}

// words reads n words of guest memory.
func (v *VCPU) words(gpa uint64, n int) ([]uint64, bool) {
	b := make([]byte, 8*n)
	if v.read(gpa, b) < len(b) {
		return nil, false
	}
	out := make([]uint64, n)
	for i := range out {
		out[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return out, true
}

// moving is a load from the device window: where its value goes.
type moving struct {
	to   *uint64
	size int // bytes of the register that change; 4 clears the upper half
}

// finishLoad completes a pending load.
func (v *VCPU) finishLoad(value uint64) {
	m := v.load
	v.load = moving{}
	if m.to == nil {
		return
	}
	switch m.size {
	case 8:
		*m.to = value
	case 4:
		*m.to = value & 0xffffffff
	default:
		mask := uint64(1)<<(8*m.size) - 1
		*m.to = *m.to&^mask | value&mask
	}
}

// device decodes the instruction that touched the device window: a plain move.
// Anything else there is as much a mistake as it is on KVM.
func (v *VCPU) device(address uint64) (platform.Exit, bool) {
	r := &v.state.Regs
	in, ok := v.decode(r.RIP)
	if !ok || in.Op != x86asm.MOV || in.MemBytes == 0 || in.MemBytes > 8 {
		return noPlainMove(address), false
	}
	e := platform.Exit{GPA: guest.GPA(address), Size: uint8(in.MemBytes)}
	if _, store := in.Args[0].(x86asm.Mem); store {
		switch src := in.Args[1].(type) {
		case x86asm.Imm:
			e.Value = uint64(src)
		case x86asm.Reg:
			reg, shift := register(r, src)
			if reg == nil {
				return noPlainMove(address), false
			}
			e.Value = *reg >> shift
		default:
			return noPlainMove(address), false
		}
		r.RIP += uint64(in.Len)
		e.Value &= ^uint64(0) >> (64 - 8*in.MemBytes)
		if in.MemBytes == 4 {
			return deviceStore(address-guest.DeviceGPA, e.Value), false
		}
		e.Kind = platform.ExitMMIOWrite
		return e, false
	}
	dst, isReg := in.Args[0].(x86asm.Reg)
	reg, shift := register(r, dst)
	if !isReg || reg == nil || shift != 0 {
		return noPlainMove(address), false
	}
	r.RIP += uint64(in.Len)
	v.load = moving{reg, in.MemBytes}
	e.Kind = platform.ExitMMIORead
	return e, false
}

func noPlainMove(address uint64) platform.Exit {
	return platform.Exit{Kind: platform.ExitInternalError, Value: uint64(unix.SIGSEGV), Detail: address, Why: fmt.Sprintf("the guest touched the device window at %#x by something else than a plain move", address)}
}

// code is the longest that an instruction can be.
type code [15]byte

// maxDecoded bounds the instructions that a vCPU remembers.
const maxDecoded = 64

// decode decodes the instruction at an address. It remembers what bytes mean,
// so that a guest which goes on ringing allocates nothing.
func (v *VCPU) decode(rip uint64) (x86asm.Inst, bool) {
	var c code
	n := v.read(rip, c[:])
	if in, known := v.decoded[c]; known {
		return in, true
	}
	in, err := x86asm.Decode(c[:n], 64)
	if err != nil {
		return in, false
	}
	if v.decoded == nil || len(v.decoded) >= maxDecoded {
		v.decoded = map[code]x86asm.Inst{}
	}
	v.decoded[c] = in
	return in, true
}

// register returns where an operand's register is kept, nil if it is no general
// one, and by how much its value is shifted (ah, bh, ch, dh).
func register(r *platform.Regs, x x86asm.Reg) (at *uint64, shift int) {
	order := [...]*uint64{&r.RAX, &r.RCX, &r.RDX, &r.RBX, &r.RSP, &r.RBP, &r.RSI, &r.RDI,
		&r.R8, &r.R9, &r.R10, &r.R11, &r.R12, &r.R13, &r.R14, &r.R15}
	switch {
	case x >= x86asm.AL && x <= x86asm.BL:
		return order[x-x86asm.AL], 0
	case x >= x86asm.AH && x <= x86asm.BH:
		return order[x-x86asm.AH], 8
	case x >= x86asm.SPB && x <= x86asm.R15B:
		return order[x-x86asm.SPB+4], 0
	case x >= x86asm.AX && x <= x86asm.R15W:
		return order[x-x86asm.AX], 0
	case x >= x86asm.EAX && x <= x86asm.R15L:
		return order[x-x86asm.EAX], 0
	case x >= x86asm.RAX && x <= x86asm.R15:
		return order[x-x86asm.RAX], 0
	}
	return nil, 0
}
