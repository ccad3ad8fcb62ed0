package nodefile

import (
	"bytes"
	"fmt"
	"io"
)

// ReadInfo reads the metadata of the node that the file's name promises.
func ReadInfo(r io.ReaderAt, h *Header, id string) (*Metadata, error) {
	b, err := h.ReadSection(r, SectionMetadata)
	if err != nil {
		return nil, err
	}
	m, err := DecodeMetadata(b)
	if err != nil {
		return nil, err
	}
	if m.ID != id {
		return nil, fmt.Errorf("the file holds node %s: %w", m.ID, ErrIdentity)
	}
	return m, nil
}

// ReadIndex reads the index, and the donors, and checks them against header and
// metadata.
func ReadIndex(r io.ReaderAt, h *Header, info *Info) (*Index, error) {
	b, err := h.ReadSection(r, SectionIndex)
	if err != nil {
		return nil, err
	}
	x, err := DecodeIndex(b)
	if err != nil {
		return nil, err
	}
	data := h.Sections[SectionData]
	if h.Form == FormPages {
		if got := Checksum(x.encodeSums()); got != data.CRC {
			return nil, fmt.Errorf("data section: checksum of its checksums is %#08x, sealed as %#08x: %w", got, data.CRC, ErrChecksum)
		}
	}
	isImage := info.Kind == KindImage
	dataBytes := x.DataPages * PageSize
	if isImage {
		dataBytes = 0 // the pages lie in the image file
	}
	switch {
	case x.GuestPages != info.GuestPages || x.DeltaPages() != info.DeltaPages || dataBytes != info.DeltaBytes:
		err = fmt.Errorf("index of %d guest pages, %d of them in %d data pages, contradicts the metadata (%d, %d, %d bytes)",
			x.GuestPages, x.DeltaPages(), x.DataPages, info.GuestPages, info.DeltaPages, info.DeltaBytes)
	case isImage && (h.Form != FormPages || h.Version == VersionDonors):
		err = fmt.Errorf("image node in the form %v, version %d", h.Form, h.Version)
	case h.Form == FormPages && h.Version == VersionPages && data.Length != dataBytes:
		err = fmt.Errorf("index of %d data pages, the data section has %d bytes", x.DataPages, data.Length)
	case (x.Digests != nil) != (h.Form == FormPages):
		err = fmt.Errorf("index with %d digests in the form %v", len(x.Digests), h.Form)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrFormat)
	}
	x.Donors, err = ReadDonors(r, h, x.DataPages)
	return x, err
}

// CheckInfo compares the metadata with what the catalogue has, without decoding it
// where it holds the very id and root: Open has decoded it, and the checksum is
// right.
func CheckInfo(r io.ReaderAt, h *Header, info *Info) error {
	b, err := h.ReadSection(r, SectionMetadata)
	if err != nil {
		return err
	}
	if bytes.Contains(b, []byte(`"id":"`+info.ID+`"`)) && bytes.Contains(b, []byte(`"root":"`+info.Root+`"`)) {
		return nil
	}
	stored, err := DecodeMetadata(b)
	switch {
	case err != nil:
		return err
	case stored.ID != info.ID:
		return fmt.Errorf("the file holds node %s: %w", stored.ID, ErrIdentity)
	}
	return fmt.Errorf("root changed from %s to %s: %w", info.Root, stored.Root, ErrIdentity)
}
