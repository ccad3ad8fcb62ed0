package nodefile

import "encoding/binary"

// Reseal gives changed bytes of a node file right checksums where the layout still
// allows it: for tests of what lies behind the checksums, here and in the packages that
// read node files.
func Reseal(b []byte) {
	if len(b) < DifferencesHeaderBytes {
		return
	}
	le := binary.LittleEndian
	sections := SectionCount
	if le.Uint32(b[8:]) == VersionDonors && len(b) >= PagesHeaderBytes {
		sections = maxSections
	}
	for id := range sections {
		at := HeaderSectionStart + int(id)*HeaderSectionBytes
		off, n := le.Uint64(b[at:]), le.Uint64(b[at+8:])
		if (id != SectionData || le.Uint32(b[24:]) == uint32(FormDifferences)) && off <= uint64(len(b)) && n <= uint64(len(b))-off {
			le.PutUint32(b[at+16:], Checksum(b[off:off+n]))
		}
	}
	ResealHeader(b)
}

// ResealHeader gives a changed header the right checksum: see Reseal.
func ResealHeader(b []byte) {
	n := binary.LittleEndian.Uint32(b[28:])
	if n != PagesHeaderBytes && n != DifferencesHeaderBytes || uint64(n) > uint64(len(b)) {
		return
	}
	clear(b[headerCRCOffset : headerCRCOffset+4])
	binary.LittleEndian.PutUint32(b[headerCRCOffset:], Checksum(b[:n]))
}
