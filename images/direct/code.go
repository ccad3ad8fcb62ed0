package direct

import (
	"cmp"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

// maxSection bounds a section of code; a larger one is damaged.
const maxSection = 1 << 30

// stretch is [start, end), at link-time addresses.
type stretch struct{ start, end uint64 }

// codeSpans returns the functions in a loaded layout, by place, as distances
// into it. It returns none when relocation writes into the code.
//
// Section headers and symbols are hints that a stripped file lacks. Then the
// code is the whole executable segment, and .eh_frame_hdr, which unwinding
// needs, tells the functions; without it there is one span.
func (l *Layout) codeSpans(r io.ReaderAt) ([]span, error) {
	f, err := elf.NewFile(r)
	if err != nil { // it could be read before
		return nil, fmt.Errorf("decode ELF: %w", err)
	}
	var starts []uint64
	for _, p := range f.Progs {
		switch p.Type {
		case elf.PT_DYNAMIC:
			textrel, err := hasTextrel(p)
			if textrel || err != nil {
				return nil, err
			}
		case elf.PT_GNU_EH_FRAME:
			starts = append(starts, ehFrameStarts(l.Mem, p.Vaddr-l.First, l.First)...)
		}
	}
	for _, read := range []func() ([]elf.Symbol, error){f.Symbols, f.DynamicSymbols} {
		symbols, err := read()
		if err != nil {
			continue // absent, or damaged and so no help
		}
		for _, s := range symbols {
			if t := elf.ST_TYPE(s.Info); (t == elf.STT_FUNC || t == elf.STT_GNU_IFUNC) && s.Section != elf.SHN_UNDEF {
				starts = append(starts, s.Value)
			}
		}
	}
	slices.Sort(starts)
	starts = slices.Compact(starts)
	var spans []span
	for _, c := range l.code(f.Sections) {
		at := c.start
		cut := func(end uint64) {
			spans = append(spans, span{start: at - l.First, end: end - l.First})
			at = end
		}
		i, _ := slices.BinarySearch(starts, at+1)
		for ; i < len(starts) && starts[i] < c.end; i++ {
			cut(starts[i])
		}
		cut(c.end)
	}
	return spans, nil
}

// code returns where the object's code lies: the executable sections, or else
// everything executable, as far as it comes from the file and no other segment
// claims the page.
func (l *Layout) code(sections []*elf.Section) []stretch {
	var named []stretch
	for _, s := range sections {
		const both = elf.SHF_ALLOC | elf.SHF_EXECINSTR
		if s.Type == elf.SHT_PROGBITS && s.Flags&both == both && s.Size <= maxSection {
			named = append(named, stretch{s.Addr, s.Addr + s.Size})
		}
	}
	slices.SortFunc(named, func(a, b stretch) int { return cmp.Compare(a.start, b.start) })
	var out []stretch
	var behind uint64
	add := func(start, end uint64) {
		if start = max(start, behind); start < end {
			out = append(out, stretch{start, end})
			behind = end
		}
	}
	for i, s := range l.Segments {
		if s.Flags&(elf.PF_X|elf.PF_W) != elf.PF_X {
			continue
		}
		end := s.FileEnd
		if i+1 < len(l.Segments) {
			end = min(end, pageFloor(l.Segments[i+1].Addr))
		}
		if len(named) == 0 {
			add(s.Addr, end)
		}
		for _, n := range named {
			add(max(n.start, s.Addr), min(n.end, end))
		}
	}
	return out
}

// hasTextrel looks for DT_TEXTREL and DF_TEXTREL in a dynamic section.
func hasTextrel(p *elf.Prog) (bool, error) {
	r := p.Open()
	var e elf.Dyn64
	for {
		switch err := binary.Read(r, binary.LittleEndian, &e); {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			return false, nil // not terminated; the dynamic loader's business
		case err != nil:
			return false, fmt.Errorf("read dynamic section: %w", err)
		}
		switch elf.DynTag(e.Tag) {
		case elf.DT_NULL:
			return false, nil
		case elf.DT_TEXTREL:
			return true, nil
		case elf.DT_FLAGS:
			if elf.DynFlag(e.Val)&elf.DF_TEXTREL != 0 {
				return true, nil
			}
		}
	}
}

// Pointer encodings of .eh_frame_hdr that linkers write (Linux Standard Base
// Core, "DWARF Exception Header Encoding"): a pc-relative int32, a uint32, and
// an int32 relative to the start of the header.
const (
	ehPCRelInt32   = 0x1b
	ehUint32       = 0x03
	ehDataRelInt32 = 0x3b
)

// ehFrameStarts returns the link-time addresses of the functions that the
// .eh_frame_hdr at hdr of a layout lists; none when the layout does not hold
// it or it is written in another way.
func ehFrameStarts(mem []byte, hdr, first uint64) []uint64 {
	const head, entry = 12, 8
	size := uint64(len(mem))
	if hdr > size || size-hdr < head {
		return nil
	}
	h := mem[hdr:]
	if h[0] != 1 || h[1] != ehPCRelInt32 || h[2] != ehUint32 || h[3] != ehDataRelInt32 {
		return nil
	}
	count := uint64(binary.LittleEndian.Uint32(h[8:]))
	if count > (size-hdr-head)/entry {
		return nil
	}
	out := make([]uint64, count)
	for i := range out {
		rel := int32(binary.LittleEndian.Uint32(h[head+i*entry:]))
		out[i] = first + hdr + uint64(int64(rel))
	}
	return out
}
