package vmm

import (
	"bytes"
	"iter"
	"slices"

	"seuss/guest"
)

// FarRange is a run of pages in the guest's far window: RAM pages that it reaches
// there a second time. The units are pages.
type FarRange struct {
	First uint64 // address / page size, within the far window
	RAM   uint64 // page of memory
	Count uint64
}

// mapFar makes the guest see what its list of far mappings, which the control page
// names, says now. fresh: it is another instance's.
func (m *Memory) mapFar(control []byte, fresh bool) error {
	if le32(control[guest.ControlFarUsed:]) == 0 && !m.far {
		return nil
	}
	ranges := slices.Collect(FarIn(bytes.Clone(control), m.Pages(), m.backing.Page))
	for _, r := range ranges {
		for root := farRoot(r.First); root <= farRoot(r.First+r.Count-1); root++ {
			at := GPA(guest.PML4GPA + (guest.FarBase>>39+root)*8)
			if entry, err := m.ReadU64(at); err != nil || entry == farEntry(root) {
				continue
			}
			if err := m.WriteU64(at, farEntry(root)); err != nil {
				return err
			}
		}
	}
	m.far = true
	return m.backing.MapFar(ranges, fresh)
}

// FarIn decodes the list that a control page names, as far as it is open. The guest
// can forge it: it ends with the first range that does not lie in the far window
// behind the one before, or in a memory of so many pages, or with which there would
// be more pages in all. page returns a page's content, valid until it is called again.
func FarIn(control []byte, pages uint64, page func(uint64) []byte) iter.Seq[FarRange] {
	const first, end = guest.FarBase / pageSize, (guest.FarBase + guest.FarBytes) / pageSize
	return func(yield func(FarRange) bool) {
		n := min(le32(control[guest.ControlFarCount:]), guest.FarMax)
		if n == 0 {
			return
		}
		at, list := le64(control[guest.ControlFarGPA:]), make([]byte, 0, guest.FarSize*n)
		for len(list) < cap(list) {
			if at < guest.LowGPA || at/pageSize >= pages {
				return
			}
			p := page(at / pageSize)[at%pageSize:]
			list = append(list, p[:min(len(p), cap(list)-len(list))]...)
			at += uint64(len(p))
		}
		behind, left := uint64(first), pages
		for ; len(list) > 0; list = list[guest.FarSize:] {
			r := FarRange{First: le64(list[guest.FarFirst:]), RAM: le64(list[guest.FarRAM:]), Count: uint64(le32(list[guest.FarCount:]))}
			if r.First < behind || r.First > end || r.Count > min(end-r.First, left) || r.Count == 0 ||
				r.RAM < guest.LowGPA/pageSize || r.RAM >= pages || r.Count > pages-r.RAM {
				return
			}
			behind, left = r.First+r.Count, left-r.Count
			if le32(list[guest.FarOpen:]) != 0 && !yield(r) {
				return
			}
		}
	}
}

// FarWithout yields the parts of a that b does not map to the same pages. Both are
// ascending and without overlaps.
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
				if x.RAM-x.First != r.RAM-r.First {
					continue
				}
				if n := x.First - r.First; x.First > r.First && !yield(FarRange{r.First, r.RAM, n}) {
					return
				}
				behind := min(max(x.First+x.Count, r.First)-r.First, r.Count)
				r = FarRange{r.First + behind, r.RAM + behind, r.Count - behind}
			}
			if r.Count > 0 && !yield(r) {
				return
			}
		}
	}
}
