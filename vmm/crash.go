package vmm

import (
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/arch/x86/x86asm"
	"golang.org/x/sys/unix"

	"seuss/guest"
	"seuss/vmm/platform"
)

// SymbolFunc names the function that an address lies in and the offset within
// it; an empty name means that it is not known.
type SymbolFunc func(addr uint64) (name string, offset uint64)

// CrashReport describes a guest that died, for a person.
type CrashReport struct {
	Cause   string // what happened, in one line
	Regs    platform.Regs
	FSBase  uint64
	Address uint64 // CR2, for a page fault
	HasAddr bool
	Thread  uint32 // thread that died, 0 if the machine and not a thread did
	Symbol  string // function around RIP
	Code    []CodeLine
	Console string // last output
}

// CodeLine is one instruction near the one that failed.
type CodeLine struct {
	Address uint64
	Bytes   []byte
	Text    string
	Here    bool // the instruction at RIP
}

const (
	// codeBefore and codeAfter are how many bytes around RIP are shown.
	codeBefore = 32
	codeAfter  = 32
	// longestInstruction is the architecture's limit in bytes.
	longestInstruction = 15
	// panicTextBytes bounds the kernel library's last words.
	panicTextBytes = 1024
)

// CrashReport describes why the guest stopped. It reads guest memory and may
// be called before the machine runs or is restored again. symbols may be nil.
func (m *Machine) CrashReport(s Stop, symbols SymbolFunc) *CrashReport {
	r := &CrashReport{Console: string(m.console.tail())}
	m.vcpu.Regs(&r.Regs)
	var state platform.CPUState
	if err := m.vcpu.State(&state); err == nil {
		r.Regs, r.FSBase, r.Address = state.Regs, state.Special.FS.Base, state.Special.CR2
	}
	switch s.Kind {
	case StopExit:
		r.Cause = fmt.Sprintf("the program exited with status %d", s.Code)
	case StopFault:
		m.describeFault(r, s)
	case StopPanic:
		r.Cause = "the kernel library gave up: " + textAt(m.mem, GPA(le64(m.control[guest.ControlPanicGPA:])))
	case StopDeviceError:
		r.Cause = fmt.Sprintf("the guest broke a device: %v", s.Err)
	case StopCrash:
		r.Cause = describeExit(s.Exit)
	default:
		r.Cause = fmt.Sprintf("the machine stopped: %v", s.Kind)
	}
	if symbols != nil {
		if name, off := symbols(r.Regs.RIP); name != "" {
			r.Symbol = fmt.Sprintf("%s+%#x", name, off)
		}
	}
	r.Code = disassemble(m.mem, r.Regs.RIP, symbols)
	return r
}

// describeFault takes registers and cause from the kernel library's report.
func (m *Machine) describeFault(r *CrashReport, s Stop) {
	r.Cause = fmt.Sprintf("the program was killed by %s", signalName(s.Code))
	var f guest.Fault
	if err := m.mem.ReadStruct(GPA(le64(m.control[guest.ControlFaultGPA:])), &f); err != nil {
		r.Cause += fmt.Sprintf(" (no report: %v)", err)
		return
	}
	g := &f.Frame
	r.Regs = platform.Regs{RAX: g.RAX, RBX: g.RBX, RCX: g.RCX, RDX: g.RDX, RSI: g.RSI, RDI: g.RDI, RSP: g.RSP, RBP: g.RBP,
		R8: g.R8, R9: g.R9, R10: g.R10, R11: g.R11, R12: g.R12, R13: g.R13, R14: g.R14, R15: g.R15, RIP: g.RIP, RFLAGS: g.RFLAGS}
	r.FSBase, r.Address, r.Thread = f.FSBase, f.Address, f.TID
	r.HasAddr = unix.Signal(s.Code) == unix.SIGSEGV || unix.Signal(s.Code) == unix.SIGBUS
	if name := exceptionName(g.Vector); name != "" {
		r.Cause += fmt.Sprintf(": %s, error code %#x", name, g.Error)
	}
	if r.HasAddr {
		if guard := describeGuard(m.mem, r); guard != "" {
			r.Cause += ": " + guard
		}
	}
}

func signalName(n uint32) string {
	if name := unix.SignalName(unix.Signal(n)); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", n)
}

// exceptionName names a vector, Intel SDM vol. 3, table 6-1.
func exceptionName(vector uint64) string {
	names := map[uint64]string{0: "divide error", 1: "debug exception", 3: "breakpoint", 4: "overflow", 5: "bound range exceeded",
		6: "invalid opcode", 7: "device not available", 8: "double fault", 10: "invalid TSS", 11: "segment not present",
		12: "stack-segment fault", 13: "general protection", 14: "page fault", 16: "x87 error", 17: "alignment check",
		18: "machine check", 19: "SIMD error", 21: "control protection"}
	return names[vector]
}

func describeExit(e platform.Exit) string {
	switch e.Kind {
	case platform.ExitShutdown:
		return "triple fault: an exception could not be delivered"
	case platform.ExitMMIORead:
		return fmt.Sprintf("load of %d bytes from %#x, where there is neither memory nor a device", e.Size, uint64(e.GPA))
	case platform.ExitMMIOWrite:
		return fmt.Sprintf("store of %#x (%d bytes) to %#x, where there is neither memory nor a device", e.Value, e.Size, uint64(e.GPA))
	case platform.ExitDoorbell:
		return fmt.Sprintf("doorbell %#x does not exist (value %#x)", uint64(e.GPA), e.Value)
	case platform.ExitInternalError:
		if e.Why != "" {
			return "the platform cannot go on: " + e.Why
		}
		return fmt.Sprintf("the platform cannot go on: exit reason %d, detail %#x", e.Value, e.Detail)
	}
	return fmt.Sprintf("unexpected exit: %v", e.Kind)
}

// textAt returns a NUL-terminated string of guest memory. What cannot be printed
// is replaced: it goes to somebody's terminal.
func textAt(mem *Memory, gpa GPA) string {
	for n := uint64(panicTextBytes); n > 0; n /= 2 {
		if b, err := mem.Slice(gpa, n); err == nil {
			if i := strings.IndexByte(string(b), 0); i >= 0 {
				b = b[:i]
			}
			return strings.Map(func(r rune) rune {
				if !unicode.IsPrint(r) {
					return '?'
				}
				return r
			}, strings.ToValidUTF8(string(b), "?"))
		}
	}
	return fmt.Sprintf("(no text at %#x)", uint64(gpa))
}

// disassemble decodes the instructions around rip. x86 cannot be decoded
// backwards, so of the starting points before rip it takes the earliest from
// which decoding arrives at rip exactly.
func disassemble(mem *Memory, rip uint64, symbols SymbolFunc) []CodeLine {
	start := rip - min(rip, codeBefore)
	var code []byte
	for ; ; start++ { // the window may begin outside memory
		n := min(rip+codeAfter, uint64(mem.end())) // rip is hostile
		if start > rip || n <= start || n <= rip {
			return nil
		}
		b, err := mem.Slice(GPA(start), n-start)
		if err == nil {
			code = append(code, b...)
			break
		}
	}
	for at := start; at < rip; at++ {
		if lines, ok := decode(code[at-start:], at, rip, symbols); ok {
			return lines
		}
	}
	lines, _ := decode(code[rip-start:], rip, rip, symbols)
	return lines
}

// decode decodes until codeAfter is used up; ok means that rip was met at the
// beginning of an instruction and everything before it was valid.
func decode(code []byte, at, rip uint64, symbols SymbolFunc) (lines []CodeLine, ok bool) {
	name := func(addr uint64) (string, uint64) {
		if symbols == nil {
			return "", 0
		}
		s, off := symbols(addr)
		return s, addr - off
	}
	for len(code) > 0 && at <= rip+longestInstruction {
		line := CodeLine{Address: at, Here: at == rip}
		ok = ok || line.Here
		inst, err := x86asm.Decode(code, 64)
		if err != nil {
			if at < rip {
				return nil, false
			}
			line.Bytes, line.Text = code[:1], "(bad)"
			if !line.Here {
				return lines, ok
			}
		} else {
			line.Bytes, line.Text = code[:inst.Len], x86asm.GNUSyntax(inst, at, name)
		}
		lines = append(lines, line)
		at += uint64(len(line.Bytes))
		code = code[len(line.Bytes):]
		if at > rip && !ok {
			return nil, false
		}
	}
	return lines, ok
}

// String renders the report.
func (r *CrashReport) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", r.Cause)
	if r.Thread != 0 {
		fmt.Fprintf(&b, "thread %d", r.Thread)
		if r.HasAddr {
			fmt.Fprintf(&b, ", address %#x", r.Address)
		}
		b.WriteByte('\n')
	}
	if r.Symbol != "" {
		fmt.Fprintf(&b, "in %s\n", r.Symbol)
	}
	g := &r.Regs
	fmt.Fprintf(&b, "\nRIP %016x  RFLAGS %08x  FS %016x\n", g.RIP, g.RFLAGS, r.FSBase)
	for i, row := range [][4]uint64{{g.RAX, g.RBX, g.RCX, g.RDX}, {g.RSI, g.RDI, g.RBP, g.RSP}, {g.R8, g.R9, g.R10, g.R11}, {g.R12, g.R13, g.R14, g.R15}} {
		names := [][4]string{{"RAX", "RBX", "RCX", "RDX"}, {"RSI", "RDI", "RBP", "RSP"}, {"R8 ", "R9 ", "R10", "R11"}, {"R12", "R13", "R14", "R15"}}[i]
		for j, v := range row {
			fmt.Fprintf(&b, "%s %016x  ", names[j], v)
		}
		b.WriteByte('\n')
	}
	if len(r.Code) > 0 {
		b.WriteByte('\n')
	}
	for _, l := range r.Code {
		mark := "  "
		if l.Here {
			mark = "=>"
		}
		fmt.Fprintf(&b, "%s %10x  %-30x  %s\n", mark, l.Address, l.Bytes, l.Text)
	}
	if r.Console != "" {
		fmt.Fprintf(&b, "\nlast output:\n%s\n", strings.TrimRight(strings.ToValidUTF8(r.Console, "?"), "\n"))
	}
	return b.String()
}
