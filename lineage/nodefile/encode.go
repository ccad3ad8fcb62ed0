package nodefile

import (
	"io"
	"slices"
)

// put lays out the next section.
func (h *Header) put(id sectionID, length uint64, crc uint32) {
	h.Sections[id] = Section{Offset: h.Total, Length: length, CRC: crc}
	h.Total += length
}

// EncodeFile gives the header of a node file below parent, which is nil for an image
// node, and what follows the place of the header: everything if diffs is not nil, else
// what comes after the whole pages that lie in the node's own file.
func EncodeFile(info, parent *Info, state []byte, x *Index, diffs *DifferenceEncoder) (h *Header, rest []byte, err error) {
	meta, err := EncodeMetadata(info, parent)
	if err != nil {
		return nil, nil, err
	}
	h = &Header{Version: VersionPages, Form: FormPages}
	type part struct {
		id   sectionID
		data []byte
	}
	parts := []part{{SectionMetadata, meta}, {SectionState, state}, {SectionIndex, x.Encode()}}
	if diffs != nil {
		h.Version, h.Form = VersionDifferences, FormDifferences
		data, err := diffs.encode()
		if err != nil {
			return nil, nil, err
		}
		parts[1].data = nil // it is among the differences
		parts = slices.Insert(parts, 0, part{SectionData, data})
	}
	h.Total = h.Form.HeaderBytes()
	if diffs == nil {
		own := info.DeltaBytes
		if x.Donors != nil {
			h.Version = VersionDonors
			own -= x.Donors.Pages * PageSize
			parts = append(parts, part{SectionDonors, x.Donors.Encode()})
		}
		h.put(SectionData, own, Checksum(x.encodeSums()))
	}
	for _, p := range parts {
		h.put(p.id, uint64(len(p.data)), Checksum(p.data))
		rest = append(rest, p.data...)
	}
	return h, rest, nil
}

// Without gives the header of the file that a node with donors would have without them,
// byte for byte, and what follows its pages. r is the node's file, h its header.
func (h *Header) Without(r io.ReaderAt, x *Index) (whole *Header, rest []byte, err error) {
	whole = &Header{Version: VersionPages, Form: FormPages, Total: PagesHeaderBytes}
	whole.put(SectionData, x.DataPages*PageSize, h.Sections[SectionData].CRC)
	for _, id := range []sectionID{SectionMetadata, SectionState, SectionIndex} {
		b, err := h.ReadSection(r, id)
		if err != nil {
			return nil, nil, err
		}
		whole.put(id, uint64(len(b)), h.Sections[id].CRC)
		rest = append(rest, b...)
	}
	return whole, rest, nil
}
