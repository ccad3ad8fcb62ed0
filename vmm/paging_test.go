package vmm

import (
	"bytes"
	"testing"

	"seuss/guest"
	"seuss/vmm/internal/x86"
	"seuss/vmm/platform"
)

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
			e, err := m.ReadU64(GPA(at + address>>shift%x86.TableEntries*8))
			if err != nil {
				t.Fatal(err)
			}
			if e&x86.EntryPresent == 0 || e&x86.EntryLarge != 0 || shift == 12 {
				return e
			}
			at = e &^ (pageSize - 1)
		}
	}
	for _, c := range []struct{ address, bits uint64 }{
		{0, 0}, {guest.LowGPA - 1, 0}, {guest.LowGPA, x86.PageEntry}, {guest.KernelGPA, x86.PageEntry &^ x86.EntryWritable},
		{data - 1, x86.PageEntry &^ x86.EntryWritable}, {data, x86.PageEntry}, {guest.ProgramGPA, x86.PageEntry}, {8<<20 - 1, x86.PageEntry},
		{8 << 20, x86.PageEntry &^ x86.EntryWritable}, {8<<20 + image - 1, x86.PageEntry &^ x86.EntryWritable}, {8<<20 + image, 0},
		{guest.DeviceGPA, x86.PageEntry | x86.EntryLarge}, {1 << 30, 0},
	} {
		e := entry(c.address)
		if e&(pageSize-1) != c.bits || c.bits != 0 && e&^(pageSize-1) != c.address&^(pageSize-1) {
			t.Errorf("entry of %#x is %#x, want bits %#x", c.address, e, c.bits)
		}
	}
}

// TestFarTablesAreNamed: what the list maps has its table in the top one, which is
// written only then.
func TestFarTablesAreNamed(t *testing.T) {
	m := newTestMemory(t, 8<<20, 0)
	const list = 0x100000
	control := make([]byte, guest.ControlSize)
	put64(control[guest.ControlFarGPA:], list)
	put32(control[guest.ControlFarCount:], 1)
	put32(control[guest.ControlFarUsed:], 1)
	last := uint64(guest.FarBase+guest.FarBytes)/pageSize - 1
	if err := m.WriteStruct(list, []guest.Far{{First: last, RAM: 600, Count: 1, Open: 1}}); err != nil {
		t.Fatal(err)
	}
	for _, written := range []bool{true, false} {
		m.HostWritten().Clear()
		if _, err := m.mapFar(control, false); err != nil {
			t.Fatal(err)
		}
		root := platform.FarRoot(last)
		if got, err := m.ReadU64(guest.PML4GPA + (guest.FarBase>>39+GPA(root))*8); err != nil || got != platform.FarEntry(root) {
			t.Errorf("entry %#x, %v", got, err)
		}
		if m.HostWritten().Has(guest.PML4GPA/pageSize) != written {
			t.Errorf("the top table was written: %v", !written)
		}
	}
}
