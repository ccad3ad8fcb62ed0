package vmm

import (
	"bytes"
	"fmt"
	"iter"

	"seuss/dirtytrack"
	"seuss/guest"
	"seuss/vmm/internal/x86"
	"seuss/vmm/platform"
)

// Access notes what a guest's page tables gave it, for Revoke. A guest can write to
// its tables, and what it does there must not outlive it. A processor, or KVM where
// it shadows the tables, remembers entries:
//
//   - Of a page that KVM knows to be a table it sees the guest's stores, and looks at
//     it when the guest's translations are flushed, which every restore does (package
//     kvm).
//   - It does not see what the monitor stores. Where that takes an entry of the lowest
//     level away, KVM is made to forget the page that it named (Backing.Protect).
//   - The upper tables are the monitor's but for what the kernel library does to them.
//     If a guest has left anything else there, everything is forgotten.
//
// The tables of the far window are out of a guest's reach (farTables).
type Access struct {
	all    bool
	pages  []uint64 // tables of the lowest level that may change
	copies []byte   // what is in them
}

// maxRevoked bounds the runs of pages that are revoked one by one.
const maxRevoked = 256

// Note is called before memory is made another instance's, once the guest has
// stopped. private holds the pages that may not be what they were when the machine
// was last made one; diff yields the runs that are another node's, nil: it stays the
// same node. Where the guest's mappings are made by the monitor nothing is noted.
func (a *Access) Note(m *Memory, private *dirtytrack.PageSet, diff iter.Seq2[uint64, uint64]) {
	a.all, a.pages, a.copies = false, a.pages[:0], a.copies[:0]
	if !m.SharesWindow() {
		return
	}
	tables := pageTables{m}
	const upperFirst, upperEnd = guest.PML4GPA / pageSize, guest.PDGPA/pageSize + guest.MaxGiB
	for page := uint64(upperFirst); page < upperEnd; page++ {
		if !private.Has(page) {
			continue
		}
		if want := tables.upper(page); want != nil && !tables.ordinary(page, want) {
			a.all = true
			return
		}
	}
	first, end := uint64(tables.start())/pageSize, m.ram/pageSize
	for page := range private.From(first) {
		if page >= end {
			break
		}
		a.add(m, page)
	}
	if diff == nil {
		return
	}
	for from, count := range diff {
		for page := max(from, first); page < min(from+count, end); page++ {
			if !private.Has(page) {
				a.add(m, page)
			}
		}
	}
}

func (a *Access) add(m *Memory, page uint64) {
	if m.backing.Paging().Missing(page, 1) {
		return // nobody has looked at it
	}
	a.pages = append(a.pages, page)
	a.copies = append(a.copies, m.backing.Page(page)...)
}

// ordinary reports whether an upper table is as write made it, but for what
// the kernel library may change: entries of the far window, and which of two forms
// maps 2 MiB.
func (m pageTables) ordinary(page uint64, want func(uint64) uint64) bool {
	table := m.backing.Page(page)
	for i := range uint64(x86.TableEntries) {
		have := le64(table[i*8:])
		switch {
		case have == want(i):
		case page == guest.PML4GPA/pageSize && i-guest.FarBase>>39 < platform.FarRoots && (have == 0 || have == platform.FarEntry(i-guest.FarBase>>39)):
		case page >= guest.PDGPA/pageSize && want(i) != 0 && have == ((page-guest.PDGPA/pageSize)*x86.TableEntries+i)*largePage|largeReadOnly:
		default:
			return false
		}
	}
	return true
}

// Revoke is called when memory is another instance's. The guest has no access left
// that it had when Note was called and that its page tables do not give it now.
func (m *Memory) Revoke(a *Access) error {
	if a.all {
		return m.backing.Forget()
	}
	var runs []pageRun
	for i, page := range a.pages {
		was, now := a.copies[i*pageSize:(i+1)*pageSize], m.backing.Page(page)
		if bytes.Equal(was, now) {
			continue
		}
		for i := 0; i < pageSize; i += 8 {
			old := le64(was[i:])
			if page := old & x86.EntryAddress / pageSize; page < m.Pages() && takes(old, le64(now[i:])) {
				runs = appendPage(runs, page)
			}
		}
	}
	if len(runs) > maxRevoked {
		return m.backing.Forget()
	}
	for _, r := range runs {
		if err := m.backing.Protect(r.first, r.count); err != nil {
			return fmt.Errorf("revoke access to pages %d+%d: %w", r.first, r.count, err)
		}
	}
	return nil
}

// takes reports whether an entry allows something that the next one does not.
func takes(old, next uint64) bool {
	const both = x86.EntryPresent | x86.EntryWritable
	return old&x86.EntryPresent != 0 && (old&x86.EntryAddress != next&x86.EntryAddress || old&both&^next != 0)
}

type pageRun struct{ first, count uint64 }

// appendPage adds a page to runs, to the last one where it follows that.
func appendPage(runs []pageRun, page uint64) []pageRun {
	if n := len(runs); n > 0 && runs[n-1].first+runs[n-1].count == page {
		runs[n-1].count++
		return runs
	}
	return append(runs, pageRun{page, 1})
}
