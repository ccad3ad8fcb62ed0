// Package direct plans direct system calls in the loaded layout of a shared object or
// of a position-independent program.
//
// The kernel library lives in the program's address space and at its privilege
// level, so a jump reaches it; the syscall instruction reaches the same entry,
// but on a nested KVM through a world switch. In the loaded layout of a
// position-independent object the instructions before a syscall are therefore
// replaced by a jump to a trampoline behind the layout, which executes them,
// leaves in rcx and r11 what the instruction would have left there, and jumps
// to the kernel library. gVisor's systrap platform patches the same places.
//
// The syscall instruction itself stays where it is, and only the first
// patchBytes before it lose their meaning. A branch to it, or to any
// instruction behind those bytes, still works; so does the restart of an
// interrupted call, which moves RIP back onto it. A site is left alone unless
// no branch can lead into the bytes that change, see scan.go.
//
// While a call runs or waits, RIP in its frame is behind the syscall
// instruction, as ever, so unwinding sees nothing new. Only a signal that
// arrives within the trampoline's few instructions finds no unwind information.
//
// The kernel library takes the object's memory to be what the image holds, so
// this reaches shared objects and position-independent programs. An ET_EXEC
// program shares the pages of its file and stays as it is, and so does every
// file's content: read(2) returns the original bytes.
//
// Units: every place and size is in bytes; places are distances into the layout,
// addresses are link-time. Ownership: a Plan copies what it needs and belongs to its
// caller. Locks: none.
package direct

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"slices"

	"seuss/guest"
)

// patchBytes is the size of the jump that replaces instructions, e9 rel32.
const patchBytes = 5

// call is a syscall instruction that a trampoline serves.
type call struct {
	start      uint64  // where the jump goes: the first moved instruction
	end        uint64  // behind the syscall instruction: where the call returns to
	moved      []instr // executed by the trampoline instead
	code       []byte  // original bytes [start, end)
	trampoline uint64
}

// Plan is what changes in a loaded layout. All places are distances
// into the layout.
type Plan struct {
	Left  int    // syscall instructions that stay as they are
	Bytes uint64 // of trampolines behind the layout, a page multiple
	calls []call // by place, not overlapping
}

// Segment is a loadable part of the object.
type Segment struct {
	Addr, FileEnd uint64 // link-time; what lies behind FileEnd is not in the file
	Flags         elf.ProgFlag
}

// Layout is an object as Linux maps it, before relocation.
type Layout struct {
	Mem      []byte
	First    uint64    // link-time address of its first byte, page aligned
	Segments []Segment // by address, not overlapping
}

// New finds the system calls in the loaded layout of the object in r and settles where
// their trampolines lie.
func New(r io.ReaderAt, l Layout) (Plan, error) {
	var p Plan
	mem := l.Mem
	spans, err := l.codeSpans(r)
	if err != nil {
		return p, err
	}
	calls, left := newScan(mem, spans).calls()
	p.Left = left
	at := uint64(len(mem))
	for _, c := range calls {
		c.trampoline = at
		code, err := c.assemble()
		if errors.Is(err, errFar) { // reachable from the site, but not from behind the layout
			p.Left++
			continue
		}
		if err != nil {
			return Plan{}, err
		}
		p.calls = append(p.calls, c)
		at += uint64(len(code))
	}
	p.Bytes = pageCeil(at) - uint64(len(mem))
	return p, nil
}

// Calls is how many system calls trampolines serve.
func (p *Plan) Calls() int { return len(p.calls) }

// Apply patches a layout and returns it with the trampolines behind.
func (p *Plan) Apply(mem []byte) ([]byte, error) {
	planned := uint64(len(mem)) + p.Bytes
	mem = slices.Grow(mem, int(p.Bytes))
	for i := range p.calls {
		c := &p.calls[i]
		if !bytes.Equal(mem[c.start:c.end], c.code) {
			return nil, fmt.Errorf("system call at %#x of the layout: % x, planned for % x", c.start, mem[c.start:c.end], c.code)
		}
		code, err := c.assemble()
		if err != nil {
			return nil, err
		}
		if uint64(len(mem)) != c.trampoline {
			return nil, fmt.Errorf("trampoline for the system call at %#x lies at %#x, planned at %#x", c.start, len(mem), c.trampoline)
		}
		mem = append(mem, code...)
		jump, err := rel32([]byte{0xe9}, c.start, c.trampoline)
		if err != nil {
			return nil, err
		}
		copy(mem[c.start:], jump)
	}
	return append(mem, make([]byte, planned-uint64(len(mem)))...), nil
}

// Trampolines begin at a multiple of trampolineAlign; the usual one, for
// mov $nr,%eax, takes two of these units. int3 fills the rest.
const (
	trampolineAlign = 16
	int3            = 0xcc
)

// entryWord is where the kernel library keeps the address of its syscall entry
// (LSTAR): in abi_entries, below 2 GiB and so in reach of an absolute operand.
const entryWord = guest.KernelGPA + guest.EntriesSyscall

// callFlags is RFLAGS as the program finds it after the call: as at boot, bit 1,
// which is always set, alone. At CPL 3 popf leaves IF as it is, and at CPL 0 IF
// must stay clear. Of the others the psABI asks only that DF be clear, and every
// syscall wrapper declares the arithmetic flags clobbered.
const callFlags = 2

// assemble returns the trampoline's code, padded. It uses neither the stack,
// whose red zone belongs to the program, nor a register that a system call
// preserves.
func (c *call) assemble() ([]byte, error) {
	var out []byte
	for i := range c.moved {
		in := &c.moved[i]
		bytes := c.code[in.off-c.start:][:in.len]
		at := c.trampoline + uint64(len(out))
		var err error
		switch {
		case in.kind == kindBranch: // a short one gets the long form
			out, err = appendRel32(out, at, in.target, 0x0f, 0x80|bytes[len(bytes)-in.relBytes-1]&0x0f)
		case in.kind == kindMovable && in.relBytes == 0:
			out = append(out, bytes...)
		case in.kind == kindMovable && in.relBytes == 4:
			// What follows the displacement, an immediate, counts into the
			// address that it is relative to.
			var disp []byte
			disp, err = rel32(nil, at+uint64(in.len)-4, in.target)
			out = append(out, bytes...)
			copy(out[len(out)-in.len+in.relOff:], disp)
		default:
			err = fmt.Errorf("instruction % x cannot be moved", bytes)
		}
		if err != nil {
			return nil, fmt.Errorf("trampoline for the system call at %#x: %w", c.start, err)
		}
	}
	out, err := appendRel32(out, c.trampoline+uint64(len(out)), c.end, 0x48, 0x8d, 0x0d) // lea end(%rip),%rcx
	if err != nil {
		return nil, fmt.Errorf("trampoline for the system call at %#x: %w", c.start, err)
	}
	out = append(out, 0x41, 0xbb, callFlags, 0, 0, 0)                                        // mov $callFlags,%r11d
	out = append(out, 0xff, 0x24, 0x25, entryWord&0xff, entryWord>>8&0xff, entryWord>>16, 0) // jmp *entryWord
	for len(out)%trampolineAlign != 0 {
		out = append(out, int3)
	}
	return out, nil
}

// appendRel32 appends an instruction that ends in a relative operand.
func appendRel32(out []byte, at, target uint64, opcode ...byte) ([]byte, error) {
	code, err := rel32(opcode, at, target)
	return append(out, code...), err
}

// errFar: a relative operand does not reach its target.
var errFar = errors.New("out of reach of a 32-bit displacement")

// rel32 returns an opcode at a place, followed by the displacement to a target.
func rel32(opcode []byte, at, target uint64) ([]byte, error) {
	d := int64(target) - int64(at) - int64(len(opcode)) - 4
	if d != int64(int32(d)) {
		return nil, fmt.Errorf("from %#x to %#x: %w", at, target, errFar)
	}
	return append(slices.Clone(opcode), byte(d), byte(d>>8), byte(d>>16), byte(d>>24)), nil
}

// pageFloor rounds down to a page boundary, and pageCeil up.
func pageFloor(n uint64) uint64 { return n &^ (guest.PageSize - 1) }
func pageCeil(n uint64) uint64  { return pageFloor(n + guest.PageSize - 1) }

// First is where the first byte lies that changes; what is not patched at all has none, and
// a place behind every layout.
func (p *Plan) First() uint64 {
	if len(p.calls) == 0 {
		return 1 << 63
	}
	return p.calls[0].start
}
