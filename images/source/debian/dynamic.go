package debian

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// Bounds of what a dynamic section may ask for, far above what linkers write.
const (
	maxDynamic = 1 << 20 // bytes of the section
	maxNeeded  = 4096    // libraries of one object
)

// dynamic is what an ELF file asks of the dynamic loader. The strings are as
// they stand in the file, $ORIGIN and the like not yet replaced.
type dynamic struct {
	soname  string
	needed  []string
	rpath   string // DT_RPATH; empty where there is a DT_RUNPATH, as ld.so(8) ignores it then
	runpath string
	interp  string // PT_INTERP
}

// readDynamicFile reads the dynamic section of a file of this host. It is nil for
// what the loader could not load: no x86-64 ELF, or a damaged one.
func readDynamicFile(host string) (*dynamic, error) {
	f, err := os.Open(host)
	if err != nil {
		return nil, err
	}
	defer f.Close() // opened for reading only
	d, err := readDynamic(f)
	if errors.Is(err, errDynamic) {
		return nil, nil // carried as data, see images.Info
	}
	return d, err
}

// errDynamic: the content is not that of a loadable x86-64 ELF.
var errDynamic = errors.New("no loadable x86-64 ELF")

// readDynamic follows the program headers, as the loader does: section headers may
// have been stripped.
func readDynamic(r io.ReaderAt) (*dynamic, error) {
	f, err := elf.NewFile(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDynamic, err)
	}
	if f.Class != elf.ELFCLASS64 || f.Machine != elf.EM_X86_64 || f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN {
		return nil, fmt.Errorf("%w: %v %v %v", errDynamic, f.Class, f.Machine, f.Type)
	}
	d := &dynamic{}
	for _, p := range f.Progs {
		switch p.Type {
		case elf.PT_INTERP:
			if d.interp, err = readString(r, p.Off, p.Filesz); err != nil {
				return nil, fmt.Errorf("%w: interpreter: %w", errDynamic, err)
			}
		case elf.PT_DYNAMIC:
			if err := d.read(r, f, p); err != nil {
				return nil, fmt.Errorf("%w: dynamic section: %w", errDynamic, err)
			}
		}
	}
	if d.runpath != "" {
		d.rpath = ""
	}
	return d, nil
}

// read decodes the entries of a PT_DYNAMIC segment.
func (d *dynamic) read(r io.ReaderAt, f *elf.File, p *elf.Prog) error {
	if p.Filesz > maxDynamic {
		return fmt.Errorf("%d bytes, at most %d are read", p.Filesz, maxDynamic)
	}
	table := make([]byte, p.Filesz)
	if n, err := r.ReadAt(table, int64(p.Off)); n < len(table) {
		return fmt.Errorf("at %#x: got %d of %d bytes: %w", p.Off, n, len(table), err)
	}
	type entry struct{ tag, value uint64 }
	var entries []entry
	var strings, size uint64
	for ; len(table) >= 16; table = table[16:] {
		e := entry{binary.LittleEndian.Uint64(table), binary.LittleEndian.Uint64(table[8:])}
		if elf.DynTag(e.tag) == elf.DT_NULL {
			break
		}
		switch elf.DynTag(e.tag) {
		case elf.DT_STRTAB:
			strings = e.value
		case elf.DT_STRSZ:
			size = e.value
		}
		entries = append(entries, e)
	}
	for _, e := range entries {
		var into *string
		switch elf.DynTag(e.tag) {
		case elf.DT_SONAME:
			into = &d.soname
		case elf.DT_RPATH:
			into = &d.rpath
		case elf.DT_RUNPATH:
			into = &d.runpath
		case elf.DT_NEEDED:
			if len(d.needed) == maxNeeded {
				return fmt.Errorf("more than %d needed libraries", maxNeeded)
			}
			d.needed = append(d.needed, "")
			into = &d.needed[len(d.needed)-1]
		default:
			continue
		}
		if e.value >= size {
			return fmt.Errorf("string at %#x lies behind the table of %#x bytes", e.value, size)
		}
		off, err := fileOffset(f, strings+e.value)
		if err != nil {
			return err
		}
		if *into, err = readString(r, off, size-e.value); err != nil {
			return err
		}
	}
	return nil
}

// fileOffset returns where in the file the byte at a virtual address lies.
func fileOffset(f *elf.File, vaddr uint64) (uint64, error) {
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && vaddr >= p.Vaddr && vaddr-p.Vaddr < p.Filesz {
			return p.Off + (vaddr - p.Vaddr), nil
		}
	}
	return 0, fmt.Errorf("no segment holds address %#x", vaddr)
}

// readString reads a string that ends with a NUL within limit bytes, or with them.
func readString(r io.ReaderAt, off, limit uint64) (string, error) {
	buf := make([]byte, min(limit, maxSearchPath))
	n, err := r.ReadAt(buf, int64(off))
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	text, _, ended := bytes.Cut(buf[:n], []byte{0})
	if !ended && uint64(n) < limit {
		return "", fmt.Errorf("the string at %#x does not end", off)
	}
	return string(text), nil
}

// maxSearchPath bounds a string of a dynamic section: search paths may name several
// directories.
const maxSearchPath = 64 << 10
