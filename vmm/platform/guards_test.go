package platform

import (
	"encoding/binary"
	"slices"
	"testing"

	"seuss/guest"
)

// TestGuardsInHostileList: whatever the guest writes, no range reaches out of
// memory and all together are no more pages than there are.
func TestGuardsInHostileList(t *testing.T) {
	const pages = 1000
	list := make([]byte, guest.GuardsSize)
	binary.LittleEndian.PutUint32(list, ^uint32(0))
	ranges := [][2]uint64{{10, 5}, {999, 1}, {1000, 1}, {999, 2}, {^uint64(0), 2}, {1, ^uint64(0)}, {0, 900}, {0, 900}, {20, 0}}
	for i, r := range ranges {
		binary.LittleEndian.PutUint64(list[guest.GuardsRanges+i*guest.RangeSize:], r[0])
		binary.LittleEndian.PutUint64(list[guest.GuardsRanges+i*guest.RangeSize+8:], r[1])
	}
	var got [][2]uint64
	for first, count := range GuardsIn(list, pages) {
		if count > 0 {
			got = append(got, [2]uint64{first, count})
		}
	}
	if want := [][2]uint64{{10, 5}, {999, 1}, {0, 900}}; !slices.Equal(got, want) {
		t.Errorf("ranges %v, want %v", got, want)
	}
}
