package direct

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/arch/x86/x86asm"
)

// kind says what the patching of system calls may do with an instruction.
type kind uint8

const (
	kindOther    kind = iota // stays where it is
	kindMovable              // does the same elsewhere, once its displacement is adjusted
	kindBranch               // conditional branch, short or near, without prefixes
	kindSyscall              // the syscall instruction
	kindIndirect             // jump to an address that the code does not show
)

// instr is a decoded instruction.
type instr struct {
	off    uint64 // place in the layout
	target uint64 // where its relative operand leads, if it has one
	len    int
	kind   kind
	// Relative operand: its size in bytes, 0 = none, and its place.
	relBytes, relOff int
	loads            int64 // constant that it moves to eax, or -1
}

// movableOps are the instructions that compilers and C libraries put between
// the start of a wrapper and its system call. None depends on where it lies or
// transfers control. NOP is absent: it pads in front of a loop, so what it
// starts is not what runs.
var movableOps = func() map[x86asm.Op]bool {
	m := map[x86asm.Op]bool{}
	for _, op := range []x86asm.Op{
		x86asm.MOV, x86asm.MOVSX, x86asm.MOVSXD, x86asm.MOVZX, x86asm.LEA,
		x86asm.XOR, x86asm.AND, x86asm.OR, x86asm.NOT, x86asm.NEG, x86asm.ADD, x86asm.SUB,
		x86asm.SHL, x86asm.SHR, x86asm.SAR, x86asm.CMP, x86asm.TEST,
		x86asm.CMOVA, x86asm.CMOVAE, x86asm.CMOVB, x86asm.CMOVBE, x86asm.CMOVE, x86asm.CMOVNE,
		x86asm.CMOVG, x86asm.CMOVGE, x86asm.CMOVL, x86asm.CMOVLE, x86asm.CMOVS, x86asm.CMOVNS,
		x86asm.SETE, x86asm.SETNE, x86asm.MOVAPS, x86asm.MOVUPS,
	} {
		m[op] = true
	}
	return m
}()

var endbr64 = []byte{0xf3, 0x0f, 0x1e, 0xfa}

// decodeInstr decodes the instruction at the start of code, which lies at off
// of the layout. It reports false for bytes that it does not know, or when
// code ends within the instruction.
func decodeInstr(code []byte, off uint64) (instr, bool) {
	in := instr{off: off, loads: -1}
	if bytes.HasPrefix(code, endbr64) { // x86asm sees a lone prefix
		in.len = len(endbr64)
		return in, true
	}
	if n, ok := vectorLen(code); ok {
		in.len = n
		return in, n <= len(code)
	}
	x, err := x86asm.Decode(code[:min(len(code), 15)], 64)
	if err != nil || x.Len <= 0 || x.Len > len(code) {
		return in, false
	}
	in.len = x.Len
	in.relBytes, in.relOff = x.PCRel, x.PCRelOff
	next := int64(off) + int64(x.Len)
	known := x.PCRel == 0 // where the relative operand leads
	for _, a := range x.Args {
		switch a := a.(type) {
		case x86asm.Rel:
			in.target, known = uint64(next+int64(a)), true
		case x86asm.Mem:
			if a.Base == x86asm.RIP && x.PCRel == 4 {
				// a.Disp lacks the sign.
				disp := int32(binary.LittleEndian.Uint32(code[x.PCRelOff:]))
				in.target, known = uint64(next+int64(disp)), true
			}
		}
	}
	_, relative := x.Args[0].(x86asm.Rel)
	switch {
	case x.Op == x86asm.SYSCALL:
		// With a prefix it is no site that other code would recognise.
		if x.Len == 2 {
			in.kind = kindSyscall
		}
	case relative:
		short := x.Len == 2 && code[0]&0xf0 == 0x70 && x.PCRel == 1
		near := x.Len == 6 && code[0] == 0x0f && code[1]&0xf0 == 0x80 && x.PCRel == 4
		if short || near {
			in.kind = kindBranch
		}
	case x.Op == x86asm.JMP:
		in.kind = kindIndirect
	case movableOps[x.Op] && known:
		in.kind = kindMovable
		imm, ok := x.Args[1].(x86asm.Imm)
		if ok && x.Op == x86asm.MOV && (x.Args[0] == x86asm.EAX || x.Args[0] == x86asm.RAX) {
			in.loads = int64(imm)
		}
	}
	return in, true
}

// vectorLen returns the length of an instruction with a VEX or EVEX prefix
// (Intel SDM volume 2, 2.3 and 2.7), which x86asm knows only in part. It
// reports false for any other instruction. The length may exceed that of code.
func vectorLen(code []byte) (int, bool) {
	at := func(i int) byte {
		if i < len(code) {
			return code[i]
		}
		return 0
	}
	i := 0
	for i < len(code) && (code[i] == 0x67 || code[i] == 0x64 || code[i] == 0x65) { // address size, fs, gs
		i++
	}
	var opcodeMap byte
	switch at(i) {
	case 0xc5:
		opcodeMap, i = 1, i+2
	case 0xc4:
		opcodeMap, i = at(i+1)&0x1f, i+3
	case 0x62:
		opcodeMap, i = at(i+1)&7, i+4
	default:
		return 0, false
	}
	opcode := at(i)
	i++
	if opcodeMap == 1 && opcode == 0x77 { // vzeroupper, vzeroall
		return i, true
	}
	mod, rm := at(i)>>6, at(i)&7
	i++
	base := rm
	if mod != 3 && rm == 4 { // SIB byte
		base = at(i) & 7
		i++
	}
	switch {
	case mod == 1:
		i++
	case mod == 2, mod == 0 && base == 5:
		i += 4
	}
	switch {
	case opcodeMap == 3,
		opcodeMap == 1 && (opcode >= 0x70 && opcode <= 0x73 || opcode == 0xc2 || opcode >= 0xc4 && opcode <= 0xc6):
		i++ // immediate
	}
	return i, true
}
