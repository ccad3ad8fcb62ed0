package platform

import (
	"encoding/binary"
	"iter"

	"seuss/guest"
)

// GuardsIn decodes a list of guards, which the guest can forge: ranges that do not
// lie in pages are left out, and in all the ranges hold no more pages than that.
func GuardsIn(list []byte, pages uint64) iter.Seq2[uint64, uint64] {
	return func(yield func(uint64, uint64) bool) {
		n := min(binary.LittleEndian.Uint32(list[guest.GuardsCount:]), guest.GuardsMax)
		left := pages
		for r := list[guest.GuardsRanges:][:n*guest.RangeSize]; len(r) > 0; r = r[guest.RangeSize:] {
			first, count := binary.LittleEndian.Uint64(r[guest.RangeFirst:]), binary.LittleEndian.Uint64(r[guest.RangeCount:])
			if first >= pages || count > min(pages-first, left) {
				continue
			}
			left -= count
			if !yield(first, count) {
				return
			}
		}
	}
}
