package lineage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Node file, version 2 to 4. All integers are little endian.
//
//	header     magic u64, version u32, CRC-32C of the header with the CRC
//	           itself zero u32, total length u64, form u32, header length u32,
//	           then for each section offset u64, length u64, CRC-32C u32, zero
//	           u32; the rest is zero
//	data       the delta's content, by the form below
//	metadata   JSON, see metadata
//	state      machine state, opaque
//	index      see pageIndex
//	donors     version 3 only: which pages lie in files of siblings, see donors
//
// The sections follow each other without gaps. The data comes first because its
// length is known last: a capture then needs one pass over guest memory, and
// what was compared, hashed and stored is one and the same copy.
//
// In the form "pages" the header takes a page and the data is whole pages, which
// can be mapped; it is empty for an image node, whose pages lie in the image
// file. The CRC of the data is that of the index's page checksums. Version 3 is of
// this form; a node without donors is written as version 2.
//
// In the form "differences" the header is short, the data is as differences.go says,
// machine state included, and the state section is empty. The CRC of the data is over
// its bytes. Version 4 is of this form; version 2 had it with other data, see runs.go.
//
// Version 1 had one checksum for 64 pages, no page digests, and ids that
// depended on how pages were stored. It is refused.
const (
	nodeMagic         = 0x31444f4e53535553 // "SUSSNOD1"
	nodeVersion       = 2
	nodeVersionDonors = 3
	nodeVersionMasks  = 4

	pagesHeaderBytes       = PageSize
	differencesHeaderBytes = 128

	headerCRCOffset    = 12
	headerSectionStart = 32
	headerSectionBytes = 24
)

// NodeVersions are the versions of the node file that this program reads; what a
// node is written as depends on its form and its siblings.
func NodeVersions() []int { return []int{nodeVersion, nodeVersionDonors, nodeVersionMasks} }

// Bounds of what a reader takes into memory.
const (
	maxMetadataBytes = 1 << 20
	maxStateBytes    = 64 << 20
)

// Form says how a node file holds the node's pages. It has no influence on the
// node's id or memory.
type Form uint32

const (
	// FormAuto, in Options, stores small function and argument nodes as
	// differences and everything else as pages.
	FormAuto Form = iota
	// FormPages stores whole pages: mapped as they are, 4 KiB each.
	FormPages
	// FormDifferences stores the words that differ from the parent's pages,
	// compressed. Loading expands them into memory.
	FormDifferences
)

func (f Form) String() string {
	switch f {
	case FormAuto:
		return "auto"
	case FormPages:
		return "pages"
	case FormDifferences:
		return "differences"
	}
	return fmt.Sprintf("form %d", uint32(f))
}

func (f Form) headerBytes() uint64 {
	if f == FormDifferences {
		return differencesHeaderBytes
	}
	return pagesHeaderBytes
}

type sectionID int

const (
	sectionData sectionID = iota
	sectionMetadata
	sectionState
	sectionIndex
	sectionDonors // of version 3
	maxSections

	sectionCount = sectionDonors // of version 2
)

func (id sectionID) String() string {
	return [...]string{"data", "metadata", "state", "index", "donors"}[id]
}

type section struct {
	offset, length uint64
	crc            uint32
}

// header is the decoded beginning of a node file.
type header struct {
	version  uint32
	crc      uint32 // as it is sealed; encode sets it
	total    uint64
	form     Form
	sections [maxSections]section
}

// sectionList is what a header of this version lists.
func (h *header) sectionList() []section {
	if h.version == nodeVersionDonors {
		return h.sections[:]
	}
	return h.sections[:sectionCount]
}

func (h *header) encode() []byte {
	le := binary.LittleEndian
	b := make([]byte, h.form.headerBytes())
	le.PutUint64(b[0:], nodeMagic)
	le.PutUint32(b[8:], h.version)
	le.PutUint64(b[16:], h.total)
	le.PutUint32(b[24:], uint32(h.form))
	le.PutUint32(b[28:], uint32(len(b)))
	for i, s := range h.sectionList() {
		at := headerSectionStart + i*headerSectionBytes
		le.PutUint64(b[at:], s.offset)
		le.PutUint64(b[at+8:], s.length)
		le.PutUint32(b[at+16:], s.crc)
	}
	h.crc = checksum(b)
	le.PutUint32(b[headerCRCOffset:], h.crc)
	return b
}

// readHeader reads and validates the header of a node file of size bytes.
func readHeader(r io.ReaderAt, size int64) (*header, error) {
	var page [pagesHeaderBytes]byte
	b := page[:]
	n, err := r.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read header: got %d of %d bytes: %w", n, len(b), err)
	}
	return decodeHeader(b[:n], size)
}

// decodeHeader validates in the order magic, version, length, checksum, layout.
// It changes b.
func decodeHeader(b []byte, size int64) (*header, error) {
	le := binary.LittleEndian
	if len(b) < 8 {
		return nil, fmt.Errorf("header has %d bytes: %w", len(b), ErrMagic)
	}
	if magic := le.Uint64(b); magic != nodeMagic {
		return nil, fmt.Errorf("magic is %#x, want %#x: %w", magic, uint64(nodeMagic), ErrMagic)
	}
	version := uint32(0)
	if len(b) >= headerCRCOffset {
		if version = le.Uint32(b[8:]); version < nodeVersion || version > nodeVersionMasks {
			return nil, fmt.Errorf("version is %d, this program reads %d to %d: %w", version, nodeVersion, nodeVersionMasks, ErrVersion)
		}
	}
	if len(b) < differencesHeaderBytes {
		return nil, fmt.Errorf("header has %d of %d bytes: %w", len(b), differencesHeaderBytes, ErrLength)
	}
	h := &header{version: version, crc: le.Uint32(b[headerCRCOffset:]), total: le.Uint64(b[16:]), form: Form(le.Uint32(b[24:]))}
	if size < 0 || h.total != uint64(size) {
		return nil, fmt.Errorf("header tells %d bytes, the file has %d: %w", h.total, size, ErrLength)
	}
	length := uint64(le.Uint32(b[28:]))
	if length != h.form.headerBytes() || length > uint64(len(b)) || h.form != FormPages && h.form != FormDifferences {
		// Which of the fields is wrong cannot be told before the checksum is
		// right, and its extent is one of them.
		return nil, fmt.Errorf("header of %v has %d bytes: %w", h.form, length, ErrChecksum)
	}
	page := b[:length]
	clear(page[headerCRCOffset : headerCRCOffset+4])
	if got := checksum(page); got != h.crc {
		return nil, fmt.Errorf("header checksum is %#08x, sealed as %#08x: %w", got, h.crc, ErrChecksum)
	}
	if version == nodeVersionDonors && h.form != FormPages || version == nodeVersionMasks && h.form != FormDifferences {
		return nil, fmt.Errorf("version %d in the form %v: %w", version, h.form, ErrFormat)
	}
	next := length
	for i := range h.sectionList() {
		at := headerSectionStart + i*headerSectionBytes
		s := section{offset: le.Uint64(page[at:]), length: le.Uint64(page[at+8:]), crc: le.Uint32(page[at+16:])}
		if s.offset != next || next > h.total || s.length > h.total-next {
			return nil, fmt.Errorf("%v section is %d bytes at %d, expected at %d of %d: %w",
				sectionID(i), s.length, s.offset, next, h.total, ErrFormat)
		}
		next += s.length
		h.sections[i] = s
	}
	if next != h.total {
		return nil, fmt.Errorf("sections end at %d of %d: %w", next, h.total, ErrFormat)
	}
	switch n := h.sections[sectionData].length; {
	case h.form == FormPages && n%PageSize != 0:
		return nil, fmt.Errorf("data section is %d bytes, not whole pages: %w", n, ErrFormat)
	case h.form == FormDifferences && n > maxDeltaBytes:
		return nil, fmt.Errorf("data section is %d bytes, at most %d: %w", n, uint64(maxDeltaBytes), ErrFormat)
	case h.form == FormDifferences && h.sections[sectionState].length != 0:
		return nil, fmt.Errorf("state section beside differences: %w", ErrFormat)
	}
	for id, limit := range map[sectionID]uint64{sectionMetadata: maxMetadataBytes, sectionState: maxStateBytes} {
		if n := h.sections[id].length; n > limit {
			return nil, fmt.Errorf("%v section is %d bytes, at most %d: %w", id, n, limit, ErrFormat)
		}
	}
	return h, nil
}

// readSection reads one section other than whole pages and checks it.
func (h *header) readSection(r io.ReaderAt, id sectionID) ([]byte, error) {
	s := h.sections[id]
	if whole, ok := r.(bytesAt); ok && s.offset+s.length <= uint64(len(whole)) {
		b := whole[s.offset : s.offset+s.length : s.offset+s.length]
		if got := checksum(b); got != s.crc {
			return nil, fmt.Errorf("%v section: checksum is %#08x, sealed as %#08x: %w", id, got, s.crc, ErrChecksum)
		}
		return b, nil
	}
	b := make([]byte, s.length)
	if n, err := r.ReadAt(b, int64(s.offset)); n < len(b) {
		return nil, fmt.Errorf("read %v section at offset %d: got %d of %d bytes: %w", id, s.offset, n, len(b), noEOF(err))
	}
	if got := checksum(b); got != s.crc {
		return nil, fmt.Errorf("%v section: checksum is %#08x, sealed as %#08x: %w", id, got, s.crc, ErrChecksum)
	}
	return b, nil
}

// bytesAt reads a file that is in memory.
type bytesAt []byte

func (b bytesAt) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
