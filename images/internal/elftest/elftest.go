// Package elftest makes ELF files for the tests of images: x86-64, with the program
// headers that a test asks for and no sections.
//
// Units: bytes. It has no state and no locks.
package elftest

import (
	"debug/elf"
	"encoding/binary"
)

// Segment is a program header of a synthetic ELF.
type Segment struct {
	Type              elf.ProgType // 0 = PT_LOAD
	Vaddr, Off, Memsz uint64
	Data              []byte
	Flags             elf.ProgFlag
}

// Make returns an x86-64 ELF with the given program headers and no sections.
func Make(typ elf.Type, entry uint64, segs ...Segment) []byte {
	h := elf.Header64{
		Type: uint16(typ), Machine: uint16(elf.EM_X86_64), Version: 1, Entry: entry,
		Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: uint16(len(segs)), Shentsize: 64,
	}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
	var out []byte
	put := func(v any) {
		var err error
		if out, err = binary.Append(out, binary.LittleEndian, v); err != nil {
			panic(err)
		}
	}
	put(h)
	end := uint64(0)
	for _, s := range segs {
		if s.Type == elf.PT_NULL {
			s.Type = elf.PT_LOAD
		}
		put(elf.Prog64{
			Type: uint32(s.Type), Flags: uint32(s.Flags), Off: s.Off, Vaddr: s.Vaddr, Paddr: s.Vaddr,
			Filesz: uint64(len(s.Data)), Memsz: max(s.Memsz, uint64(len(s.Data))), Align: 4096,
		})
		end = max(end, s.Off+uint64(len(s.Data)))
	}
	if n := int(end) - len(out); n > 0 {
		out = append(out, make([]byte, n)...)
	}
	for _, s := range segs {
		copy(out[s.Off:], s.Data)
	}
	return out
}
