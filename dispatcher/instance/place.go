package instance

import (
	"fmt"

	"seuss/guest"
	"seuss/images"
	"seuss/lineage"
	"seuss/vmm"
)

// How a cold boot finds its memory. Each first touch of a page costs a fault in the
// host and one in the guest's shadow page table, 2 to 20 µs, and a runtime's start
// touches a thousand and more. Where the host offers huge pages, RAM is made of them,
// and a program's pages are copied there rather than mapped: copying one takes less
// than a fault (docs/decisions/boot.md, "How does a cold boot get along with few page faults?").
const (
	// hugeProgram is the smallest program for which RAM is made of huge pages: what a
	// smaller one touches costs less than zeroing 2 MiB at a time.
	hugeProgram = guest.ImageAlign
	// copyProgram bounds what is copied. Of a larger program it is what lies in
	// stretches of 2 MiB with more than the program's pages: where it stores.
	copyProgram = 8 << 20

	stretchPages = guest.ImageAlign / lineage.PageSize
)

// placeImage maps an image as its lineage root would show it.
func placeImage(mem *vmm.Memory, im *images.Image) error {
	for _, p := range im.Mappings(uint64(mem.ImageGPA())) {
		if err := mem.MapFile(p.GPA/lineage.PageSize, p.Bytes/lineage.PageSize, p.File, p.FileOff); err != nil {
			return err
		}
	}
	return nil
}

// programRun is a run of guest pages that show the program's, and where they lie in
// the image, in pages.
type programRun struct{ first, count, filePage uint64 }

// programRuns are the extents of an ET_EXEC program, none for another.
func programRuns(extents []images.Extent) []programRun {
	var runs []programRun
	for _, e := range extents {
		if e.GPA >= guest.ProgramGPA {
			runs = append(runs, programRun{e.GPA / lineage.PageSize, e.Bytes / lineage.PageSize, e.Off / lineage.PageSize})
		}
	}
	return runs
}

// placeProgram prepares RAM, in which the image's extents are mapped, for the cold
// boot of a program whose pages lie there, and returns those that are zeros below,
// with copies above, now. read reads a run.
func placeProgram(mem *vmm.Memory, runs []programRun, read func(p []byte, r programRun) error) ([]programRun, error) {
	var total uint64
	for _, r := range runs {
		total += r.count
	}
	if total*lineage.PageSize < hugeProgram {
		return nil, nil
	}
	const low = guest.ProgramGPA / lineage.PageSize
	if huge, err := mem.PreferHuge(low, mem.RAMBytes()/lineage.PageSize-low); err != nil || !huge {
		return nil, err
	}
	if total*lineage.PageSize > copyProgram {
		if runs, total = partStretches(runs); total*lineage.PageSize > copyProgram {
			return nil, nil
		}
	}
	// All of them at first, for two may share a stretch.
	for _, r := range runs {
		if err := mem.MapZero(r.first, r.count); err != nil {
			return nil, err
		}
		if _, err := mem.PreferHuge(r.first, r.count); err != nil {
			return nil, err
		}
	}
	for _, r := range runs {
		gpa, bytes := vmm.GPA(r.first*lineage.PageSize), r.count*lineage.PageSize
		window, err := mem.Slice(gpa, bytes)
		if err != nil {
			return nil, err
		}
		if err := read(window, r); err != nil {
			return nil, fmt.Errorf("read %d pages of the program: %w", r.count, err)
		}
		mem.MarkWritten(gpa, bytes)
	}
	return runs, nil
}

// partStretches returns of each run what does not fill stretches of 2 MiB.
func partStretches(runs []programRun) (parts []programRun, total uint64) {
	add := func(r programRun, from, to uint64) {
		if from < to {
			parts = append(parts, programRun{from, to - from, r.filePage + from - r.first})
			total += to - from
		}
	}
	for _, r := range runs {
		end := r.first + r.count
		whole, tail := (r.first+stretchPages-1)/stretchPages*stretchPages, end/stretchPages*stretchPages
		if whole >= tail {
			add(r, r.first, end)
			continue
		}
		add(r, r.first, whole)
		add(r, tail, end)
	}
	return parts, total
}

// imageContent reads runs from an image.
func imageContent(im *images.Image) func([]byte, programRun) error {
	return func(p []byte, r programRun) error {
		_, err := im.ReadAt(p, int64(r.filePage*lineage.PageSize))
		return err
	}
}

// placeProgram does that for a machine that shows its image's root view.
func (p *memoryPlan) placeProgram() error {
	const low = guest.ProgramGPA / lineage.PageSize
	var runs []programRun
	for r := range p.base.Runs(low, p.mem.RAMBytes()/lineage.PageSize-low) {
		if r.Blob != nil {
			runs = append(runs, programRun{r.First, r.Count, r.Page})
		}
	}
	placed, err := placeProgram(p.mem, runs, func(window []byte, r programRun) error {
		if err := p.base.Check(r.first, r.count); err != nil {
			return err
		}
		for i := range r.count {
			copy(pageOf(window, i), p.base.Bytes(r.first+i))
		}
		return nil
	})
	var zero []lineage.Run
	for _, r := range placed {
		zero = append(zero, lineage.Run{First: r.first, Count: r.count})
	}
	if len(zero) > 0 {
		p.base = p.base.With(zero)
	}
	return err
}
