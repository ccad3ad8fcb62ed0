package process

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"seuss/dirtytrack"
	"seuss/guest"
	"seuss/vmm/internal/demand"
	"seuss/vmm/platform"
)

// memory is the memory of a machine: a memfd that the monitor and the stub map,
// and over it, in the stub only, private mappings of snapshots' files.
//
// A store of the guest to a page that shows a file makes the stub's kernel copy
// it, at the cost of a page fault. Such a copy is in the stub alone. absorb, which
// the tracker does after a run, moves copies into the memfd, where resetting them
// is a memcpy of the monitor's; so does Claim with what the monitor touches.
//
// What the stub has mapped is brought up to date in one go (flush), before the
// guest runs.
type memory struct {
	vm     *VM
	file   *os.File
	window []byte
	// below is what is mapped under the memfd's pages; shown are the pages of it
	// that the guest sees.
	below runs
	shown *dirtytrack.PageSet
	// stale are the pages where the stub's mapping is not yet what it should be, and what
	// the guest stored to it counts no more.
	stale  *dirtytrack.PageSet
	tables tables
	reader tableReader
	far    far
	paging platform.Paging
	space  *demand.Space // nil where the host cannot page on demand

	claims uint64              // pages that became the memfd's because the monitor wanted them
	ran    bool                // since absorb: there may be copies in the stub
	copies *dirtytrack.Pagemap // finds them
	found  *dirtytrack.PageSet
	remote *os.File // the stub's address space
	buffer [pageSize]byte
}

var _ platform.Backing = (*memory)(nil)

func newMemory(vm *VM, bytes uint64) (*memory, error) {
	f, err := memfd("seuss-memory", int64(bytes))
	if err != nil {
		return nil, err
	}
	window, err := mapMemory(f, bytes)
	if err != nil {
		f.Close()
		return nil, err
	}
	if vm.platform.small {
		_ = unix.Madvise(window, unix.MADV_NOHUGEPAGE) // a kernel without huge pages refuses that
	}
	pages := bytes / pageSize
	return &memory{vm: vm, file: f, window: window, shown: dirtytrack.NewPageSet(pages),
		stale: dirtytrack.NewPageSet(pages), found: dirtytrack.NewPageSet(pages)}, nil
}

// attach opens what the kernel tells of the stub's memory.
func (m *memory) attach(pid int) (err error) {
	if m.copies, err = dirtytrack.PagemapOf(pid, 0, uint64(len(m.window))/pageSize); err != nil {
		return err
	}
	m.remote, err = os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	return err
}

// absorb moves what the guest has stored to into the memfd.
func (m *memory) absorb() error {
	if !m.ran {
		return nil
	}
	if err := m.absorbRange(0, uint64(len(m.window))/pageSize); err != nil {
		return err
	}
	m.ran = false
	return nil
}

// absorbRange does that for some pages, which may then be mapped anew.
func (m *memory) absorbRange(first, count uint64) error {
	m.found.Clear()
	if err := m.copies.CollectRange(first, count, m.found); err != nil {
		return err
	}
	for first, count := range m.found.Runs() {
		for end := first + count; first < end; first++ {
			n := uint64(0)
			for first+n < end && m.copied(first+n) {
				n++
			}
			if n == 0 {
				continue
			}
			if _, err := m.remote.ReadAt(m.window[first*pageSize:(first+n)*pageSize], int64(first*pageSize)); err != nil {
				return fmt.Errorf("read %d pages of the guest's process at %#x: %w", n, first*pageSize, err)
			}
			for page := first; page < first+n; page++ {
				m.shown.Remove(page)
			}
			m.stale.AddRange(first, n)
			first += n - 1
		}
	}
	return nil
}

// copied tells whether what the stub has of its own of a page is what the guest sees:
// not where the page is the memfd's since, or something else was mapped below it.
func (m *memory) copied(page uint64) bool { return m.shown.Has(page) && !m.stale.Has(page) }

// content returns what the guest sees in a page that shows a file.
func (m *memory) content(page uint64) ([]byte, error) {
	if m.ran && m.copied(page) {
		m.found.Clear()
		if err := m.copies.CollectRange(page, 1, m.found); err != nil {
			return nil, err
		}
		if m.found.Has(page) {
			_, err := m.remote.ReadAt(m.buffer[:], int64(page*pageSize))
			return m.buffer[:], err
		}
	}
	if err := m.paging.Fill(page, 1); err != nil {
		return nil, err
	}
	return m.below.find(page).content(page), nil
}

// Bytes implements platform.Backing.
func (m *memory) Bytes() []byte { return m.window }

// Shared implements platform.Backing: where a file is shown, the window is not what the
// guest sees.
func (m *memory) Shared() bool { return false }

// MapFile implements platform.Backing.
func (m *memory) MapFile(first, count uint64, f *os.File, off int64) error {
	s, err := m.vm.platform.sources.get(f)
	if err != nil {
		return err
	}
	if uint64(off)+count*pageSize > uint64(len(s.data)) {
		return errors.Join(fmt.Errorf("%s has %d bytes, %d are needed", f.Name(), len(s.data), uint64(off)+count*pageSize),
			m.vm.platform.sources.release(s, 1))
	}
	if err := m.lay(run{first, count, s, off}); err != nil {
		return err
	}
	m.paging.Lay(first, count, nil, 0)
	m.show(first, count)
	return nil
}

// show makes pages show what is mapped below them.
func (m *memory) show(first, count uint64) {
	m.shown.AddRange(first, count)
	m.stale.AddRange(first, count)
	m.far.unclaimed = true
}

// MapZero implements platform.Backing: a hole of the memfd shows zeros.
func (m *memory) MapZero(first, count uint64) error {
	if err := m.lay(run{first: first, count: count}); err != nil {
		return err
	}
	m.paging.Lay(first, count, nil, 0)
	m.forget(first, count)
	return nil
}

// lay puts n below the memfd's pages and takes those away.
func (m *memory) lay(n run) error {
	if err := m.punch(n.first, n.count); err != nil {
		return err
	}
	below, lost, won := m.below.replace(n)
	m.below = below
	var errs []error
	s := &m.vm.platform.sources
	for _, x := range won {
		s.mu.Lock()
		x.refs++
		s.mu.Unlock()
	}
	for _, x := range lost {
		errs = append(errs, s.release(x, 1))
	}
	return errors.Join(errs...)
}

// forget makes pages show the memfd.
func (m *memory) forget(first, count uint64) {
	for page := first; page < first+count; page++ {
		if m.shown.Has(page) {
			m.shown.Remove(page)
			m.stale.Add(page)
		}
	}
}

// punch drops the guest's own content of pages.
func (m *memory) punch(first, count uint64) error {
	err := unix.Fallocate(int(m.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, int64(first*pageSize), int64(count*pageSize))
	if err != nil {
		return fmt.Errorf("drop guest memory, pages %d+%d: %w", first, count, err)
	}
	return nil
}

// Claim implements platform.Backing.
func (m *memory) Claim(first, count uint64) error {
	for page := first; page < first+count; page++ {
		if !m.shown.Has(page) {
			continue
		}
		content, err := m.content(page)
		if err != nil {
			return fmt.Errorf("read the guest's process at %#x: %w", page*pageSize, err)
		}
		copy(m.window[page*pageSize:], content)
		m.shown.Remove(page)
		m.stale.Add(page)
		m.claims++
	}
	return nil
}

// Populate implements platform.Backing.
func (m *memory) Populate(first, count uint64) error { return m.Claim(first, count) }

// Discard implements platform.Backing.
func (m *memory) Discard(first, count uint64) error {
	if err := m.punch(first, count); err != nil {
		return err
	}
	for i := m.below.at(first); i < len(m.below) && m.below[i].first < first+count; i++ {
		part := m.below[i].part(first, count)
		m.show(part.first, part.count)
	}
	return nil
}

// PreferHuge implements platform.Backing: a file in memory gets huge pages where the host
// says so for all of them.
func (m *memory) PreferHuge(_, _ uint64) bool { return false }

// Page implements platform.Backing.
func (m *memory) Page(page uint64) []byte {
	if m.shown.Has(page) {
		content, err := m.content(page)
		if err != nil {
			return guest.ZeroPage[:] // the process is gone, or the page's file is damaged: who runs the guest learns it
		}
		return content
	}
	// Looking into a hole would put a page there.
	at := int64(page * pageSize)
	if data, err := m.file.Seek(at, unix.SEEK_DATA); err != nil || data >= at+pageSize {
		return guest.ZeroPage[:]
	}
	return m.window[page*pageSize : (page+1)*pageSize]
}

// Tracker implements platform.Backing: once the copies are absorbed, the guest's own
// pages are those of the memfd that hold data.
func (m *memory) Tracker() (dirtytrack.Tracker, error) {
	return &tracker{dirtytrack.NewFileData(m.file, uint64(len(m.window))/pageSize), m}, nil
}

type tracker struct {
	*dirtytrack.FileData
	mem *memory
}

// Collect implements dirtytrack.Tracker.
func (t *tracker) Collect(into *dirtytrack.PageSet) error {
	if err := t.mem.absorb(); err != nil {
		return err
	}
	return t.FileData.Collect(into)
}

// Resident implements platform.Backing. The memfd is the guest's own whether it has its
// pages mapped or the monitor has; what the stub's kernel copied of a snapshot is too.
func (m *memory) Resident() (platform.Resident, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(m.file.Fd()), &st); err != nil {
		return platform.Resident{}, err
	}
	const blockBytes = 512 // of st_blocks
	r := platform.Resident{Private: uint64(st.Blocks) * blockBytes}
	pid := strconv.Itoa(m.vm.proc.pid)
	rss, anonymous, err := platform.ResidentOf(pid, "memfd:"+m.file.Name(), 0, uint64(len(m.window)))
	r.Private += anonymous
	r.Shared = rss - min(anonymous, rss)
	return r, err
}

// Close implements platform.Backing. The stub must be gone.
func (m *memory) Close() error {
	var errs []error
	if m.space != nil {
		errs = append(errs, m.space.Close()) // before what its goroutines use goes
	}
	for _, r := range m.below {
		errs = append(errs, m.vm.platform.sources.release(r.source, 1))
	}
	m.below = nil
	if m.window != nil {
		if err := unmapMemory(m.window); err != nil {
			errs = append(errs, fmt.Errorf("unmap guest memory: %w", err))
		}
		m.window = nil
	}
	if m.copies != nil {
		errs = append(errs, m.copies.Close())
	}
	if m.remote != nil {
		errs = append(errs, m.remote.Close())
	}
	errs = append(errs, m.file.Close())
	return errors.Join(errs...)
}
