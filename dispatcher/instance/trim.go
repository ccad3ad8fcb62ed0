package instance

import (
	"encoding/binary"
	"fmt"

	"seuss/guest"
	"seuss/lineage"
	"seuss/vmm"
)

// trim zeroes the pages that the guest has freed since they were last known to
// be zero, and tells the guest so, so that freed memory never enters a
// snapshot. The guest's bitmaps are hostile: whatever they say, only pages of
// RAM above the kernel library are zeroed, which harms nobody but the guest. Bitmaps that
// cannot be are a *CrashError: the guest has broken its kernel library.
func trim(m *vmm.Machine) (zeroed uint64, err error) {
	mem := m.Memory()
	var c guest.Control
	if err := mem.ReadStruct(guest.ControlGPA, &c); err != nil {
		return 0, fmt.Errorf("trim: %w", err)
	}
	pages := mem.RAMBytes() / lineage.PageSize
	if c.BitmapPages != pages {
		return 0, brokenBitmaps("they cover %d pages, its RAM has %d", c.BitmapPages, pages)
	}
	bytes := (pages + 63) / 64 * 8
	used, err := mem.Slice(vmm.GPA(c.UsedBitmap), bytes)
	if err != nil {
		return 0, brokenBitmaps("used pages: %v", err)
	}
	clean, err := mem.Slice(vmm.GPA(c.CleanBitmap), bytes)
	if err != nil {
		return 0, brokenBitmaps("clean pages: %v", err)
	}
	first := uint64(guest.ProgramGPA) / lineage.PageSize
	for word := first / 64; word < (pages+63)/64; word++ {
		at := word * 8
		dirty := ^binary.LittleEndian.Uint64(used[at:]) &^ binary.LittleEndian.Uint64(clean[at:])
		if dirty == 0 {
			continue
		}
		for bit := uint64(0); bit < 64; bit++ {
			page := word*64 + bit
			if dirty>>bit&1 == 0 || page < first || page >= pages {
				continue
			}
			content, err := mem.Slice(vmm.GPA(page*lineage.PageSize), lineage.PageSize)
			if err != nil {
				return zeroed, fmt.Errorf("trim: %w", err)
			}
			clear(content)
			mem.MarkWritten(vmm.GPA(page*lineage.PageSize), lineage.PageSize)
			zeroed++
		}
		binary.LittleEndian.PutUint64(clean[at:], binary.LittleEndian.Uint64(clean[at:])|dirty)
		mem.MarkWritten(vmm.GPA(c.CleanBitmap+at), 8)
	}
	return zeroed, nil
}

func brokenBitmaps(format string, args ...any) error {
	return &CrashError{Summary: "its bitmaps of memory are broken: " + fmt.Sprintf(format, args...)}
}
