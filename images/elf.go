package images

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"slices"

	"seuss/guest"
	"seuss/images/direct"
)

// maxLoadBytes bounds the loaded size of one object; a larger one is a
// damaged file or does not belong into a memory image.
const maxLoadBytes = 1 << 30

// errNotELF: the file is not an x86-64 ELF executable or shared object.
var errNotELF = errors.New("not an x86-64 ELF executable or shared object")

// segment is one PT_LOAD program header.
type segment struct {
	vaddr, off, filesz, memsz uint64
	flags                     elf.ProgFlag
}

// fileEnd is the address behind the segment's bytes in the file.
func (s segment) fileEnd() uint64 { return s.vaddr + s.filesz }

// memEnd is the address behind the segment in memory.
func (s segment) memEnd() uint64 { return s.vaddr + s.memsz }

// congruent says whether the segment can be mapped from the file by pages.
func (s segment) congruent() bool { return (s.vaddr^s.off)%guest.PageSize == 0 }

// object is what the package needs to know of an ELF file.
type object struct {
	typ    elf.Type // ET_EXEC or ET_DYN
	entry  uint64
	interp string    // PT_INTERP, or empty
	segs   []segment // sorted, not overlapping, at least one
	size   uint64    // of the file
}

// readObject decodes an ELF file. It returns errNotELF for any other file, and
// another error for an ELF whose segments make no sense.
func readObject(r io.ReaderAt, size int64) (*object, error) {
	// Identification first: most files of a tree are not ELF, and debug/elf
	// reads section tables that may be damaged in files we only carry.
	var head [20]byte
	if n, err := r.ReadAt(head[:], 0); n < len(head) {
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read ELF identification: %w", err)
		}
		return nil, errNotELF
	}
	le16 := func(off int) uint16 { return uint16(head[off]) | uint16(head[off+1])<<8 }
	typ := elf.Type(le16(16))
	if !bytes.HasPrefix(head[:], []byte(elf.ELFMAG)) || elf.Class(head[4]) != elf.ELFCLASS64 ||
		elf.Data(head[5]) != elf.ELFDATA2LSB || elf.Machine(le16(18)) != elf.EM_X86_64 ||
		typ != elf.ET_EXEC && typ != elf.ET_DYN {
		return nil, errNotELF
	}
	f, err := elf.NewFile(r)
	if err != nil {
		return nil, fmt.Errorf("decode ELF: %w", err)
	}
	o := &object{typ: typ, entry: f.Entry, size: uint64(size)}
	for _, p := range f.Progs {
		switch p.Type {
		case elf.PT_INTERP:
			if p.Filesz == 0 || p.Filesz > maxSymlink {
				return nil, fmt.Errorf("ELF interpreter path has %d bytes", p.Filesz)
			}
			buf := make([]byte, p.Filesz)
			if err := readFull(r, buf, p.Off); err != nil {
				return nil, fmt.Errorf("read ELF interpreter path: %w", err)
			}
			o.interp = string(bytes.TrimRight(buf, "\x00"))
		case elf.PT_LOAD:
			if p.Memsz == 0 {
				continue
			}
			o.segs = append(o.segs, segment{p.Vaddr, p.Off, p.Filesz, p.Memsz, p.Flags})
		}
	}
	return o, o.check()
}

// check verifies that the segments lie in the file and in order in memory.
func (o *object) check() error {
	if len(o.segs) == 0 {
		return errors.New("ELF has no loadable segment")
	}
	const maxAddr = 1 << 47 // user half of the x86-64 address space
	var end uint64
	for i, s := range o.segs {
		switch {
		case s.vaddr > maxAddr || s.memsz > maxAddr:
			return fmt.Errorf("ELF segment %d: address %#x with %#x bytes is out of range", i, s.vaddr, s.memsz)
		case s.filesz > s.memsz:
			return fmt.Errorf("ELF segment %d: %#x bytes in the file, only %#x in memory", i, s.filesz, s.memsz)
		case s.off > o.size || s.filesz > o.size-s.off:
			return fmt.Errorf("ELF segment %d: [%#x, +%#x) lies outside the file of %#x bytes", i, s.off, s.filesz, o.size)
		case s.vaddr < end:
			return fmt.Errorf("ELF segment %d: address %#x overlaps the segment before", i, s.vaddr)
		}
		end = s.memEnd()
	}
	return nil
}

// end is the address behind the last segment.
func (o *object) end() uint64 { return o.segs[len(o.segs)-1].memEnd() }

// first is the link-time address of the loaded layout.
func (o *object) first() uint64 { return pageFloor(o.segs[0].vaddr) }

// dataOffset is where in the loaded layout the first page lies that may be written, or
// the layout's length.
func (o *object) dataOffset() uint64 {
	for _, s := range o.segs {
		if s.flags&elf.PF_W != 0 {
			return pageFloor(s.vaddr) - o.first()
		}
	}
	return pageCeil(o.end()) - o.first()
}

// executable says whether addr lies in an executable segment.
func (o *object) executable(addr uint64) bool {
	return slices.ContainsFunc(o.segs, func(s segment) bool {
		return s.flags&elf.PF_X != 0 && addr >= s.vaddr && addr < s.memEnd()
	})
}

// loadBytes returns the size of the loaded layout of an ET_DYN object: from
// the page of its first segment to the page behind its last.
func (o *object) loadBytes() (uint64, error) {
	n := pageCeil(o.end()) - o.first()
	if n > maxLoadBytes {
		return 0, fmt.Errorf("ELF takes %#x bytes when loaded, at most %#x are supported", n, uint64(maxLoadBytes))
	}
	for i, s := range o.segs {
		if !s.congruent() {
			return 0, fmt.Errorf("ELF segment %d: file offset %#x and address %#x differ within the page", i, s.off, s.vaddr)
		}
	}
	return n, nil
}

// load returns the object as Linux maps it before relocation: whole file
// pages, so the edges of a segment show its neighbours in the file, a later
// segment wins a page that two share, and everything behind p_filesz of a
// segment with more memory than file is zero (elf_load in fs/binfmt_elf.c;
// _dl_map_segments of glibc). Pages between segments are zero.
func (o *object) load(r io.ReaderAt) ([]byte, error) {
	n, err := o.loadBytes()
	if err != nil {
		return nil, err
	}
	first := o.first()
	mem := make([]byte, n)
	for i, s := range o.segs {
		start := pageFloor(s.vaddr) - first
		pages := mem[start : pageCeil(s.fileEnd())-first]
		clear(pages) // what lies behind the end of the file
		off := pageFloor(s.off)
		inFile := min(uint64(len(pages)), o.size-min(off, o.size))
		if err := readFull(r, pages[:inFile], off); err != nil {
			return nil, fmt.Errorf("read ELF segment %d: %w", i, err)
		}
		if s.memsz > s.filesz {
			clear(mem[s.fileEnd()-first : pageCeil(s.memEnd())-first])
		}
	}
	return mem, nil
}

// readFull fills buf from off; a short read is an error.
func readFull(r io.ReaderAt, buf []byte, off uint64) error {
	n, err := r.ReadAt(buf, int64(off))
	if n == len(buf) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("at %#x: got %d of %d bytes: %w", off, n, len(buf), err)
}

// planDirect plans the direct system calls in the loaded layout.
func (o *object) planDirect(r io.ReaderAt) (direct.Plan, error) {
	mem, err := o.load(r)
	if err != nil {
		return direct.Plan{}, err
	}
	l := direct.Layout{Mem: mem, First: o.first()}
	for _, s := range o.segs {
		l.Segments = append(l.Segments, direct.Segment{Addr: s.vaddr, FileEnd: s.fileEnd(), Flags: s.flags})
	}
	return direct.New(r, l)
}
