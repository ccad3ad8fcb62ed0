// Package object reads the program headers of ELF files, and lays shared objects out as
// Linux loads them.
//
// Units: bytes; addresses are link-time. What it reads is believed nothing. Ownership: an
// Object holds no reference to what it was read from. Locks: none.
package object

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"seuss/guest"
	"seuss/images/direct"
)

// MaxLoadBytes bounds the loaded size of one object; a larger one is a
// damaged file or does not belong into a memory image.
const MaxLoadBytes = 1 << 30

// Bounds of what is read: a path of Linux, and the program headers that the kernel library
// looks at are far fewer.
const (
	maxInterp  = guest.PageSize - 1
	maxHeaders = 1 << 10
)

// ErrNotELF: the file is not an x86-64 ELF executable or shared object.
var ErrNotELF = errors.New("not an x86-64 ELF executable or shared object")

// Segment is one PT_LOAD program header.
type Segment struct {
	Vaddr, Off, Filesz, Memsz uint64
	Flags                     elf.ProgFlag
}

// FileEnd is the address behind the segment's bytes in the file.
func (s Segment) FileEnd() uint64 { return s.Vaddr + s.Filesz }

// MemEnd is the address behind the segment in memory.
func (s Segment) MemEnd() uint64 { return s.Vaddr + s.Memsz }

// Congruent says whether the segment can be mapped from the file by pages.
func (s Segment) Congruent() bool { return (s.Vaddr^s.Off)%guest.PageSize == 0 }

// Object is what the package needs to know of an ELF file.
type Object struct {
	Type     elf.Type // ET_EXEC or ET_DYN
	Entry    uint64
	Interp   string    // PT_INTERP, or empty
	Segments []Segment // sorted, not overlapping, at least one
	size     uint64    // of the file
}

// Read decodes an ELF file. It returns ErrNotELF for any other file, and
// another error for an ELF whose segments make no sense.
func Read(r io.ReaderAt, size int64) (*Object, error) {
	// Identification first: most files of a tree are not ELF, and debug/elf
	// reads section tables that may be damaged in files we only carry.
	var head [20]byte
	if n, err := r.ReadAt(head[:], 0); n < len(head) {
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read ELF identification: %w", err)
		}
		return nil, ErrNotELF
	}
	le16 := func(off int) uint16 { return uint16(head[off]) | uint16(head[off+1])<<8 }
	typ := elf.Type(le16(16))
	if !bytes.HasPrefix(head[:], []byte(elf.ELFMAG)) || elf.Class(head[4]) != elf.ELFCLASS64 ||
		elf.Data(head[5]) != elf.ELFDATA2LSB || elf.Machine(le16(18)) != elf.EM_X86_64 ||
		typ != elf.ET_EXEC && typ != elf.ET_DYN {
		return nil, ErrNotELF
	}
	headers, entry, err := readHeaders(r)
	if err != nil {
		return nil, fmt.Errorf("decode ELF: %w", err)
	}
	o := &Object{Type: typ, Entry: entry, size: uint64(size)}
	for _, p := range headers {
		switch elf.ProgType(p.Type) {
		case elf.PT_INTERP:
			if p.Filesz == 0 || p.Filesz > maxInterp {
				return nil, fmt.Errorf("ELF interpreter path has %d bytes", p.Filesz)
			}
			buf := make([]byte, p.Filesz)
			if err := ReadFull(r, buf, p.Off); err != nil {
				return nil, fmt.Errorf("read ELF interpreter path: %w", err)
			}
			o.Interp = string(bytes.TrimRight(buf, "\x00"))
		case elf.PT_LOAD:
			if p.Memsz == 0 {
				continue
			}
			o.Segments = append(o.Segments, Segment{p.Vaddr, p.Off, p.Filesz, p.Memsz, elf.ProgFlag(p.Flags)})
		}
	}
	return o, o.check()
}

// readHeaders reads the program headers. It does not use debug/elf, which reads sections
// too: those may be damaged, and lie at the end of a file of which there may be only a
// beginning so far.
func readHeaders(r io.ReaderAt) (headers []elf.Prog64, entry uint64, err error) {
	var h elf.Header64
	b := make([]byte, binary.Size(h))
	if err := ReadFull(r, b, 0); err != nil {
		return nil, 0, err
	}
	if _, err := binary.Decode(b, binary.LittleEndian, &h); err != nil {
		return nil, 0, err
	}
	size := binary.Size(elf.Prog64{})
	if int(h.Phentsize) != size && h.Phnum > 0 || h.Phnum > maxHeaders {
		return nil, 0, fmt.Errorf("%d program headers of %d bytes", h.Phnum, h.Phentsize)
	}
	headers = make([]elf.Prog64, h.Phnum)
	b = make([]byte, len(headers)*size)
	if h.Phoff > 1<<62 {
		return nil, 0, fmt.Errorf("program headers at %#x", h.Phoff)
	}
	if err := ReadFull(r, b, h.Phoff); err != nil {
		return nil, 0, fmt.Errorf("program headers: %w", err)
	}
	_, err = binary.Decode(b, binary.LittleEndian, headers)
	return headers, h.Entry, err
}

// check verifies that the segments lie in the file and in order in memory.
func (o *Object) check() error {
	if len(o.Segments) == 0 {
		return errors.New("ELF has no loadable segment")
	}
	const maxAddr = 1 << 47 // user half of the x86-64 address space
	var end uint64
	for i, s := range o.Segments {
		switch {
		case s.Vaddr > maxAddr || s.Memsz > maxAddr:
			return fmt.Errorf("ELF segment %d: address %#x with %#x bytes is out of range", i, s.Vaddr, s.Memsz)
		case s.Filesz > s.Memsz:
			return fmt.Errorf("ELF segment %d: %#x bytes in the file, only %#x in memory", i, s.Filesz, s.Memsz)
		case s.Off > o.size || s.Filesz > o.size-s.Off:
			return fmt.Errorf("ELF segment %d: [%#x, +%#x) lies outside the file of %#x bytes", i, s.Off, s.Filesz, o.size)
		case s.Vaddr < end:
			return fmt.Errorf("ELF segment %d: address %#x overlaps the segment before", i, s.Vaddr)
		}
		end = s.MemEnd()
	}
	return nil
}

// End is the address behind the last segment.
func (o *Object) End() uint64 { return o.Segments[len(o.Segments)-1].MemEnd() }

// First is the link-time address of the loaded layout.
func (o *Object) First() uint64 { return pageFloor(o.Segments[0].Vaddr) }

// DataOffset is where in the loaded layout the first page lies that may be written, or
// the layout's length.
func (o *Object) DataOffset() uint64 {
	for _, s := range o.Segments {
		if s.Flags&elf.PF_W != 0 {
			return pageFloor(s.Vaddr) - o.First()
		}
	}
	return pageCeil(o.End()) - o.First()
}

// Head returns how much of an ET_DYN file is, page by page, the beginning of its layout, and
// never written: one copy of it serves as both.
func (o *Object) Head() (head uint64) {
	for _, s := range o.Segments {
		start := pageFloor(s.Vaddr) - o.First()
		if s.Flags&elf.PF_W != 0 || start != pageFloor(s.Off) {
			head = min(head, start)
			break
		}
		if start > head {
			break
		}
		if head = max(head, pageCeil(s.FileEnd())-o.First()); s.Memsz > s.Filesz {
			head = min(head, pageFloor(s.FileEnd())-o.First())
			break
		}
	}
	return min(head, pageFloor(o.size))
}

// Executable says whether addr lies in an executable segment.
func (o *Object) Executable(addr uint64) bool {
	return slices.ContainsFunc(o.Segments, func(s Segment) bool {
		return s.Flags&elf.PF_X != 0 && addr >= s.Vaddr && addr < s.MemEnd()
	})
}

// LoadBytes returns the size of the loaded layout of an ET_DYN object: from
// the page of its first segment to the page behind its last.
func (o *Object) LoadBytes() (uint64, error) {
	n := pageCeil(o.End()) - o.First()
	if n > MaxLoadBytes {
		return 0, fmt.Errorf("ELF takes %#x bytes when loaded, at most %#x are supported", n, uint64(MaxLoadBytes))
	}
	for i, s := range o.Segments {
		if !s.Congruent() {
			return 0, fmt.Errorf("ELF segment %d: file offset %#x and address %#x differ within the page", i, s.Off, s.Vaddr)
		}
	}
	return n, nil
}

// Load returns the object as Linux maps it before relocation: whole file
// pages, so the edges of a segment show its neighbours in the file, a later
// segment wins a page that two share, and everything behind p_filesz of a
// segment with more memory than file is zero (elf_load in fs/binfmt_elf.c;
// _dl_map_segments of glibc). Pages between segments are zero.
func (o *Object) Load(r io.ReaderAt) ([]byte, error) {
	n, err := o.LoadBytes()
	if err != nil {
		return nil, err
	}
	first := o.First()
	mem := make([]byte, n)
	for i, s := range o.Segments {
		start := pageFloor(s.Vaddr) - first
		pages := mem[start : pageCeil(s.FileEnd())-first]
		clear(pages) // what lies behind the end of the file
		off := pageFloor(s.Off)
		inFile := min(uint64(len(pages)), o.size-min(off, o.size))
		if err := ReadFull(r, pages[:inFile], off); err != nil {
			return nil, fmt.Errorf("read ELF segment %d: %w", i, err)
		}
		if s.Memsz > s.Filesz {
			clear(mem[s.FileEnd()-first : pageCeil(s.MemEnd())-first])
		}
	}
	return mem, nil
}

// ReadFull fills buf from off; a short read is an error.
func ReadFull(r io.ReaderAt, buf []byte, off uint64) error {
	n, err := r.ReadAt(buf, int64(off))
	if n == len(buf) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("at %#x: got %d of %d bytes: %w", off, n, len(buf), err)
}

// PlanDirect plans the direct system calls in the loaded layout.
func (o *Object) PlanDirect(r io.ReaderAt) (direct.Plan, error) {
	mem, err := o.Load(r)
	if err != nil {
		return direct.Plan{}, err
	}
	l := direct.Layout{Mem: mem, First: o.First()}
	for _, s := range o.Segments {
		l.Segments = append(l.Segments, direct.Segment{Addr: s.Vaddr, FileEnd: s.FileEnd(), Flags: s.Flags})
	}
	return direct.New(r, l)
}

// LoadTo writes the layout from a page on, whose bytes are zero so far, to w, at a place that
// is that of its first byte. It needs little memory, however large the object.
func (o *Object) LoadTo(w io.WriterAt, at, from uint64, r io.ReaderAt) error {
	first := o.First()
	buf := make([]byte, 1<<20)
	for i, s := range o.Segments {
		start, end, off := pageFloor(s.Vaddr)-first, pageCeil(s.FileEnd())-first, pageFloor(s.Off)
		zeros := uint64(0) // behind the file's bytes, in their last page
		if s.Memsz > s.Filesz {
			zeros = end - (s.FileEnd() - first)
			end -= zeros
		}
		for pos := max(start, from); pos < end; {
			b := buf[:min(end-pos, uint64(len(buf)))]
			inFile := min(uint64(len(b)), o.size-min(off+pos-start, o.size))
			if err := ReadFull(r, b[:inFile], off+pos-start); err != nil {
				return fmt.Errorf("read ELF segment %d: %w", i, err)
			}
			clear(b[inFile:])
			if _, err := w.WriteAt(b, int64(at+pos)); err != nil {
				return err
			}
			pos += uint64(len(b))
		}
		if end >= from && zeros > 0 {
			if _, err := w.WriteAt(guest.ZeroPage[:zeros], int64(at+end)); err != nil {
				return err
			}
		}
	}
	return nil
}

func pageFloor(n uint64) uint64 { return n &^ (guest.PageSize - 1) }
func pageCeil(n uint64) uint64  { return pageFloor(n + guest.PageSize - 1) }
