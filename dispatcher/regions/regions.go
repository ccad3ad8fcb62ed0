package regions

import (
	"bytes"
	"cmp"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"seuss/guest"
	"seuss/images"
	"seuss/lineage"
)

// The regions, in the order of the address space.
const (
	Tables  = "boot and page tables"
	Kernel  = "kernel library"
	Program = "program data" // of the program itself; ET_EXEC
	Heap    = "heap"         // brk
	Stack   = "stack"        // of the main thread
	Mapped  = "mapped"       // mmap: allocator arenas, thread stacks, files written by the guest
	Library = "library data" // of shared objects, in place in the image
	File    = "files"        // other content of the image
)

// stackBytes is STACK_BYTES of guest/kernel/exec.c.
const stackBytes = 8 << 20

// Place is what lies at an address.
type Place struct {
	Region string
	Object string // path of the ELF file, or of the file; empty where there is none
	Symbol string // empty where no symbol covers the address
}

// Map is the layout of one guest.
type Map struct{ areas []area }

// area is [start, end) of a guest's addresses. Later areas of the list lie over
// earlier ones.
type area struct {
	start, end uint64
	place      Place
	symbols    []symbol // ascending
}

type symbol struct {
	start, end uint64
	name       string
}

// New describes the guest of an image that has this memory.
func New(image *images.Image, view lineage.Memory) (*Map, error) {
	m := &Map{}
	ram := image.Config().MemoryBytes
	add := func(start, end uint64, region string) {
		m.add(area{start: start, end: end, place: Place{Region: region}})
	}
	add(0, guest.KernelGPA, Tables)
	add(guest.KernelGPA, ram, Mapped)
	end := ram + image.MappedBytes()
	add(ram, end, File)
	add(ram-(end+guest.ImageAlign-1)/guest.ImageAlign*guest.PageSize, ram, Tables) // vmm/paging.go
	library, err := elf.NewFile(bytes.NewReader(guest.Kernel()))
	if err != nil {
		return nil, fmt.Errorf("kernel library: %w", err)
	}
	m.add(area{start: guest.KernelGPA, end: image.Header().KernelEnd, place: Place{Region: Kernel, Object: "kernel.elf"}, symbols: symbols(library, 0)})
	if err := m.addImage(image, ram); err != nil {
		return nil, err
	}
	// The kernel library's own variables tell where the program's areas are now.
	word := func(name string) uint64 { return readWord(view, library, name) }
	if start, now := word("brk_start"), word("brk_now"); start < now && now <= ram {
		add(start, (now+lineage.PageSize-1)&^(lineage.PageSize-1), Heap)
	}
	if top := word("guard_end"); top != 0 && top <= ram-stackBytes {
		add(top, top+stackBytes, Stack)
	}
	return m, nil
}

// addImage adds the program and the files of an image that lies at ram.
func (m *Map) addImage(image *images.Image, ram uint64) error {
	return image.Walk(func(e images.Entry) error {
		if !e.Inode.IsRegular() {
			return nil
		}
		isProgram := image.Header().Program != 0 && e.Number == image.Header().Program
		switch {
		case isProgram:
			r, err := image.Content(e)
			if err != nil {
				return err
			}
			m.addELF(r, 0, Place{Region: Program, Object: e.Path})
		case e.Inode.LoadOff != 0:
			r, err := image.Loaded(e)
			if err != nil {
				return err
			}
			at, mapped := image.Place(e.Inode.LoadOff, e.Inode.LoadBytes)
			if !mapped {
				return nil
			}
			base := ram + at
			m.add(area{start: base, end: base + e.Inode.LoadBytes, place: Place{Region: Library, Object: e.Path}})
			if content, err := image.Content(e); err == nil {
				r = content // section headers are not loaded
			}
			m.addELF(r, base, Place{Region: Library, Object: e.Path})
		case e.Inode.Size > 0:
			m.add(area{start: ram + e.Inode.Off, end: ram + e.Inode.Off + e.Inode.Size - e.Inode.Head, place: Place{Region: File, Object: e.Path}})
		}
		return nil
	})
}

// addELF adds the loaded segments of an ELF file, if it is one.
func (m *Map) addELF(r io.ReaderAt, base uint64, place Place) {
	f, err := elf.NewFile(r)
	if err != nil {
		return // the file's area says enough
	}
	all := symbols(f, base)
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD {
			m.add(area{start: base + p.Vaddr, end: base + p.Vaddr + p.Memsz, place: place, symbols: all})
		}
	}
}

func (m *Map) add(a area) {
	if a.start < a.end {
		m.areas = append(m.areas, a)
	}
}

// symbols lists what has an address and a size, in the order of addresses. A
// stripped file still has what it exports.
func symbols(f *elf.File, base uint64) []symbol {
	var out []symbol
	for _, read := range []func() ([]elf.Symbol, error){f.Symbols, f.DynamicSymbols} {
		list, err := read()
		if err != nil && !errors.Is(err, elf.ErrNoSymbols) {
			continue
		}
		for _, s := range list {
			kind := elf.ST_TYPE(s.Info)
			if s.Value != 0 && s.Size > 0 && s.Section != elf.SHN_UNDEF && (kind == elf.STT_OBJECT || kind == elf.STT_FUNC) {
				out = append(out, symbol{base + s.Value, base + s.Value + s.Size, s.Name})
			}
		}
	}
	slices.SortFunc(out, func(a, b symbol) int {
		return cmp.Or(cmp.Compare(a.start, b.start), strings.Compare(a.name, b.name))
	})
	return slices.CompactFunc(out, func(a, b symbol) bool { return a.start == b.start })
}

// readWord reads a variable of the kernel library, 0 where it has none.
func readWord(view lineage.Memory, library *elf.File, name string) uint64 {
	list, err := library.Symbols()
	if err != nil {
		return 0
	}
	for _, s := range list {
		at := s.Value % lineage.PageSize
		if s.Name == name && s.Size == 8 && at <= lineage.PageSize-8 && s.Value/lineage.PageSize < view.Pages() {
			if page := view.Bytes(s.Value / lineage.PageSize); page != nil {
				return binary.LittleEndian.Uint64(page[at:])
			}
		}
	}
	return 0
}

// Locate says what lies at an address.
func (m *Map) Locate(address uint64) Place {
	for _, a := range slices.Backward(m.areas) {
		if a.start <= address && address < a.end {
			place := a.place
			place.Symbol = a.symbol(address)
			return place
		}
	}
	return Place{Region: Mapped}
}

func (a *area) symbol(address uint64) string {
	i, exact := slices.BinarySearchFunc(a.symbols, address, func(s symbol, at uint64) int { return cmp.Compare(s.start, at) })
	if !exact {
		i--
	}
	if i < 0 || address >= a.symbols[i].end {
		return ""
	}
	return a.symbols[i].name
}

// Line sums up the differences in one region, object or symbol.
type Line struct {
	Region  string `json:"region"`
	Object  string `json:"object,omitempty"`
	Symbol  string `json:"symbol,omitempty"`
	Pages   uint64 `json:"pages"` // in which it differs
	Bytes   uint64 `json:"bytes"` // that differ
	counted uint64 // page that was counted last, + 1
}

// Summary counts differing bytes by region, and by symbol.
type Summary struct {
	Pages, Bytes uint64 // in all
	Regions      []*Line
	Symbols      []*Line // by object and symbol, without those that have neither
}

// Summarise locates every byte that differs.
func (m *Map) Summarise(diffs func(yield func(lineage.PageDiff, error) bool)) (Summary, error) {
	regions, named := map[Place]*Line{}, map[Place]*Line{}
	count := func(in map[Place]*Line, key Place, page, n uint64) {
		l := in[key]
		if l == nil {
			l = &Line{Region: key.Region, Object: key.Object, Symbol: key.Symbol}
			in[key] = l
		}
		l.Bytes += n
		if l.counted != page+1 {
			l.counted = page + 1
			l.Pages++
		}
	}
	var sum Summary
	for d, err := range diffs {
		if err != nil {
			return Summary{}, err
		}
		sum.Pages++
		sum.Bytes += uint64(d.Bytes)
		// Bytes in a word are looked up together: objects are aligned so.
		for at := d.First &^ 7; at <= d.Last; at += 8 {
			n := uint64(0)
			for i := at; i < at+8; i++ {
				if d.A[i] != d.B[i] {
					n++
				}
			}
			if n == 0 {
				continue
			}
			place := m.Locate(d.Page*lineage.PageSize + uint64(at))
			count(regions, Place{Region: place.Region}, d.Page, n)
			if place.Object != "" {
				count(named, place, d.Page, n)
			}
		}
	}
	sum.Regions, sum.Symbols = sorted(regions), sorted(named)
	return sum, nil
}

// sorted puts the most bytes first.
func sorted(lines map[Place]*Line) []*Line {
	out := make([]*Line, 0, len(lines))
	for _, l := range lines {
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b *Line) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), strings.Compare(a.Region, b.Region), strings.Compare(a.Object, b.Object), strings.Compare(a.Symbol, b.Symbol))
	})
	return out
}
