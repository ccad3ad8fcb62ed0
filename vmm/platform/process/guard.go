package process

import (
	"bytes"
	"encoding/binary"
	"maps"

	"golang.org/x/sys/unix"

	"seuss/guest"
	"seuss/vmm/platform"
)

// The guest's page tables are in its memory, and part of every snapshot. No
// processor reads them here, so the stub's mappings follow them: pages are mapped
// as their entries say when they are mapped for another reason. Where an entry
// allows more by now, the guest's access faults, and the page is mapped anew
// (opens). Where it allows less, the guest rings for that (Protect); of another
// node's guards the list of guards tells (syncGuards).

// maxProtected bounds the runs of protected pages that one flush maps. A guest that
// has more in its tables wants to wear the monitor out: its pages are open then.
const maxProtected = 8192

// openPages bounds what is mapped anew together with a page that faulted.
const openPages = 64

// tables is what a memory knows of its guest's page tables.
type tables struct {
	guards  []byte    // the list of guards, as last looked at
	changed []stretch // of those, the ones that are not mapped so yet
	fault   uint64    // address that was opened last in this run, 0 = none
	again   int       // times in a row
}

// protectUnit is how many pages are protected between two looks whether somebody wants
// the guest to stop: what it stored to them may have to be copied.
const protectUnit = 512

// syncGuards takes over the list of guards, if that has changed. The cost of
// finding out that it has not is that of comparing a page.
func (m *memory) syncGuards(stop func() bool) error {
	t := &m.tables
	if list := m.Page(guest.GuardsGPA / pageSize); !bytes.Equal(list, t.guards) {
		pages := uint64(len(m.window)) / pageSize
		known := map[uint64]uint64{}
		if t.guards != nil {
			known = maps.Collect(platform.GuardsIn(t.guards, pages))
		}
		t.guards = append(t.guards[:0], list...)
		for first, count := range platform.GuardsIn(t.guards, pages) {
			if known[first] != count {
				t.changed = append(t.changed, stretch{first, count})
			}
		}
	}
	for len(t.changed) > 0 {
		r := &t.changed[0]
		n := min(r.count, protectUnit)
		if err := m.Protect(r.first, n); err != nil {
			return err
		}
		if r.first, r.count = r.first+n, r.count-n; r.count == 0 {
			t.changed = t.changed[1:]
		}
		if stop() {
			return errKicked
		}
	}
	return nil
}

// Protect implements platform.Backing.
func (m *memory) Protect(first, count uint64) error {
	if err := m.absorbRange(first, count); err != nil {
		return err
	}
	m.stale.AddRange(first, count)
	return nil
}

// opens reports whether the guest may make an access that faulted, and has the
// page, with those around it that are protected in the same way, mapped anew before
// the guest goes on.
func (m *memory) opens(address uint64, write bool) bool {
	page := address / pageSize
	if page < guest.LowGPA/pageSize || page >= uint64(len(m.window))/pageSize {
		return false
	}
	r := m.newTableReader()
	prot := r.prot(page)
	if r.base == 0 || prot == unix.PROT_NONE || write && prot&unix.PROT_WRITE == 0 {
		return false
	}
	if m.tables.again++; m.tables.fault != address {
		m.tables.fault, m.tables.again = address, 0
	} else if m.tables.again > 1 {
		return false // it is for another reason
	}
	first, end := page, page+1
	for first%openPages != 0 && r.prot(first-1) == prot {
		first--
	}
	for end%openPages != 0 && end < uint64(len(m.window))/pageSize && r.prot(end) == prot {
		end++
	}
	return m.Protect(first, end-first) == nil
}

// tableReader looks entries up, a table at a time.
type tableReader struct {
	m       *memory
	base    uint64 // page of the first table, 0 = there are none yet
	current uint64 // table that entries holds, + 1
	entries [pageSize]byte
}

func (m *memory) newTableReader() *tableReader {
	r := &m.reader
	r.m, r.base, r.current = m, 0, 0
	boot := m.Page(guest.BootGPA / pageSize)[guest.BootGPA%pageSize:]
	at := binary.LittleEndian.Uint64(boot[guest.BootTablesGPA:])
	pages := uint64(len(m.window)) / pageSize
	if binary.LittleEndian.Uint64(boot) == guest.BootMagic && at%pageSize == 0 && at < uint64(len(m.window)) &&
		(pages+tableEntries-1)/tableEntries <= pages-at/pageSize {
		r.base = at / pageSize
	}
	return r
}

const tableEntries = pageSize / 8

// prot says how a page is to be mapped.
func (r *tableReader) prot(page uint64) uint64 {
	if r.base == 0 {
		return guestProt
	}
	if table := page/tableEntries + 1; table != r.current {
		copy(r.entries[:], r.m.Page(r.base+table-1))
		r.current = table
	}
	switch entry := binary.LittleEndian.Uint64(r.entries[page%tableEntries*8:]); {
	case entry&guest.PtePresent == 0:
		return unix.PROT_NONE
	case entry&guest.PteWritable == 0:
		return guestProt &^ unix.PROT_WRITE
	}
	return guestProt
}
