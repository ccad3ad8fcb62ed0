package process

import (
	"fmt"

	"golang.org/x/sys/unix"

	"seuss/vmm/internal/demand"
	"seuss/vmm/platform"
)

// Paging on demand: while it is set up, the stub opens a userfaultfd for its own
// address space and hands it to the monitor, which has page faults reported where a
// snapshot's file has holes yet. The kernel reports the stub's own accesses only, so
// this needs no privilege; the monitor fills what it looks at itself (content).

// takePaging has the stub open and send the descriptor. Where the host does not
// allow that there is none, and snapshots are filled before they are shown.
func (m *memory) takePaging(l *list) error {
	l.add("page on demand", unix.SYS_USERFAULTFD, demand.SyscallFlags)
	if l.run() != nil {
		return nil
	}
	fd, err := l.p.takeFD(l, int(l.p.area.Calls[0].Result))
	if err != nil {
		return fmt.Errorf("take over the process's page faults: %w", err)
	}
	m.space, err = demand.New(fd, m.pageFault)
	if err != nil {
		m.space = nil // a kernel without that for files in memory
	}
	return nil
}

// pageFault serves a fault of the guest. It runs on a goroutine of its own.
func (m *memory) pageFault(address uint64) {
	// An error is known to the machine, which kicks the guest. It is woken all the
	// same: it waits again, or sees the kick.
	first, count, _ := m.paging.Touch(address / pageSize)
	_ = m.space.Wake(first*pageSize, count*pageSize)
}

// Paging implements platform.Backing.
func (m *memory) Paging() *platform.Paging { return &m.paging }

// MapPager implements platform.Backing.
func (m *memory) MapPager(first, count uint64, p platform.Pager, page uint64) error {
	filled := p.Filled(page, count)
	if !filled && m.space == nil {
		if err := p.Fill(page, count); err != nil {
			return err
		}
		filled = true
	}
	if err := m.MapFile(first, count, p.File(), int64(page*pageSize)); err != nil || filled {
		return err
	}
	m.paging.Lay(first, count, p, page)
	return nil
}

// stretch is a run of guest pages.
type stretch struct{ first, count uint64 }

// appendPaged adds pages that are mapped anew if some of them may be missing.
func (m *memory) appendPaged(list []stretch, first, count uint64) []stretch {
	if m.space == nil || !m.paging.Missing(first, count) {
		return list
	}
	if n := len(list); n > 0 && list[n-1].first+list[n-1].count == first {
		list[n-1].count += count
		return list
	}
	return append(list, stretch{first, count})
}

// registerPaged has faults in them reported.
func registerPaged(space *demand.Space, list []stretch) error {
	for _, s := range list {
		if err := space.Register(s.first*pageSize, s.count*pageSize); err != nil {
			return err
		}
	}
	return nil
}
