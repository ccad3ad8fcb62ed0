package images

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io"

	"seuss/guest"
	"seuss/images/internal/object"
)

// placement is a run of guest pages at a link address. A shared one is backed
// by the pages of the program's own file in the image, another by a copy.
type placement struct {
	gpa, bytes uint64
	shared     bool
	fileOff    uint64  // shared: page offset in the file
	pieces     []piece // copy: what to take from the file; the rest is zero
}

// piece is n bytes of the file at off that appear at a distance into a copy.
type piece struct{ at, off, n uint64 }

// fill returns the content of a copied placement.
func (p placement) fill(r io.ReaderAt) ([]byte, error) {
	buf := make([]byte, p.bytes)
	for _, c := range p.pieces {
		if err := object.ReadFull(r, buf[c.at:c.at+c.n], c.off); err != nil {
			return nil, fmt.Errorf("read pages for %#x: %w", p.gpa, err)
		}
	}
	return buf, nil
}

// placeCopies lays the segments out exactly, [p_vaddr, p_vaddr+p_filesz) each
// and zero around it, one copied run per stretch of neighbouring pages.
func placeCopies(o *object.Object) []placement {
	var out []placement
	for _, s := range o.Segments {
		if s.Filesz == 0 {
			continue
		}
		start, end := pageFloor(s.Vaddr), pageCeil(s.FileEnd())
		if n := len(out); n == 0 || start > out[n-1].gpa+out[n-1].bytes {
			out = append(out, placement{gpa: start})
		}
		run := &out[len(out)-1]
		run.bytes = end - run.gpa
		run.pieces = append(run.pieces, piece{s.Vaddr - run.gpa, s.Off, s.Filesz})
	}
	return out
}

// placeProgram places an ET_EXEC program. Where the file maps by pages and no
// two segments meet in a guest page, the guest sees the file's own pages, so
// they cost the image nothing. Only the page in which a writable segment ends
// is copied, because what follows it in the file must read as zero.
func placeProgram(o *object.Object) []placement {
	var behind uint64
	for _, s := range o.Segments {
		if !s.Congruent() || pageFloor(s.Vaddr) < behind {
			return placeCopies(o)
		}
		behind = pageCeil(s.MemEnd())
	}
	var out []placement
	share := func(gpa, end, off uint64) {
		if end == gpa {
			return
		}
		if n := len(out); n > 0 {
			if p := &out[n-1]; p.shared && p.gpa+p.bytes == gpa && p.fileOff+p.bytes == off {
				p.bytes += end - gpa
				return
			}
		}
		out = append(out, placement{gpa: gpa, bytes: end - gpa, shared: true, fileOff: off})
	}
	for _, s := range o.Segments {
		if s.Filesz == 0 {
			continue
		}
		start, end, off := pageFloor(s.Vaddr), s.FileEnd(), pageFloor(s.Off)
		zeroTail := end%guest.PageSize != 0 && (s.Flags&elf.PF_W != 0 || s.Memsz > s.Filesz)
		if !zeroTail {
			share(start, pageCeil(end), off)
			continue
		}
		last := pageFloor(end)
		share(start, last, off)
		out = append(out, placement{
			gpa: last, bytes: guest.PageSize,
			pieces: []piece{{0, off + (last - start), end - last}},
		})
	}
	return out
}

// kernelObject decodes the kernel library and checks where it is linked.
func kernelObject(image []byte) (*object.Object, error) {
	o, err := object.Read(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		return nil, fmt.Errorf("kernel library of %d bytes: %w", len(image), err)
	}
	lo, hi := pageFloor(o.Segments[0].Vaddr), pageCeil(o.End())
	switch {
	case o.Type != elf.ET_EXEC || o.Interp != "":
		return nil, fmt.Errorf("kernel library: want a static ET_EXEC, got %v with interpreter %q", o.Type, o.Interp)
	case lo != guest.KernelGPA || hi > guest.ProgramGPA:
		return nil, fmt.Errorf("kernel library: linked at [%#x, %#x), want from %#x to at most %#x", lo, hi, uint64(guest.KernelGPA), uint64(guest.ProgramGPA))
	case !o.Executable(o.Entry):
		return nil, fmt.Errorf("kernel library: entry point %#x is not in an executable segment", o.Entry)
	}
	return o, nil
}

// checkProgram says whether an ET_EXEC program fits between the kernel library
// and the end of RAM.
func checkProgram(o *object.Object, memoryBytes uint64) error {
	if lo, hi := pageFloor(o.Segments[0].Vaddr), pageCeil(o.End()); lo < guest.ProgramGPA || hi > memoryBytes {
		return fmt.Errorf("linked at [%#x, %#x), want from %#x to the end of memory at %#x", lo, hi, uint64(guest.ProgramGPA), memoryBytes)
	}
	return nil
}
