package lineage

import (
	"bytes"
	"fmt"
	"io"
)

// readInfo reads the metadata of the node that the file's name promises.
func readInfo(r io.ReaderAt, h *header, id string) (*metadata, error) {
	b, err := h.readSection(r, sectionMetadata)
	if err != nil {
		return nil, err
	}
	m, err := decodeInfo(b)
	if err != nil {
		return nil, err
	}
	if m.ID != id {
		return nil, fmt.Errorf("the file holds node %s: %w", m.ID, ErrIdentity)
	}
	return m, nil
}

// readIndex reads the index, and the donors, and checks them against header and
// metadata.
func readIndex(r io.ReaderAt, h *header, info *Info) (*pageIndex, error) {
	b, err := h.readSection(r, sectionIndex)
	if err != nil {
		return nil, err
	}
	x, err := decodeIndex(b)
	if err != nil {
		return nil, err
	}
	data := h.sections[sectionData]
	if h.form == FormPages {
		if got := checksum(x.encodeSums()); got != data.crc {
			return nil, fmt.Errorf("data section: checksum of its checksums is %#08x, sealed as %#08x: %w", got, data.crc, ErrChecksum)
		}
	}
	isImage := info.Kind == KindImage
	dataBytes := x.dataPages * PageSize
	if isImage {
		dataBytes = 0 // the pages lie in the image file
	}
	switch {
	case x.guestPages != info.GuestPages || x.deltaPages() != info.DeltaPages || dataBytes != info.DeltaBytes:
		err = fmt.Errorf("index of %d guest pages, %d of them in %d data pages, contradicts the metadata (%d, %d, %d bytes)",
			x.guestPages, x.deltaPages(), x.dataPages, info.GuestPages, info.DeltaPages, info.DeltaBytes)
	case isImage && (h.form != FormPages || h.version == nodeVersionDonors):
		err = fmt.Errorf("image node in the form %v, version %d", h.form, h.version)
	case h.form == FormPages && h.version == nodeVersion && data.length != dataBytes:
		err = fmt.Errorf("index of %d data pages, the data section has %d bytes", x.dataPages, data.length)
	case (x.digests != nil) != (h.form == FormPages):
		err = fmt.Errorf("index with %d digests in the form %v", len(x.digests), h.form)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrFormat)
	}
	x.donors, err = readDonors(r, h, x.dataPages)
	return x, err
}

// checkInfo compares the metadata with what the catalogue has, without decoding it
// where it holds the very id and root: Open has decoded it, and the checksum is
// right.
func checkInfo(r io.ReaderAt, h *header, info *Info) error {
	b, err := h.readSection(r, sectionMetadata)
	if err != nil {
		return err
	}
	if bytes.Contains(b, []byte(`"id":"`+info.ID+`"`)) && bytes.Contains(b, []byte(`"root":"`+info.Root+`"`)) {
		return nil
	}
	stored, err := decodeInfo(b)
	switch {
	case err != nil:
		return err
	case stored.ID != info.ID:
		return fmt.Errorf("the file holds node %s: %w", stored.ID, ErrIdentity)
	}
	return fmt.Errorf("root changed from %s to %s: %w", info.Root, stored.Root, ErrIdentity)
}
