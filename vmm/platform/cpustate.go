package platform

import (
	"bytes"
	"fmt"
	"slices"
)

// Regs are the general registers of an x86-64 CPU.
type Regs struct {
	RAX, RBX, RCX, RDX uint64
	RSI, RDI, RSP, RBP uint64
	R8, R9, R10, R11   uint64
	R12, R13, R14, R15 uint64
	RIP, RFLAGS        uint64
}

// Segment is a segment register with its hidden part, Intel SDM vol. 3, 3.4.5.
type Segment struct {
	Base     uint64
	Limit    uint32
	Selector uint16
	Type     uint8
	Present  uint8
	DPL      uint8
	DB       uint8
	S        uint8
	L        uint8
	G        uint8
	AVL      uint8
	Unusable uint8
	Reserved uint8
}

// Table is GDTR or IDTR.
type Table struct {
	Base     uint64
	Limit    uint16
	Reserved [3]uint16
}

// SpecialRegs are segment, descriptor table and control registers.
type SpecialRegs struct {
	CS, DS, ES, FS, GS, SS, TR, LDT Segment
	GDT, IDT                        Table
	CR0, CR2, CR3, CR4, CR8         uint64
	EFER, APICBase                  uint64
	InterruptBitmap                 [4]uint64
}

// DebugRegs are DR0 to DR3, DR6 and DR7.
type DebugRegs struct {
	DB       [4]uint64
	DR6, DR7 uint64
	Flags    uint64
}

// Events are exceptions and interrupts on their way to the guest, in the terms
// of the architecture. Flags says which optional fields hold.
type Events struct {
	ExceptionInjected, ExceptionNr, ExceptionHasError, ExceptionPending uint8
	ExceptionError                                                      uint32
	InterruptInjected, InterruptNr, InterruptSoft, InterruptShadow      uint8
	NMIInjected, NMIPending, NMIMasked, TripleFault                     uint8
	SIPIVector, Flags                                                   uint32
	SMM, SMIPending, SMMInsideNMI, LatchedInit                          uint8
	ExceptionHasPayload                                                 uint8
	Reserved                                                            [3]uint8
	ExceptionPayload                                                    uint64
}

// MSR is a model-specific register and its value.
type MSR struct {
	Index    uint32
	Reserved uint32
	Value    uint64
}

// CPUState is everything a vCPU holds, apart from time: the time-stamp counter
// goes on by itself and guest time is rebased through the identity page.
type CPUState struct {
	Regs    Regs
	Special SpecialRegs
	Debug   DebugRegs
	Events  Events
	XCR0    uint64
	MPState uint32
	MSRs    []MSR  // ascending by index
	XSave   []byte // extended state, standard format
}

// Equal reports whether two states are the same, register by register and
// byte by byte.
func (s *CPUState) Equal(o *CPUState) bool {
	return s.Regs == o.Regs && s.Special == o.Special && s.Debug == o.Debug && s.Events == o.Events &&
		s.XCR0 == o.XCR0 && s.MPState == o.MPState && slices.Equal(s.MSRs, o.MSRs) && bytes.Equal(s.XSave, o.XSave)
}

// Clone returns an independent copy.
func (s *CPUState) Clone() CPUState {
	c := *s
	c.MSRs = slices.Clone(s.MSRs)
	c.XSave = bytes.Clone(s.XSave)
	return c
}

// FitXSave returns an extended state as an area of the given size. States of
// platforms with areas of different size differ in zeros at the end only; where
// that is not so it does not fit.
func FitXSave(x []byte, size int) ([]byte, error) {
	if len(x) == size {
		return x, nil
	}
	if len(x) > size {
		if len(bytes.TrimRight(x[size:], "\x00")) > 0 {
			return nil, fmt.Errorf("%w: extended state of %d bytes, this platform has %d", ErrStateMismatch, len(x), size)
		}
		return x[:size], nil
	}
	return append(bytes.Clone(x), make([]byte, size-len(x))...), nil
}
