package images

import (
	"bytes"
	"fmt"
	"slices"

	"seuss/guest"
)

// corrupt returns an ErrCorrupt that says what is wrong.
func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrCorrupt}, args...)...)
}

// check verifies counts and places of the tables, before memory is taken for
// them.
func (h *Header) check() error {
	for _, t := range []struct {
		what             string
		off, count, size uint64
		atLeast, atMost  uint64
	}{
		{"inodes", h.InodesOff, h.InodeCount, h.inodeBytes(), 1, maxInodes},
		{"directory entries", h.DirentsOff, h.DirentCount, guest.ImageDirentSize, 0, maxDirents},
		{"names", h.NamesOff, h.NamesBytes, 1, 0, maxNameBytes},
		{"extents", h.ExtentsOff, h.ExtentCount, guest.ImageExtentSize, 1, maxExtents},
		{"configuration", h.ConfigOff, h.ConfigBytes, 1, 2, maxConfigBytes},
		{"layers", h.LayersOff, h.LayerCount, guest.ImageLayerSize, 0, maxLayers},
		{"parts", h.ShownOff, h.ShownCount, guest.ImageShownSize, h.leastParts(), maxShown},
	} {
		if t.count < t.atLeast || t.count > t.atMost {
			return corrupt("%d %s, want %d to %d", t.count, t.what, t.atLeast, t.atMost)
		}
		if t.off%smallAlign != 0 || !h.inside(t.off, t.count*t.size) || t.off+t.count*t.size > h.OwnBytes {
			return corrupt("%s at %#x with %#x bytes, the file has %#x", t.what, t.off, t.count*t.size, h.OwnBytes)
		}
	}
	if h.KernelEnd%guest.PageSize != 0 || h.KernelEnd <= guest.KernelGPA || h.KernelEnd > guest.ProgramGPA {
		return corrupt("kernel library ends at %#x, want a page from %#x to %#x", h.KernelEnd, uint64(guest.KernelGPA), uint64(guest.ProgramGPA))
	}
	if h.Entry < guest.KernelGPA || h.Entry >= h.KernelEnd {
		return corrupt("entry point %#x is outside the kernel library [%#x, %#x)", h.Entry, uint64(guest.KernelGPA), h.KernelEnd)
	}
	if uint64(h.Program) >= h.InodeCount {
		return corrupt("program is inode %d of %d", h.Program, h.InodeCount)
	}
	if h.Reserved != 0 {
		return corrupt("reserved field is %#x", h.Reserved)
	}
	return nil
}

// leastParts is how many parts of the image are mapped, at least.
func (h *Header) leastParts() uint64 {
	if h.Version == guest.ImagePartsVersion {
		return 1
	}
	return 0
}

// inside says whether [off, off+n) lies in the file behind the header page.
func (h *Header) inside(off, n uint64) bool {
	return off >= guest.PageSize && off <= h.TotalBytes && n <= h.TotalBytes-off
}

// checkTree verifies every inode and that the directories form one tree: walk
// it from the root, breadth first and so without recursion, and require that
// each entry is met once, each directory once, and each inode as often as its
// link count says.
func (m *Image) checkTree() error {
	for i := range m.inodes {
		if err := m.checkInode(i); err != nil {
			return err
		}
	}
	if !m.inodes[0].IsDir() {
		return corrupt("inode 0 is not a directory")
	}
	if p := m.header.Program; p != 0 && !m.inodes[p].IsRegular() {
		return corrupt("program, inode %d, is not a regular file", p)
	}
	refs := make([]uint32, len(m.inodes))
	met := make([]bool, len(m.dirents))
	refs[0] = 1
	queue := []dirRef{{}}
	total := 0
	for len(queue) > 0 {
		at := queue[0]
		dir := &m.inodes[at.inode]
		subdirs, err := m.checkDir(at, refs, met)
		if err != nil {
			return err
		}
		if dir.Nlink != 2+uint32(len(subdirs)) {
			return corrupt("directory inode %d has link count %d, want %d", at.inode, dir.Nlink, 2+len(subdirs))
		}
		total += int(dir.Size)
		queue = append(queue[1:], subdirs...)
	}
	if total != len(m.dirents) {
		return corrupt("%d of %d directory entries belong to no directory", len(m.dirents)-total, len(m.dirents))
	}
	for i, n := range refs {
		if n == 0 || !m.inodes[i].IsDir() && n != m.inodes[i].Nlink {
			return corrupt("inode %d is linked %d times, its link count is %d", i, n, m.inodes[i].Nlink)
		}
	}
	return nil
}

// dirRef is a directory on the way of checkTree and the length of its path.
// The length is bounded like that of any Linux path; otherwise a chain of a
// million directories would make every later walk quadratic.
type dirRef struct {
	inode   uint32
	pathLen uint32
}

// checkInode verifies one inode by itself.
func (m *Image) checkInode(i int) error {
	n, h := &m.inodes[i], &m.header
	switch {
	case n.IsDir():
		if count := uint64(len(m.dirents)); n.Off > count || n.Size > count-n.Off {
			return corrupt("directory inode %d has entries %d to +%d of %d", i, n.Off, n.Size, count)
		}
	case n.IsSymlink():
		if n.Size == 0 || n.Size > maxSymlink || !h.inside(n.Off, n.Size) {
			return corrupt("link inode %d has its target at %#x with %#x bytes", i, n.Off, n.Size)
		}
	case n.IsRegular():
		if n.Head%guest.PageSize != 0 || n.Head > n.Size || n.Head > n.LoadBytes {
			return corrupt("file inode %d of %#x bytes has %#x in its loaded layout", i, n.Size, n.Head)
		}
		if rest := n.Size - n.Head; rest != 0 && (n.Off%smallAlign != 0 || !h.inside(n.Off, rest)) {
			return corrupt("file inode %d has its content at %#x with %#x bytes", i, n.Off, rest)
		}
	default:
		return corrupt("inode %d has mode %#o", i, n.Mode)
	}
	if n.Mode&^0o177777 != 0 || n.Mtime > 1<<62 || !n.IsRegular() && n.Head != 0 {
		return corrupt("inode %d has mode %#o and time %d", i, n.Mode, n.Mtime)
	}
	if n.LoadOff == 0 && n.LoadBytes == 0 {
		return nil
	}
	if !n.IsRegular() || n.LoadBytes == 0 || (n.LoadOff|n.LoadBytes)%guest.PageSize != 0 || !h.inside(n.LoadOff, n.LoadBytes) {
		return corrupt("inode %d has its loaded layout at %#x with %#x bytes", i, n.LoadOff, n.LoadBytes)
	}
	return nil
}

// checkDir verifies the entries of one directory, counts what they refer to,
// and returns the directories among them.
func (m *Image) checkDir(at dirRef, refs []uint32, met []bool) ([]dirRef, error) {
	var subdirs []dirRef
	var before []byte
	dir := at.inode
	d := &m.inodes[dir]
	for k := d.Off; k < d.Off+d.Size; k++ {
		e := &m.dirents[k]
		if met[k] {
			return nil, corrupt("directory entry %d belongs to two directories", k)
		}
		met[k] = true
		if size := uint64(len(m.names)); e.NameOff > size || uint64(e.NameLen) > size-e.NameOff {
			return nil, corrupt("directory entry %d has its name at %#x with %d bytes", k, e.NameOff, e.NameLen)
		}
		name := m.name(e)
		if err := checkEntryName(string(name)); err != nil {
			return nil, corrupt("directory entry %d: %v", k, err)
		}
		if before != nil && bytes.Compare(before, name) >= 0 {
			return nil, corrupt("directory inode %d: entry %q follows %q", dir, name, before)
		}
		before = name
		pathLen := at.pathLen + 1 + e.NameLen
		if pathLen > maxSymlink {
			return nil, corrupt("directory entry %q has a path of %d bytes", name, pathLen)
		}
		if int64(e.Inode) >= int64(len(m.inodes)) {
			return nil, corrupt("directory entry %q is inode %d of %d", name, e.Inode, len(m.inodes))
		}
		refs[e.Inode]++
		if m.inodes[e.Inode].IsDir() {
			if refs[e.Inode] > 1 {
				return nil, corrupt("directory inode %d is entered twice, again as %q", e.Inode, name)
			}
			subdirs = append(subdirs, dirRef{e.Inode, pathLen})
		}
	}
	return subdirs, nil
}

// name returns the bytes of an entry's name.
func (m *Image) name(e *dirent) []byte { return m.names[e.NameOff : e.NameOff+uint64(e.NameLen)] }

// checkExtents verifies alignment, bounds and order of the extents, and that
// they keep to the kernel library's and the program's part of memory.
func (m *Image) checkExtents() error {
	h := &m.header
	var end uint64
	for i, e := range m.extents {
		switch {
		case (e.GPA|e.Off|e.Bytes)%guest.PageSize != 0 || e.Bytes == 0:
			return corrupt("extent %d: %+v is not in pages", i, e)
		case !h.inside(e.Off, e.Bytes) || !m.inOnePart(e):
			return corrupt("extent %d: %+v lies outside the file of %#x bytes and its layers", i, e, h.OwnBytes)
		case e.GPA >= maxGPA || e.Bytes > maxGPA-e.GPA:
			return corrupt("extent %d: %+v ends above %d GiB", i, e, guest.MaxGiB)
		case e.GPA < end || e.GPA < guest.KernelGPA:
			return corrupt("extent %d: %+v is out of order or overlaps", i, e)
		case e.GPA < guest.ProgramGPA && e.GPA+e.Bytes > h.KernelEnd:
			return corrupt("extent %d: %+v lies outside kernel library and program", i, e)
		case e.GPA >= guest.ProgramGPA && h.Program == 0:
			return corrupt("extent %d: %+v, but there is no program to place", i, e)
		}
		end = e.GPA + e.Bytes
	}
	return nil
}

// inOnePart says whether an extent lies in the image's own file or in one layer.
func (m *Image) inOnePart(e Extent) bool {
	return e.Off+e.Bytes <= m.header.OwnBytes || slices.ContainsFunc(m.layers, func(l LayerRef) bool {
		return e.Off >= l.Off && e.Off+e.Bytes <= l.Off+l.Bytes
	})
}

// checkMemory verifies that the extents lie in RAM, and that RAM and image
// fit the guest's page tables together.
func (m *Image) checkMemory() error {
	ram := m.config.MemoryBytes
	if last := m.extents[len(m.extents)-1]; last.GPA+last.Bytes > ram {
		return corrupt("extent %+v ends behind the memory of %#x bytes", last, ram)
	}
	if m.MappedBytes() > maxGPA-alignUp(ram, guest.ImageAlign) {
		return corrupt("%d bytes of memory and %d bytes of image exceed %d GiB", ram, m.MappedBytes(), guest.MaxGiB)
	}
	return nil
}
