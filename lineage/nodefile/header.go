package nodefile

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
//	metadata   JSON, see Metadata
//	state      machine state, opaque
//	index      see Index
//	donors     version 3 only: which pages lie in files of siblings, see Donors
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
// its bytes. Version 4 is of this form; version 2 had it with other data, see differences_v2.go.
//
// Version 1 had one checksum for 64 pages, no page digests, and ids that
// depended on how pages were stored. It is refused.
const (
	nodeMagic          = 0x31444f4e53535553 // "SUSSNOD1"
	VersionPages       = 2
	VersionDonors      = 3
	VersionDifferences = 4

	PagesHeaderBytes       = PageSize
	DifferencesHeaderBytes = 128

	headerCRCOffset    = 12
	HeaderSectionStart = 32
	HeaderSectionBytes = 24
)

// Versions are the versions of the node file that this program reads; what a
// node is written as depends on its form and its siblings.
func Versions() []int { return []int{VersionPages, VersionDonors, VersionDifferences} }

// Bounds of what a reader takes into memory.
const (
	maxMetadataBytes = 1 << 20
	MaxStateBytes    = 64 << 20
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

func (f Form) HeaderBytes() uint64 {
	if f == FormDifferences {
		return DifferencesHeaderBytes
	}
	return PagesHeaderBytes
}

type sectionID int

const (
	SectionData sectionID = iota
	SectionMetadata
	SectionState
	SectionIndex
	SectionDonors // of version 3
	maxSections

	SectionCount = SectionDonors // of version 2
)

func (id sectionID) String() string {
	return [...]string{"data", "metadata", "state", "index", "donors"}[id]
}

type Section struct {
	Offset, Length uint64
	CRC            uint32
}

// Header is the decoded beginning of a node file.
type Header struct {
	Version  uint32
	CRC      uint32 // as it is sealed; encode sets it
	Total    uint64
	Form     Form
	Sections [maxSections]Section
}

// sectionList is what a header of this version lists.
func (h *Header) sectionList() []Section {
	if h.Version == VersionDonors {
		return h.Sections[:]
	}
	return h.Sections[:SectionCount]
}

func (h *Header) Encode() []byte {
	le := binary.LittleEndian
	b := make([]byte, h.Form.HeaderBytes())
	le.PutUint64(b[0:], nodeMagic)
	le.PutUint32(b[8:], h.Version)
	le.PutUint64(b[16:], h.Total)
	le.PutUint32(b[24:], uint32(h.Form))
	le.PutUint32(b[28:], uint32(len(b)))
	for i, s := range h.sectionList() {
		at := HeaderSectionStart + i*HeaderSectionBytes
		le.PutUint64(b[at:], s.Offset)
		le.PutUint64(b[at+8:], s.Length)
		le.PutUint32(b[at+16:], s.CRC)
	}
	h.CRC = Checksum(b)
	le.PutUint32(b[headerCRCOffset:], h.CRC)
	return b
}

// ReadHeader reads and validates the header of a node file of size bytes.
func ReadHeader(r io.ReaderAt, size int64) (*Header, error) {
	var page [PagesHeaderBytes]byte
	b := page[:]
	n, err := r.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read header: got %d of %d bytes: %w", n, len(b), err)
	}
	return DecodeHeader(b[:n], size)
}

// DecodeHeader validates in the order magic, version, length, checksum, layout.
// It changes b.
func DecodeHeader(b []byte, size int64) (*Header, error) {
	le := binary.LittleEndian
	if len(b) < 8 {
		return nil, fmt.Errorf("header has %d bytes: %w", len(b), ErrMagic)
	}
	if magic := le.Uint64(b); magic != nodeMagic {
		return nil, fmt.Errorf("magic is %#x, want %#x: %w", magic, uint64(nodeMagic), ErrMagic)
	}
	version := uint32(0)
	if len(b) >= headerCRCOffset {
		if version = le.Uint32(b[8:]); version < VersionPages || version > VersionDifferences {
			return nil, fmt.Errorf("version is %d, this program reads %d to %d: %w", version, VersionPages, VersionDifferences, ErrVersion)
		}
	}
	if len(b) < DifferencesHeaderBytes {
		return nil, fmt.Errorf("header has %d of %d bytes: %w", len(b), DifferencesHeaderBytes, ErrLength)
	}
	h := &Header{Version: version, CRC: le.Uint32(b[headerCRCOffset:]), Total: le.Uint64(b[16:]), Form: Form(le.Uint32(b[24:]))}
	if size < 0 || h.Total != uint64(size) {
		return nil, fmt.Errorf("header tells %d bytes, the file has %d: %w", h.Total, size, ErrLength)
	}
	length := uint64(le.Uint32(b[28:]))
	if length != h.Form.HeaderBytes() || length > uint64(len(b)) || h.Form != FormPages && h.Form != FormDifferences {
		// Which of the fields is wrong cannot be told before the checksum is
		// right, and its extent is one of them.
		return nil, fmt.Errorf("header of %v has %d bytes: %w", h.Form, length, ErrChecksum)
	}
	page := b[:length]
	clear(page[headerCRCOffset : headerCRCOffset+4])
	if got := Checksum(page); got != h.CRC {
		return nil, fmt.Errorf("header checksum is %#08x, sealed as %#08x: %w", got, h.CRC, ErrChecksum)
	}
	if version == VersionDonors && h.Form != FormPages || version == VersionDifferences && h.Form != FormDifferences {
		return nil, fmt.Errorf("version %d in the form %v: %w", version, h.Form, ErrFormat)
	}
	next := length
	for i := range h.sectionList() {
		at := HeaderSectionStart + i*HeaderSectionBytes
		s := Section{Offset: le.Uint64(page[at:]), Length: le.Uint64(page[at+8:]), CRC: le.Uint32(page[at+16:])}
		if s.Offset != next || next > h.Total || s.Length > h.Total-next {
			return nil, fmt.Errorf("%v section is %d bytes at %d, expected at %d of %d: %w",
				sectionID(i), s.Length, s.Offset, next, h.Total, ErrFormat)
		}
		next += s.Length
		h.Sections[i] = s
	}
	if next != h.Total {
		return nil, fmt.Errorf("sections end at %d of %d: %w", next, h.Total, ErrFormat)
	}
	switch n := h.Sections[SectionData].Length; {
	case h.Form == FormPages && n%PageSize != 0:
		return nil, fmt.Errorf("data section is %d bytes, not whole pages: %w", n, ErrFormat)
	case h.Form == FormDifferences && n > maxDeltaBytes:
		return nil, fmt.Errorf("data section is %d bytes, at most %d: %w", n, uint64(maxDeltaBytes), ErrFormat)
	case h.Form == FormDifferences && h.Sections[SectionState].Length != 0:
		return nil, fmt.Errorf("state section beside differences: %w", ErrFormat)
	}
	for id, limit := range map[sectionID]uint64{SectionMetadata: maxMetadataBytes, SectionState: MaxStateBytes} {
		if n := h.Sections[id].Length; n > limit {
			return nil, fmt.Errorf("%v section is %d bytes, at most %d: %w", id, n, limit, ErrFormat)
		}
	}
	return h, nil
}

// ReadSection reads one section other than whole pages and checks it.
func (h *Header) ReadSection(r io.ReaderAt, id sectionID) ([]byte, error) {
	s := h.Sections[id]
	if whole, ok := r.(Bytes); ok && s.Offset+s.Length <= uint64(len(whole)) {
		b := whole[s.Offset : s.Offset+s.Length : s.Offset+s.Length]
		if got := Checksum(b); got != s.CRC {
			return nil, fmt.Errorf("%v section: checksum is %#08x, sealed as %#08x: %w", id, got, s.CRC, ErrChecksum)
		}
		return b, nil
	}
	b := make([]byte, s.Length)
	if n, err := r.ReadAt(b, int64(s.Offset)); n < len(b) {
		return nil, fmt.Errorf("read %v section at offset %d: got %d of %d bytes: %w", id, s.Offset, n, len(b), NoEOF(err))
	}
	if got := Checksum(b); got != s.CRC {
		return nil, fmt.Errorf("%v section: checksum is %#08x, sealed as %#08x: %w", id, got, s.CRC, ErrChecksum)
	}
	return b, nil
}

// Bytes reads a file that is in memory.
type Bytes []byte

func (b Bytes) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
