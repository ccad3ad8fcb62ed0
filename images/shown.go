package images

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math/bits"
	"slices"

	"seuss/guest"
	"seuss/images/layer"
)

// An image that does not fit into what a guest can map is mapped in parts: its own file,
// and of the layers the program and what is loaded first, then the smaller files. The rest
// a guest reads through the monitor.

// Shown is struct abi_image_shown: a part of the image that guests map, at so many bytes
// behind where the image is.
type Shown struct{ Off, At, Bytes uint64 }

// maxPartsGPA is where an image that is mapped in parts ends, at most, so that guests of
// it can be given more memory.
const maxPartsGPA = maxGPA / 2

// leastUnit is how much of a layer is mapped or not as one, at least, unless the image has
// too many parts then.
const leastUnit = 16 << 20

// unit is a stretch of a layer whose files are mapped together.
type unit struct {
	off, end uint64
	layer    int
	rank     int // 0: with the program's segments, 1: with what is loaded, 2: other files
}

// planParts decides what is mapped of an image that does not fit behind ram bytes of
// memory. program, if not nil, has segments at fixed addresses.
func (p *plan) planParts(program *node, layers []*layer.Layer, ram uint64) error {
	h := &p.header
	h.ShownOff = p.add(maxShown*guest.ImageShownSize, smallAlign, "parts", func(_ context.Context, w io.Writer) error {
		buf, err := encode(nil, p.shown)
		if err == nil {
			_, err = w.Write(append(buf, make([]byte, maxShown*guest.ImageShownSize-len(buf))...))
		}
		return err
	})
	h.OwnBytes = pageCeil(p.end)
	p.placeLayers(layers)
	if h.TotalBytes > guest.ImageMaxGiB<<30 {
		return fmt.Errorf("its files have %d bytes, at most %d GiB are possible: take a smaller root file system", h.TotalBytes, guest.ImageMaxGiB)
	}
	room := min(max(maxPartsGPA, ram+maxGPA/8), maxGPA) - ram
	if h.OwnBytes > room {
		return fmt.Errorf("%d bytes of memory and %d bytes of the image's own file exceed %d GiB: ask for less memory", ram, h.OwnBytes, guest.MaxGiB)
	}
	p.shown = fewest(func(least uint64) []unit { return p.units(program, least) }, h.OwnBytes, room)
	if program != nil && program.inLayer() && !p.shows(program.off, program.size) {
		return fmt.Errorf("program %s of %d bytes does not fit behind %d bytes of memory: ask for less memory", program.guest, program.size, ram)
	}
	last := p.shown[len(p.shown)-1]
	h.Version, h.ShownCount, h.ShownBytes = guest.ImagePartsVersion, uint64(len(p.shown)), last.At+last.Bytes
	return nil
}

// units divides the layers between their files.
func (p *plan) units(program *node, least uint64) (units []unit) {
	type file struct {
		off, end uint64
		rank     int
	}
	var files []file
	for _, n := range p.nodes {
		if !n.inLayer() || n.size == 0 {
			continue
		}
		rank := 2
		if n.loadBytes != 0 {
			rank = 1
			files = append(files, file{n.loadOff, n.loadOff + n.loadBytes, rank})
		}
		if n == program {
			rank = 0
		}
		if rest := n.size - n.head; rest > 0 {
			files = append(files, file{pageFloor(n.off), pageCeil(n.off + rest), rank})
		}
	}
	slices.SortFunc(files, func(a, b file) int { return cmp.Compare(a.off, b.off) })
	layer := 0
	for _, f := range files {
		for f.off >= p.layers[layer].Off+p.layers[layer].Bytes {
			layer++
		}
		if len(units) > 0 {
			// Small files share pages, and what lies close together is mapped as one.
			u := &units[len(units)-1]
			together := f.end-u.off <= least && f.off-min(f.off, u.end) < guest.ImageAlign
			if u.layer == layer && (f.off < u.end || together) {
				u.end, u.rank = max(u.end, f.end), min(u.rank, f.rank)
				continue
			}
		}
		units = append(units, unit{f.off, f.end, layer, f.rank})
	}
	return units
}

// fewest chooses among units as small as can be for an image to have no more than maxShown
// parts. What lies far apart stays so however large they are: some are left out then.
func fewest(units func(least uint64) []unit, own, room uint64) []Shown {
	for least := uint64(leastUnit); ; least *= 4 {
		all := units(least)
		if shown := choose(all, own, room, len(all)); len(shown) <= maxShown {
			return shown
		}
		if least >= guest.ImageMaxGiB<<30 {
			return choose(all, own, room, maxShown-1)
		}
	}
}

// choose takes what is mapped behind the image's own file, by rank, and then the smaller
// ones first, up to so many, and places it.
func choose(units []unit, own, room uint64, most int) []Shown {
	byUse := slices.Clone(units)
	slices.SortStableFunc(byUse, func(a, b unit) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(bits.Len64(a.end-a.off), bits.Len64(b.end-b.off)), cmp.Compare(a.off, b.off))
	})
	var taken []unit
	left := room - min(alignUp(own, guest.ImageAlign), room)
	for _, u := range byUse {
		if need := alignUp(u.end, guest.ImageAlign) - u.off/guest.ImageAlign*guest.ImageAlign; need <= left && len(taken) < most {
			taken, left = append(taken, u), left-need
		}
	}
	slices.SortFunc(taken, func(a, b unit) int { return cmp.Compare(a.off, b.off) })
	shown := []Shown{{0, 0, own}}
	for _, u := range taken {
		last := &shown[len(shown)-1]
		if gap := u.off - (last.Off + last.Bytes); len(shown) > 1 && gap < guest.ImageAlign {
			last.Bytes = u.end - last.Off
			continue
		}
		at := alignUp(last.At+last.Bytes, guest.ImageAlign) + u.off%guest.ImageAlign
		shown = append(shown, Shown{u.off, at, u.end - u.off})
	}
	return shown
}

// shows says whether all of a range is mapped.
func (p *plan) shows(off, n uint64) bool {
	return slices.ContainsFunc(p.shown, func(s Shown) bool { return off >= s.Off && off-s.Off+n <= s.Bytes })
}

// Shown are the parts of the image that guests map, by Off.
func (m *Image) Shown() []Shown {
	if len(m.shown) == 0 {
		return []Shown{{0, 0, m.header.TotalBytes}}
	}
	return m.shown
}

// MappedBytes is how much of a guest's address space the image takes, behind its memory.
func (m *Image) MappedBytes() uint64 { return cmp.Or(m.header.ShownBytes, m.header.TotalBytes) }

// Place returns where guests map a range of the image, behind where it begins; false: they
// do not map all of it.
func (m *Image) Place(off, n uint64) (at uint64, ok bool) {
	for _, s := range m.Shown() {
		if off >= s.Off && off-s.Off <= s.Bytes && n <= s.Bytes-(off-s.Off) {
			return s.At + off - s.Off, true
		}
	}
	return 0, false
}

// checkShown verifies order and bounds of the parts that are mapped.
func (m *Image) checkShown() error {
	h := &m.header
	if h.Version != guest.ImagePartsVersion {
		return nil
	}
	var end, at uint64
	for i, s := range m.shown {
		switch {
		case (s.Off|s.At|s.Bytes)%guest.PageSize != 0 || s.Bytes == 0 || (s.Off-s.At)%guest.ImageAlign != 0,
			s.Off < end || s.At < at || s.Off > h.TotalBytes || s.Bytes > h.TotalBytes-s.Off || s.At > maxGPA || s.Bytes > maxGPA-s.At,
			i == 0 && (s.Off != 0 || s.Bytes != h.OwnBytes):
			return corrupt("part %d of the image is %+v", i, s)
		}
		end, at = s.Off+s.Bytes, s.At+s.Bytes
	}
	if at != h.ShownBytes {
		return corrupt("%#x bytes of the image are mapped, its parts end at %#x", h.ShownBytes, at)
	}
	return nil
}
