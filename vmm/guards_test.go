package vmm

import (
	"bytes"
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

// TestProtectKeepsContent: pages that KVM is made to forget hold what they held.
func TestProtectKeepsContent(t *testing.T) {
	m := newTestMemory(t, guest.ProgramGPA, 0)
	want := bytes.Repeat([]byte{7}, pageSize)
	if err := m.Write(100*pageSize, want); err != nil {
		t.Fatal(err)
	}
	if err := m.backing.Protect(99, 3); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(m.Page(100), want) {
		t.Error("the page's content is gone")
	}
	if err := m.Write(101*pageSize, want); err != nil {
		t.Fatal(err)
	}
}

// TestPageTables: what is mapped, and what can be written, at a cold boot.
func TestPageTables(t *testing.T) {
	const image = 3 << 20 // ends within a table
	m := newTestMemory(t, 8<<20, image)
	const data = guest.KernelGPA + 5*pageSize
	if err := (pageTables{m}).write(data); err != nil {
		t.Fatal(err)
	}
	entry := func(address uint64) uint64 {
		at := uint64(guest.PML4GPA)
		for shift := 39; ; shift -= 9 {
			e, err := m.ReadU64(GPA(at + address>>shift%pteCount*8))
			if err != nil {
				t.Fatal(err)
			}
			if e&ptePresent == 0 || e&pteLarge != 0 || shift == 12 {
				return e
			}
			at = e &^ (pageSize - 1)
		}
	}
	for _, c := range []struct{ address, bits uint64 }{
		{0, 0}, {guest.LowGPA - 1, 0}, {guest.LowGPA, ptePage}, {guest.KernelGPA, ptePage &^ pteWritable},
		{data - 1, ptePage &^ pteWritable}, {data, ptePage}, {guest.ProgramGPA, ptePage}, {8<<20 - 1, ptePage},
		{8 << 20, ptePage &^ pteWritable}, {8<<20 + image - 1, ptePage &^ pteWritable}, {8<<20 + image, 0},
		{guest.DeviceGPA, ptePage | pteLarge}, {1 << 30, 0},
	} {
		e := entry(c.address)
		if e&(pageSize-1) != c.bits || c.bits != 0 && e&^(pageSize-1) != c.address&^(pageSize-1) {
			t.Errorf("entry of %#x is %#x, want bits %#x", c.address, e, c.bits)
		}
	}
}
