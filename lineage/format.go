package lineage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Node file, version 1. All integers are little endian.
//
//	page 0     header: magic u64, version u32, CRC-32C of this page with the
//	           CRC itself zero u32, total length u64, then for each section
//	           offset u64, length u64, CRC-32C u32, zero u32; the rest is zero
//	data       the delta's pages; empty for an image node, whose pages lie in
//	           the image file
//	metadata   JSON, see metadata
//	state      machine state, opaque
//	index      see pageIndex
//
// The sections follow each other without gaps. The data comes first because its
// length is known last: a capture then needs one pass over guest memory, and
// what was compared, hashed and stored is one and the same copy. The data's
// checksum is that of its chunk checksums, which the index lists.
const (
	nodeMagic   = 0x31444f4e53535553 // "SUSSNOD1"
	nodeVersion = 1

	headerBytes        = PageSize
	headerCRCOffset    = 12
	headerSectionStart = 24
	headerSectionBytes = 24
)

// Bounds of what a reader takes into memory.
const (
	maxMetadataBytes = 1 << 20
	maxStateBytes    = 64 << 20
)

type sectionID int

const (
	sectionData sectionID = iota
	sectionMetadata
	sectionState
	sectionIndex
	sectionCount
)

func (id sectionID) String() string {
	return [...]string{"data", "metadata", "state", "index"}[id]
}

type section struct {
	offset, length uint64
	crc            uint32
}

// header is the decoded first page.
type header struct {
	total    uint64
	sections [sectionCount]section
}

func (h *header) encode() []byte {
	le := binary.LittleEndian
	b := make([]byte, headerBytes)
	le.PutUint64(b[0:], nodeMagic)
	le.PutUint32(b[8:], nodeVersion)
	le.PutUint64(b[16:], h.total)
	for i, s := range h.sections {
		at := headerSectionStart + i*headerSectionBytes
		le.PutUint64(b[at:], s.offset)
		le.PutUint64(b[at+8:], s.length)
		le.PutUint32(b[at+16:], s.crc)
	}
	le.PutUint32(b[headerCRCOffset:], checksum(b))
	return b
}

// readHeader reads and validates the header of a node file of size bytes.
func readHeader(r io.ReaderAt, size int64) (*header, error) {
	b := make([]byte, headerBytes)
	n, err := r.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read header: got %d of %d bytes: %w", n, len(b), err)
	}
	return decodeHeader(b[:n], size)
}

// decodeHeader validates in the order magic, version, length, checksum, layout.
func decodeHeader(b []byte, size int64) (*header, error) {
	le := binary.LittleEndian
	if len(b) < 8 {
		return nil, fmt.Errorf("header has %d bytes: %w", len(b), ErrMagic)
	}
	if magic := le.Uint64(b); magic != nodeMagic {
		return nil, fmt.Errorf("magic is %#x, want %#x: %w", magic, uint64(nodeMagic), ErrMagic)
	}
	if len(b) >= headerCRCOffset {
		if version := le.Uint32(b[8:]); version != nodeVersion {
			return nil, fmt.Errorf("version is %d, this program reads %d: %w", version, nodeVersion, ErrVersion)
		}
	}
	if len(b) < headerBytes {
		return nil, fmt.Errorf("header has %d of %d bytes: %w", len(b), headerBytes, ErrLength)
	}
	h := &header{total: le.Uint64(b[16:])}
	if size < 0 || h.total != uint64(size) {
		return nil, fmt.Errorf("header tells %d bytes, the file has %d: %w", h.total, size, ErrLength)
	}
	page := append([]byte(nil), b[:headerBytes]...)
	clear(page[headerCRCOffset : headerCRCOffset+4])
	if got, want := checksum(page), le.Uint32(b[headerCRCOffset:]); got != want {
		return nil, fmt.Errorf("header checksum is %#08x, sealed as %#08x: %w", got, want, ErrChecksum)
	}
	next := uint64(headerBytes)
	for i := range h.sections {
		at := headerSectionStart + i*headerSectionBytes
		s := section{offset: le.Uint64(b[at:]), length: le.Uint64(b[at+8:]), crc: le.Uint32(b[at+16:])}
		if s.offset != next || s.length > h.total-next {
			return nil, fmt.Errorf("%v section is %d bytes at %d, expected at %d of %d: %w",
				sectionID(i), s.length, s.offset, next, h.total, ErrFormat)
		}
		next += s.length
		h.sections[i] = s
	}
	if next != h.total {
		return nil, fmt.Errorf("sections end at %d of %d: %w", next, h.total, ErrFormat)
	}
	if n := h.sections[sectionData].length; n%PageSize != 0 {
		return nil, fmt.Errorf("data section is %d bytes, not whole pages: %w", n, ErrFormat)
	}
	for id, limit := range map[sectionID]uint64{sectionMetadata: maxMetadataBytes, sectionState: maxStateBytes} {
		if n := h.sections[id].length; n > limit {
			return nil, fmt.Errorf("%v section is %d bytes, at most %d: %w", id, n, limit, ErrFormat)
		}
	}
	return h, nil
}

// readSection reads one section other than the data and checks it.
func (h *header) readSection(r io.ReaderAt, id sectionID) ([]byte, error) {
	s := h.sections[id]
	b := make([]byte, s.length)
	if n, err := r.ReadAt(b, int64(s.offset)); n < len(b) {
		return nil, fmt.Errorf("read %v section at offset %d: got %d of %d bytes: %w", id, s.offset, n, len(b), noEOF(err))
	}
	if got := checksum(b); got != s.crc {
		return nil, fmt.Errorf("%v section: checksum is %#08x, sealed as %#08x: %w", id, got, s.crc, ErrChecksum)
	}
	return b, nil
}
