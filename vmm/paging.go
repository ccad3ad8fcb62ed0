package vmm

import (
	"encoding/binary"
	"fmt"

	"seuss/guest"
	"seuss/vmm/internal/x86"
)

// largeReadOnly is what the kernel library maps 2 MiB with that nobody writes to.
const largeReadOnly = x86.PageEntry&^x86.EntryWritable | x86.EntryLarge

// pageTables are the page tables in a guest's memory.
type pageTables struct{ *Memory }

// start is where the page tables of RAM and image lie, one after the other: at
// the end of RAM.
func (m pageTables) start() GPA {
	tables := (uint64(m.end()) + largePage - 1) / largePage
	return GPA(m.ram - tables*pageSize)
}

// write maps RAM and image one to one in pages of 4 KiB, so that single
// pages can be protected: nothing below guest.LowGPA, so that null pointers fault;
// for reading only the kernel library below its data, and the image, of which the
// kernel library opens what programs write. Later only entries of pages change.
// The device window is mapped as well; no memory lies behind it.
func (m pageTables) write(data GPA) error {
	tables := m.start()
	for page := uint64(guest.PML4GPA / pageSize); page < guest.PDGPA/pageSize+guest.MaxGiB; page++ {
		want := m.upper(page)
		if want == nil {
			continue
		}
		table := make([]byte, 0, pageSize)
		for i := range uint64(x86.TableEntries) {
			table = binary.LittleEndian.AppendUint64(table, want(i))
		}
		if err := m.Write(GPA(page*pageSize), table); err != nil {
			return fmt.Errorf("write page table: %w", err)
		}
	}
	layout, bytes := tableLayout{m.ram, uint64(m.end()), uint64(data)}, m.ram-uint64(tables)
	if m.SharesWindow() {
		if err := layout.mapTables(m.Memory, uint64(tables)/pageSize, bytes/pageSize); err != nil {
			return fmt.Errorf("map page tables: %w", err)
		}
		m.MarkWritten(tables, bytes)
		return nil
	}
	// Elsewhere the window is the guest's memory only where it was written.
	if err := m.Write(tables, layout.pages()); err != nil {
		return fmt.Errorf("write page tables: %w", err)
	}
	return nil
}

// upper returns the entries of an upper table at a cold boot, nil for a page
// among them that is none.
func (m pageTables) upper(page uint64) func(i uint64) uint64 {
	switch gpa := page * pageSize; {
	case gpa == guest.PML4GPA:
		return func(i uint64) uint64 {
			if i == 0 {
				return guest.PDPTGPA | x86.TableEntry
			}
			return 0
		}
	case gpa == guest.PDPTGPA:
		return func(i uint64) uint64 {
			switch {
			case i == guest.DeviceGPA>>30:
				return guest.PDDeviceGPA | x86.TableEntry
			case i < guest.MaxGiB && i<<30 < uint64(m.end()):
				return (guest.PDGPA + i*pageSize) | x86.TableEntry
			}
			return 0
		}
	case gpa == guest.PDDeviceGPA:
		return func(i uint64) uint64 {
			if i == 0 {
				return guest.DeviceGPA | x86.PageEntry | x86.EntryLarge
			}
			return 0
		}
	case gpa >= guest.PDGPA && gpa < guest.PDGPA+guest.MaxGiB*pageSize:
		first := (page - guest.PDGPA/pageSize) * x86.TableEntries
		return func(i uint64) uint64 {
			if n := first + i; n*largePage < uint64(m.end()) {
				return (uint64(m.start()) + n*pageSize) | x86.TableEntry
			}
			return 0
		}
	}
	return nil
}

// Descriptors of the GDT, SDM vol. 3, 3.4.5 and 7.2.3: flat 64-bit code and
// data at both levels and the TSS.
const (
	gdtCode0 = 0x00af9b000000ffff
	gdtData0 = 0x00cf93000000ffff
	gdtData3 = 0x00cff3000000ffff
	gdtCode3 = 0x00affb000000ffff

	tssBytes   = 104  // SDM vol. 3, figure 7-11
	tssBusy    = 0x8b // present, busy 64-bit TSS
	tssRSP0    = 4
	tssIST1    = guest.TSSIST1
	tssIOMap   = 102
	gdtBytes   = guest.SelTSS + 16
	idtVectors = 256

	gateBytes     = 16
	gateInterrupt = 0x8e // present interrupt gate
	stubBytes     = guest.ExceptionStubBytes
	stubVectors   = guest.Exceptions
)

// descriptors are the GDT, TSS and IDT in a guest's memory.
type descriptors struct{ *Memory }

// write writes GDT, TSS and IDT. Exceptions enter the kernel
// library's stubs at the level at which the guest runs anyway, on the stack
// named by the TSS. Until the kernel library has put its own there, that is
// the rest of the page that holds GDT and TSS.
func (m descriptors) write(cpl uint8, exceptions uint64) error {
	gdt := make([]byte, gdtBytes)
	for sel, d := range map[int]uint64{
		guest.SelCode0:      gdtCode0,
		guest.SelData0:      gdtData0,
		guest.SelData3 &^ 3: gdtData3,
		guest.SelCode3 &^ 3: gdtCode3,
		guest.SelTSS:        (tssBytes - 1) | guest.TSSGPA<<16 | tssBusy<<40,
	} {
		binary.LittleEndian.PutUint64(gdt[sel:], d)
	}
	if err := m.Write(guest.GDTGPA, gdt); err != nil {
		return fmt.Errorf("write GDT: %w", err)
	}
	tss := make([]byte, tssBytes)
	const stack = guest.GDTGPA + pageSize
	binary.LittleEndian.PutUint64(tss[tssRSP0:], stack)
	binary.LittleEndian.PutUint64(tss[tssIST1:], stack)
	binary.LittleEndian.PutUint16(tss[tssIOMap:], tssBytes) // no I/O bitmap
	if err := m.Write(guest.TSSGPA, tss); err != nil {
		return fmt.Errorf("write TSS: %w", err)
	}
	selector := uint16(guest.SelCode0)
	if cpl == 3 {
		selector = guest.SelCode3
	}
	idt := make([]byte, idtVectors*gateBytes)
	for v := range uint64(stubVectors) {
		stub, g := exceptions+v*stubBytes, idt[v*gateBytes:]
		binary.LittleEndian.PutUint16(g[0:], uint16(stub))
		binary.LittleEndian.PutUint16(g[2:], selector)
		g[4] = guest.ISTStack
		g[5] = gateInterrupt | cpl<<5
		binary.LittleEndian.PutUint16(g[6:], uint16(stub>>16))
		binary.LittleEndian.PutUint32(g[8:], uint32(stub>>32))
	}
	if err := m.Write(guest.IDTGPA, idt); err != nil {
		return fmt.Errorf("write IDT: %w", err)
	}
	return nil
}
