package process

import (
	"bytes"
	"encoding/binary"

	"seuss/guest"
)

// Guards are stretches of guest memory that nothing may touch. The kernel
// library makes them by taking entries out of the page tables in its memory.
// No processor reads those tables here, so the monitor does: what has no entry
// is mapped without any permission. The tables are part of every snapshot, and
// so are the guards.

const (
	guardPages   = guest.ImageAlign / pageSize // pages that an entry of a page directory maps
	tableEntries = pageSize / 8
)

// guards is what a memory knows of its page directories.
type guards struct {
	tables  [][]byte // as last looked at, one for each GiB
	guarded []bool   // by entry
}

// syncGuards takes over what the page directories say, if that has changed.
// The cost of finding out that nothing has is that of comparing a page a GiB.
func (m *memory) syncGuards() {
	gib := (uint64(len(m.window)) + 1<<30 - 1) >> 30
	for i := range gib {
		table := m.Page(guest.PDGPA/pageSize + i)
		if m.guards.tables == nil {
			m.guards.tables = make([][]byte, gib)
			m.guards.guarded = make([]bool, gib*tableEntries)
		}
		if bytes.Equal(table, m.guards.tables[i]) {
			continue
		}
		m.guards.tables[i] = append(m.guards.tables[i][:0], table...)
		m.takeTable(i, table)
	}
}

// takeTable marks what a changed page directory maps otherwise. An empty one is
// that of a machine which has not been booted.
func (m *memory) takeTable(gib uint64, table []byte) {
	empty := bytes.Equal(table, zeros[:])
	pages := uint64(len(m.window)) / pageSize
	for i := range uint64(tableEntries) {
		entry := gib*tableEntries + i
		first := entry * guardPages
		if first >= pages {
			return
		}
		guarded := !empty && entry != 0 && binary.LittleEndian.Uint64(table[8*i:]) == 0
		if guarded != m.guards.guarded[entry] {
			m.guards.guarded[entry] = guarded
			m.stale.AddRange(first, min(guardPages, pages-first))
		}
	}
}

// isGuard reports whether a page lies in a guard.
func (m *memory) isGuard(page uint64) bool {
	entry := page / guardPages
	return entry < uint64(len(m.guards.guarded)) && m.guards.guarded[entry]
}
