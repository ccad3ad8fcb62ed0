package platform

import (
	"encoding/binary"
	"iter"
	"os"

	"seuss/guest"
	"seuss/vmm/internal/x86"
)

// FarRange is a run of pages in the guest's far window: RAM pages that it reaches
// there a second time, or pages of what it shares with others. The units are pages.
type FarRange struct {
	First uint64 // address / page size, within the far window
	RAM   uint64 // page of memory, or of Of
	Count uint64
	Of    *Shared // nil: of memory
}

// Shared is a file in memory that several guests map at the same time. It is told from
// others by its address, and must neither shrink nor be closed while a guest maps it.
type Shared struct {
	File     *os.File // opened for reading alone, unless Writable
	Writable bool     // by guests
}

// FarRoots is how many entries of the top page table serve the far window, each 512
// GiB of it.
const (
	FarRoots  = guest.FarBytes / guest.PageSize >> rootShift
	rootShift = 27 // bits of a page number below such an entry
)

// FarRoot returns which of them serves a page of the far window.
func FarRoot(page uint64) uint64 { return (page - guest.FarBase/guest.PageSize) >> rootShift }

// FarEntry is an entry that names the n-th table of the far window.
func FarEntry(n uint64) uint64 { return guest.FarTablesGPA + n*guest.PageSize | x86.TableEntry }

// FarIn decodes the list that a control page names, as far as it is open. The guest
// can forge it: it ends with the first range that does not lie in the far window
// behind the one before, or in a memory of so many pages, or with which there would
// be more pages in all. page returns a page's content, valid until it is called again.
func FarIn(control []byte, pages uint64, page func(uint64) []byte) iter.Seq[FarRange] {
	const first, end = guest.FarBase / guest.PageSize, (guest.FarBase + guest.FarBytes) / guest.PageSize
	return func(yield func(FarRange) bool) {
		n := min(binary.LittleEndian.Uint32(control[guest.ControlFarCount:]), guest.FarMax)
		if n == 0 {
			return
		}
		at, list := binary.LittleEndian.Uint64(control[guest.ControlFarGPA:]), make([]byte, 0, guest.FarSize*n)
		for len(list) < cap(list) {
			if at < guest.LowGPA || at/guest.PageSize >= pages {
				return
			}
			p := page(at / guest.PageSize)[at%guest.PageSize:]
			list = append(list, p[:min(len(p), cap(list)-len(list))]...)
			at += uint64(len(p))
		}
		behind, left := uint64(first), pages
		for ; len(list) > 0; list = list[guest.FarSize:] {
			r := FarRange{First: binary.LittleEndian.Uint64(list[guest.FarFirst:]), RAM: binary.LittleEndian.Uint64(list[guest.FarRAM:]), Count: uint64(binary.LittleEndian.Uint32(list[guest.FarCount:]))}
			if r.First < behind || r.First > end || r.Count > min(end-r.First, left) || r.Count == 0 ||
				r.RAM < guest.LowGPA/guest.PageSize || r.RAM >= pages || r.Count > pages-r.RAM {
				return
			}
			behind, left = r.First+r.Count, left-r.Count
			if binary.LittleEndian.Uint32(list[guest.FarOpen:]) != 0 && !yield(r) {
				return
			}
		}
	}
}

// FarWithout yields the parts of a that b does not map to the same pages; what is shared
// is whole, or not the same. Both are ascending and without overlaps.
func FarWithout(a, b []FarRange) iter.Seq[FarRange] {
	return func(yield func(FarRange) bool) {
		for _, r := range a {
			for len(b) > 0 && b[0].First+b[0].Count <= r.First {
				b = b[1:]
			}
			for _, x := range b {
				if x.First >= r.First+r.Count {
					break
				}
				if x.RAM-x.First != r.RAM-r.First || x.Of != r.Of || r.Of != nil && x != r {
					continue
				}
				if n := x.First - r.First; x.First > r.First && !yield(FarRange{r.First, r.RAM, n, r.Of}) {
					return
				}
				behind := min(max(x.First+x.Count, r.First)-r.First, r.Count)
				r = FarRange{r.First + behind, r.RAM + behind, r.Count - behind, r.Of}
			}
			if r.Count > 0 && !yield(r) {
				return
			}
		}
	}
}
