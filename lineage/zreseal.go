package lineage

import (
	"encoding/binary"
)

// reseal gives mutated bytes right checksums where the layout still allows it,
// so that fuzzing reaches the code behind them.
func reseal(b []byte) {
	if len(b) < differencesHeaderBytes {
		return
	}
	le := binary.LittleEndian
	sections := sectionCount
	if le.Uint32(b[8:]) == nodeVersionDonors && len(b) >= pagesHeaderBytes {
		sections = maxSections
	}
	for id := range sections {
		at := headerSectionStart + int(id)*headerSectionBytes
		off, n := le.Uint64(b[at:]), le.Uint64(b[at+8:])
		if (id != sectionData || le.Uint32(b[24:]) == uint32(FormDifferences)) && off <= uint64(len(b)) && n <= uint64(len(b))-off {
			le.PutUint32(b[at+16:], checksum(b[off:off+n]))
		}
	}
	resealHeader(b)
}

func resealHeader(b []byte) {
	n := binary.LittleEndian.Uint32(b[28:])
	if n != pagesHeaderBytes && n != differencesHeaderBytes || uint64(n) > uint64(len(b)) {
		return
	}
	clear(b[headerCRCOffset : headerCRCOffset+4])
	binary.LittleEndian.PutUint32(b[headerCRCOffset:], checksum(b[:n]))
}
