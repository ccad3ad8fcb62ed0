package lineage

import (
	"io"
	"slices"
)

// put lays out the next section.
func (h *header) put(id sectionID, length uint64, crc uint32) {
	h.sections[id] = section{offset: h.total, length: length, crc: crc}
	h.total += length
}

// encodeFile gives the header of a node file below parent, which is nil for an image
// node, and what follows the place of the header: everything if diffs is not nil, else
// what comes after the whole pages that lie in the node's own file.
func encodeFile(info, parent *Info, state []byte, x *pageIndex, diffs *deltaEncoder) (h *header, rest []byte, err error) {
	meta, err := encodeInfo(info, parent)
	if err != nil {
		return nil, nil, err
	}
	h = &header{version: nodeVersion, form: FormPages}
	type part struct {
		id   sectionID
		data []byte
	}
	parts := []part{{sectionMetadata, meta}, {sectionState, state}, {sectionIndex, x.encode()}}
	if diffs != nil {
		h.version, h.form = nodeVersionMasks, FormDifferences
		data, err := diffs.encode()
		if err != nil {
			return nil, nil, err
		}
		parts[1].data = nil // it is among the differences
		parts = slices.Insert(parts, 0, part{sectionData, data})
	}
	h.total = h.form.headerBytes()
	if diffs == nil {
		own := info.DeltaBytes
		if x.donors != nil {
			h.version = nodeVersionDonors
			own -= x.donors.pages * PageSize
			parts = append(parts, part{sectionDonors, x.donors.encode()})
		}
		h.put(sectionData, own, checksum(x.encodeSums()))
	}
	for _, p := range parts {
		h.put(p.id, uint64(len(p.data)), checksum(p.data))
		rest = append(rest, p.data...)
	}
	return h, rest, nil
}

// without gives the header of the file that a node with donors would have without them,
// byte for byte, and what follows its pages. r is the node's file, h its header.
func (h *header) without(r io.ReaderAt, x *pageIndex) (whole *header, rest []byte, err error) {
	whole = &header{version: nodeVersion, form: FormPages, total: pagesHeaderBytes}
	whole.put(sectionData, x.dataPages*PageSize, h.sections[sectionData].crc)
	for _, id := range []sectionID{sectionMetadata, sectionState, sectionIndex} {
		b, err := h.readSection(r, id)
		if err != nil {
			return nil, nil, err
		}
		whole.put(id, uint64(len(b)), h.sections[id].crc)
		rest = append(rest, b...)
	}
	return whole, rest, nil
}
