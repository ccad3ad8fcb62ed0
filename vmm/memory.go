package vmm

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"

	"seuss/dirtytrack"
	"seuss/guest"
	"seuss/vmm/internal/mapped"
	"seuss/vmm/platform"
)

// GPA is a guest-physical address, which Memory translates.
type GPA = guest.GPA

const (
	pageSize  = guest.PageSize
	largePage = guest.ImageAlign // 2 MiB, what one of the guest's page tables maps
)

// Memory is a guest's memory: RAM from guest-physical 0 and, directly above
// it, the root image, in one contiguous reservation of host address space.
// What lies below guest.LowGPA belongs to the reservation but not to the guest:
// its page tables do not map it and Slice refuses it.
//
// All access by the monitor goes through the methods. Those that write mark
// the pages in the set that HostWritten returns, because hardware dirty
// tracking does not see them.
type Memory struct {
	backing     platform.Backing
	mem         []byte // backing.Bytes()
	ram         uint64
	image       uint64
	hostWritten *dirtytrack.PageSet
	givenBack   *dirtytrack.PageSet
	files       *dirtytrack.PageSet // pages where a file is mapped, not zeros
	shared      []platform.FarRange // pages of others that the guest sees
	cuts        *dirtytrack.PageSet // pages but the first with which a mapping may begin
	far         bool                // something has been mapped in the far window
}

// NewMemory returns memory of ramBytes of RAM, a multiple of 2 MiB, and
// imageBytes, a multiple of the page size, of room for the root image, in the
// monitor's own address space. Nothing is committed: untouched memory costs the
// host address space only. Contents are zero.
func NewMemory(ramBytes, imageBytes uint64) (*Memory, error) {
	return newMemory(ramBytes, imageBytes, func(bytes uint64) (platform.Backing, error) { return mapped.New(bytes, true) })
}

func newMemory(ramBytes, imageBytes uint64, back func(bytes uint64) (platform.Backing, error)) (*Memory, error) {
	const limit = guest.MaxGiB << 30
	switch {
	case ramBytes < guest.ProgramGPA || ramBytes%largePage != 0:
		return nil, fmt.Errorf("guest RAM of %d bytes: must be a multiple of 2 MiB and at least %d", ramBytes, guest.ProgramGPA)
	case imageBytes%pageSize != 0:
		return nil, fmt.Errorf("root image of %d bytes: must be a multiple of %d", imageBytes, pageSize)
	case ramBytes > limit || imageBytes > limit-ramBytes:
		return nil, fmt.Errorf("guest RAM of %d bytes and root image of %d: together more than %d GiB", ramBytes, imageBytes, guest.MaxGiB)
	}
	b, err := back(ramBytes + imageBytes)
	if err != nil {
		return nil, err
	}
	set := func() *dirtytrack.PageSet { return dirtytrack.NewPageSet((ramBytes + imageBytes) / pageSize) }
	return &Memory{
		backing: b, mem: b.Bytes(), ram: ramBytes, image: imageBytes, hostWritten: set(), givenBack: set(), files: set(), cuts: set(),
	}, nil
}

// RAMBytes returns the size of RAM, what lies below guest.LowGPA included.
func (m *Memory) RAMBytes() uint64 { return m.ram }

// ImageGPA returns where the root image lies: at the end of RAM.
func (m *Memory) ImageGPA() GPA { return GPA(m.ram) }

// ImageBytes returns the room for the root image.
func (m *Memory) ImageBytes() uint64 { return m.image }

// Pages returns the number of pages of RAM and image together.
func (m *Memory) Pages() uint64 { return uint64(len(m.mem)) / pageSize }

// Bytes returns the window on the whole reservation: guest-physical address n
// is byte n. It is for copying whole pages that are known to be the guest's own
// (Tracker, Populate); Page reads any. Writing through it marks nothing.
func (m *Memory) Bytes() []byte { return m.mem }

// HostWritten returns the set of pages that the monitor wrote since the caller
// last cleared it.
func (m *Memory) HostWritten() *dirtytrack.PageSet { return m.hostWritten }

// end returns the first address behind memory.
func (m *Memory) end() GPA { return GPA(len(m.mem)) }

// Slice returns n bytes of guest memory at gpa as a window, not a copy. A
// range that is not entirely in memory, or reaches below guest.LowGPA, is an error that
// wraps ErrGuestAddress. Writing through the window needs MarkWritten.
func (m *Memory) Slice(gpa GPA, n uint64) ([]byte, error) {
	if gpa < guest.LowGPA || gpa > m.end() || n > uint64(m.end()-gpa) {
		return nil, addressError(gpa, n, m.end())
	}
	if n > 0 {
		first := uint64(gpa) / pageSize
		if err := m.backing.Claim(first, (uint64(gpa)+n-1)/pageSize-first+1); err != nil {
			return nil, err
		}
	}
	return m.mem[gpa : uint64(gpa)+n : uint64(gpa)+n], nil
}

// MarkWritten records that the monitor wrote n bytes at gpa, which must be a
// range that Slice has accepted.
func (m *Memory) MarkWritten(gpa GPA, n uint64) {
	if n == 0 {
		return
	}
	first, last := uint64(gpa)/pageSize, (uint64(gpa)+n-1)/pageSize
	if m.givenBack.Len() > 0 {
		for page := first; page <= last; page++ {
			m.givenBack.Remove(page)
		}
	}
	if first == last {
		m.hostWritten.Add(first)
		return
	}
	m.hostWritten.AddRange(first, last-first+1)
}

// Read copies len(p) bytes at gpa into p.
func (m *Memory) Read(gpa GPA, p []byte) error {
	s, err := m.Slice(gpa, uint64(len(p)))
	if err == nil {
		copy(p, s)
	}
	return err
}

// Write copies p to gpa.
func (m *Memory) Write(gpa GPA, p []byte) error {
	s, err := m.Slice(gpa, uint64(len(p)))
	if err != nil {
		return err
	}
	copy(s, p)
	m.MarkWritten(gpa, uint64(len(p)))
	return nil
}

// ReadU64 returns the little-endian word at gpa.
func (m *Memory) ReadU64(gpa GPA) (uint64, error) {
	s, err := m.Slice(gpa, 8)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(s), nil
}

// ReadU32 returns the little-endian word at gpa.
func (m *Memory) ReadU32(gpa GPA) (uint32, error) {
	s, err := m.Slice(gpa, 4)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(s), nil
}

// WriteU64 stores a little-endian word at gpa.
func (m *Memory) WriteU64(gpa GPA, v uint64) error {
	s, err := m.Slice(gpa, 8)
	if err != nil {
		return err
	}
	binary.LittleEndian.PutUint64(s, v)
	m.MarkWritten(gpa, 8)
	return nil
}

// WriteU32 stores a little-endian word at gpa.
func (m *Memory) WriteU32(gpa GPA, v uint32) error {
	s, err := m.Slice(gpa, 4)
	if err != nil {
		return err
	}
	binary.LittleEndian.PutUint32(s, v)
	m.MarkWritten(gpa, 4)
	return nil
}

// ReadStruct copies the bytes at gpa into v, a pointer to one of package
// guest's mirrors.
func (m *Memory) ReadStruct(gpa GPA, v any) error {
	n := binary.Size(v)
	if n < 0 {
		return fmt.Errorf("read guest memory into %T: not a fixed-size structure", v)
	}
	s, err := m.Slice(gpa, uint64(n))
	if err != nil {
		return err
	}
	if _, err := binary.Decode(s, binary.LittleEndian, v); err != nil {
		return fmt.Errorf("read guest memory into %T: %w", v, err)
	}
	return nil
}

// WriteStruct stores v, one of package guest's mirrors, at gpa.
func (m *Memory) WriteStruct(gpa GPA, v any) error {
	b, err := binary.Append(nil, binary.LittleEndian, v)
	if err != nil {
		return fmt.Errorf("write %T to guest memory: %w", v, err)
	}
	return m.Write(gpa, b)
}

// MapFile replaces count pages from page first on by the content of f from
// byte offset off, copy-on-write: the guest's stores stay private. The file
// must not shrink while it is mapped.
func (m *Memory) MapFile(first, count uint64, f *os.File, off int64) error {
	window, err := m.pages(first, count)
	if err != nil {
		return fmt.Errorf("map %s: %w", f.Name(), err)
	}
	if off < 0 || off%pageSize != 0 || off > math.MaxInt64-int64(len(window)) {
		return fmt.Errorf("map %s at page %d: offset %d is not page aligned", f.Name(), first, off)
	}
	if err := m.backing.MapFile(first, count, f, off); err != nil {
		return fmt.Errorf("map %d pages of %s, offset %d, at page %d: %w", count, f.Name(), off, first, err)
	}
	m.files.AddRange(first, count)
	cut(m, first, count)
	return nil
}

// cut notes that pages are a mapping of their own, and no longer several.
func cut(m *Memory, first, count uint64) {
	m.cuts.RemoveRange(first, count)
	bound(m, first, count)
}

// bound notes that mappings begin at the first of pages and behind the last one.
func bound(m *Memory, first, count uint64) {
	if first > 0 {
		m.cuts.Add(first)
	}
	if end := first + count; end < m.Pages() {
		m.cuts.Add(end)
	}
}

// Mappings is how many mappings of a process show memory, at most: the kernel joins
// neighbours where it can.
func (m *Memory) Mappings() int { return int(m.cuts.Len()) + 1 }

// MapPager is MapFile of a file that is filled as the guest touches its pages. Where
// the host cannot tell the monitor about that, all of them are filled here.
func (m *Memory) MapPager(first, count uint64, p platform.Pager, page uint64) error {
	if _, err := m.pages(first, count); err != nil {
		return fmt.Errorf("map %s: %w", p.File().Name(), err)
	}
	if err := m.backing.MapPager(first, count, p, page); err != nil {
		return fmt.Errorf("map %d pages of %s, from page %d, at page %d: %w", count, p.File().Name(), page, first, err)
	}
	m.files.AddRange(first, count)
	cut(m, first, count)
	return nil
}

// Paging returns what is known of the pages that are paged in on demand.
func (m *Memory) Paging() *platform.Paging { return m.backing.Paging() }

// MapZero replaces count pages from page first on by fresh zero pages.
func (m *Memory) MapZero(first, count uint64) error {
	if _, err := m.pages(first, count); err != nil {
		return fmt.Errorf("map zero pages: %w", err)
	}
	if err := m.backing.MapZero(first, count); err != nil {
		return fmt.Errorf("map %d zero pages at page %d: %w", count, first, err)
	}
	m.files.RemoveRange(first, count)
	cut(m, first, count)
	return nil
}

// Page returns the content of a page, less than Pages, to be read. It is valid
// until the next call of any method.
func (m *Memory) Page(page uint64) []byte { return m.backing.Page(page) }

// Tracker returns a tracker that finds the pages which are the guest's own. It
// must be closed before the memory.
func (m *Memory) Tracker() (dirtytrack.Tracker, error) { return m.backing.Tracker() }

// Close releases the memory. Every window into it becomes invalid.
func (m *Memory) Close() error {
	if m.backing == nil {
		return nil
	}
	b := m.backing
	m.backing, m.mem = nil, nil
	if err := b.Close(); err != nil {
		return fmt.Errorf("release guest memory: %w", err)
	}
	return nil
}

// pages returns the window of a page run, wherever it lies in the reservation.
func (m *Memory) pages(first, count uint64) ([]byte, error) {
	if count == 0 || first > m.Pages() || count > m.Pages()-first {
		return nil, fmt.Errorf("pages %d+%d: memory has %d pages", first, count, m.Pages())
	}
	return m.mem[first*pageSize : (first+count)*pageSize], nil
}
