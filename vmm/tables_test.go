package vmm

import (
	"bytes"
	"encoding/binary"
	"testing"

	"seuss/guest"
	"seuss/vmm/internal/x86"
)

// TestTableFiles: every guest gets the tables of its own layout, whatever was booted
// before it, and its stores to them are its own.
func TestTableFiles(t *testing.T) {
	layouts := []tableLayout{}
	for n := range uint64(tableFilesKept + 2) {
		ram := (8 + n) << 21
		layouts = append(layouts, tableLayout{ram, ram + n*pageSize + 5<<20, guest.KernelGPA + 3*pageSize})
	}
	for range 2 {
		for _, l := range append(layouts, layouts[1], layouts[0]) {
			m, err := NewMemory(l.ram, l.end-l.ram)
			if err != nil {
				t.Fatal(err)
			}
			want := l.pages()
			tables := pageTables{m}.start()
			if got := l.ram - uint64(tables); got != uint64(len(want)) {
				t.Fatalf("%+v: %d bytes of tables, room for %d", l, len(want), got)
			}
			if err := (pageTables{m}).write(GPA(l.data)); err != nil {
				t.Fatal(err)
			}
			got := m.Bytes()[tables:l.ram]
			if !bytes.Equal(got, want) {
				t.Fatalf("%+v: other tables", l)
			}
			for page, entry := range map[uint64]uint64{
				0: 0, guest.LowGPA/pageSize - 1: 0,
				guest.KernelGPA / pageSize: guest.KernelGPA | x86.PageEntry&^x86.EntryWritable, l.data / pageSize: l.data | x86.PageEntry,
				l.ram / pageSize: l.ram | x86.PageEntry&^x86.EntryWritable, l.end/pageSize - 1: l.end - pageSize | x86.PageEntry&^x86.EntryWritable,
			} {
				if e := binary.LittleEndian.Uint64(got[page*8:]); e != entry {
					t.Errorf("%+v: entry of page %#x is %#x, want %#x", l, page, e, entry)
				}
			}
			if !m.HostWritten().Has(uint64(tables) / pageSize) {
				t.Error("nobody knows that the monitor wrote the tables")
			}
			clear(got) // the next guest with this layout must not see it
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := len(tableFiles.latest); n > tableFilesKept {
		t.Errorf("%d files are kept", n)
	}
}
