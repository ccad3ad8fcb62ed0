package vmm_test

import (
	"encoding/binary"
	"testing"

	"seuss/guest"
	"seuss/vmm"
	"seuss/vmm/vmmtest"
)

// TestForgedRegionTable: a guest that has its own page tables lead to where a platform keeps
// what is shared reaches by them what it has mapped, with the rights that it has, and
// nothing once it is another instance.
func TestForgedRegionTable(t *testing.T) {
	p := vmmtest.Require(t)
	r := newRegions(t)
	f := r.add(t, "x", 4)
	b := newRegionBench(t, p, r)
	if !b.Memory().SharesWindow() {
		t.Skip("skipped: nobody reads a guest's page tables on", p.Name())
	}
	if _, err := f.WriteAt([]byte{77}, 0); err != nil {
		t.Fatal(err)
	}
	const forged = 0x5f0 // a page of RAM that nobody has touched
	tables, err := b.Memory().ReadU64(guest.BootGPA + guest.BootTablesGPA)
	if err != nil {
		t.Fatal(err)
	}
	b.setU64(vmm.GPA(tables+forged*8), uint64(guest.FarTablesGPA+guest.FarTablesBytes)|guest.PteBits)
	access := func(store bool) vmm.Stop {
		code := binary.LittleEndian.AppendUint64([]byte{0x48, 0xbf}, forged*guest.PageSize) // mov $, %rdi
		if store {
			code = append(code, 0x48, 0xff, 0x07) // incq (%rdi)
		}
		code = append(code, 0x48, 0x8b, 0x07)                                                 // mov (%rdi), %rax
		code = binary.LittleEndian.AppendUint64(append(code, 0x48, 0xb9), uint64(mailResult)) // mov $, %rcx
		b.program(append(code, 0x48, 0x89, 0x01, 0x0f, 0x0b)...)
		return b.command(cmdProgram)
	}
	b.maps(entry("x", 0, 0, 4, 0))
	open, ram := b.state(), b.content()
	b.check(access(false), vmm.StopIdle)
	if got := b.u64(mailResult); got != 77 {
		t.Fatalf("the forged entry leads to %d: the test looks at nothing", got)
	}
	if stop := access(true); stop.Kind == vmm.StopIdle {
		t.Error("a store through a table of the guest's, where it may only read")
	}
	b.restore(open, ram)
	if stop := access(false); stop.Kind == vmm.StopIdle && b.u64(mailVector) != 14 {
		t.Errorf("another instance reads %d", b.u64(mailResult))
	}
	var word [1]byte
	if _, err := f.ReadAt(word[:], 0); err != nil || word[0] != 77 {
		t.Errorf("the region holds %d (%v)", word[0], err)
	}
}
