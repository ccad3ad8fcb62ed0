package images

import (
	"bytes"
	"cmp"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"slices"

	"seuss/guest"
	"seuss/images/internal/object"
	"seuss/images/layer"
)

// chunk is a stretch of the image with content; between chunks it is zero.
type chunk struct {
	off, size uint64
	what      string
	write     func(ctx context.Context, w io.Writer) error
}

// plan is the layout of an image: every offset is settled before a byte is
// written. In file order: header page, configuration, tables, link targets and
// small files, then page-aligned content.
type plan struct {
	header      Header
	nodes       []*node // by inode number
	inodes      []Inode
	dirents     []dirent
	names       []byte
	extents     []Extent
	layers      []LayerRef
	shown       []Shown // nil: all of it
	layerBytes  uint64
	config      []byte
	chunks      []chunk // in file order
	end         uint64  // behind the last chunk
	loadBytes   uint64
	notLoadable []string
	directCalls bool
}

// newPlan settles the layout of an image for a Spec.
func newPlan(spec *Spec) (*plan, error) {
	cfg := spec.config()
	if (spec.Base != nil || len(spec.Layers) > 0) && !cfg.DirectCalls {
		return nil, errors.New("system calls of shared objects in layers are direct: an image without direct calls cannot have layers")
	}
	p := &plan{directCalls: cfg.DirectCalls}
	root, err := buildTree(spec)
	if err != nil {
		return nil, err
	}
	if user := cmp.Or(spec.User, spec.Container.Account()); user != "" {
		a, err := root.account(user)
		if err != nil {
			return nil, err
		}
		cfg.User, cfg.Account = user, &a
	}
	if p.config, err = encodeConfig(cfg); err != nil {
		return nil, err
	}
	kernel, err := kernelObject(spec.Kernel)
	if err != nil {
		return nil, err
	}
	kernelRuns := placeCopies(kernel)
	program, programRuns, err := planProgram(root, &cfg)
	if err != nil {
		return nil, err
	}
	if err := p.number(root); err != nil {
		return nil, err
	}
	extents := len(kernelRuns) + len(programRuns)
	if extents > maxExtents {
		return nil, fmt.Errorf("kernel library and program need %d extents, at most %d are supported", extents, maxExtents)
	}
	p.header = Header{
		Magic: guest.ImageMagic, Version: guest.ImageVersion, ABIVersion: guest.KernelVersion,
		InodeCount: uint64(len(p.nodes)), DirentCount: uint64(len(p.dirents)),
		NamesBytes: uint64(len(p.names)), ExtentCount: uint64(extents),
		ConfigBytes: uint64(len(p.config)),
		Entry:       kernel.Entry, KernelEnd: pageCeil(kernel.End()),
	}
	if len(programRuns) > 0 {
		p.header.Program = program.inode
	}
	p.end = guest.PageSize
	h := &p.header
	h.ConfigOff = p.reserve(h.ConfigBytes, smallAlign)
	h.InodesOff = p.reserve(h.InodeCount*guest.ImageInodeSize, smallAlign)
	h.DirentsOff = p.reserve(h.DirentCount*guest.ImageDirentSize, smallAlign)
	h.NamesOff = p.reserve(h.NamesBytes, smallAlign)
	h.ExtentsOff = p.reserve(h.ExtentCount*guest.ImageExtentSize, smallAlign)
	used := p.usedLayers(slices.Concat(spec.Base.Layers(), spec.Layers))
	h.LayerCount = uint64(len(used))
	h.LayersOff = p.reserve(h.LayerCount*guest.ImageLayerSize, smallAlign)

	p.placeSmall()
	kr := bytes.NewReader(spec.Kernel)
	for _, run := range kernelRuns {
		p.addCopy(run, "kernel library", func() (content, func() error, error) {
			return kr, func() error { return nil }, nil
		})
	}
	if err := p.placeLarge(); err != nil {
		return nil, err
	}
	for _, run := range programRuns {
		if !run.shared {
			p.addCopy(run, program.guest, program.open)
		}
	}
	h.OwnBytes = pageCeil(p.end)
	p.placeLayers(used)
	if ram := alignUp(cfg.MemoryBytes, guest.ImageAlign); h.TotalBytes > maxGPA-ram {
		if len(programRuns) == 0 {
			program = nil
		}
		if err := p.planParts(program, used, ram); err != nil {
			return nil, fmt.Errorf("image %s: %w", cfg.Name, err)
		}
	}
	for _, run := range programRuns {
		if run.shared {
			p.extents = append(p.extents, Extent{run.gpa, program.off + run.fileOff, run.bytes})
		}
	}
	slices.SortFunc(p.extents, func(a, b Extent) int { return cmp.Compare(a.GPA, b.GPA) })
	p.fillInodes()
	return p, nil
}

// planProgram finds the program in the tree. An ET_EXEC program comes with
// its placements; a position-independent one has a loaded layout instead.
func planProgram(root *node, cfg *Config) (*node, []placement, error) {
	if cfg.Program == "" {
		return nil, nil, nil
	}
	fail := func(err error) (*node, []placement, error) {
		return nil, nil, fmt.Errorf("program %s: %w", cfg.Program, err)
	}
	n, err := root.resolve(cfg.Program)
	if err != nil {
		return fail(err)
	}
	if n.stored != nil && n.link == "" {
		if err := n.readObject(); err != nil {
			return fail(err)
		}
	}
	switch {
	case n.mode&modeTypeMask != modeRegular:
		return fail(errors.New("not a regular file"))
	case n.objectErr != nil:
		return fail(n.objectErr)
	case n.object == nil:
		return fail(object.ErrNotELF)
	}
	if interp := n.object.Interp; interp != "" {
		if _, err := root.resolve(interp); err != nil {
			return fail(fmt.Errorf("its ELF interpreter is not in the image: %w", err))
		}
	}
	if n.object.Type == elf.ET_DYN {
		return n, nil, nil
	}
	if err := checkProgram(n.object, cfg.MemoryBytes); err != nil {
		return fail(err)
	}
	n.aligned = true // its pages are shared with the extents
	runs := placeProgram(n.object)
	var largest uint64
	for _, r := range runs {
		// Then the host may show it by huge pages.
		if r.shared && r.bytes >= max(largest, guest.ImageAlign) && r.gpa >= r.fileOff {
			largest, n.congruent = r.bytes, r.gpa-r.fileOff
		}
	}
	return n, runs, nil
}

// number gives out inodes breadth first, so that the entries of a directory
// lie together, and makes the name and dirent tables.
func (p *plan) number(root *node) error {
	p.nodes = []*node{root}
	root.nlink = 1
	for i := 0; i < len(p.nodes); i++ {
		dir := p.nodes[i]
		if !dir.isDir() {
			continue
		}
		dir.off = uint64(len(p.dirents))
		for _, c := range dir.children {
			f := c.file()
			if f.nlink == 0 {
				f.inode = uint32(len(p.nodes))
				p.nodes = append(p.nodes, f)
			}
			f.nlink++
			p.dirents = append(p.dirents, dirent{uint64(len(p.names)), uint32(len(c.name)), f.inode})
			p.names = append(p.names, c.name...)
		}
	}
	if len(p.dirents) > maxDirents || len(p.names) > maxNameBytes {
		return fmt.Errorf("tree has %d files with %d bytes of names, at most %d and %d are supported", len(p.dirents), len(p.names), maxDirents, maxNameBytes)
	}
	return nil
}

// reserve takes space behind what is planned so far.
func (p *plan) reserve(size, align uint64) uint64 {
	off := alignUp(p.end, align)
	p.end = off + size
	return off
}

// add plans a chunk and returns where it lies.
func (p *plan) add(size, align uint64, what string, write func(context.Context, io.Writer) error) uint64 {
	off := p.reserve(size, align)
	p.chunks = append(p.chunks, chunk{off, size, what, write})
	return off
}

// placeSmall packs link targets and files below a page.
func (p *plan) placeSmall() {
	for _, n := range p.nodes {
		switch {
		case n.isDir() || n.size == 0 || n.inLayer() || n.size >= guest.PageSize && n.link == "" || n.aligned:
		case n.link != "":
			n.off = p.add(n.size, smallAlign, n.guest, func(_ context.Context, w io.Writer) error {
				_, err := io.WriteString(w, n.link)
				return err
			})
		default:
			n.off = p.add(n.size, smallAlign, n.guest, n.copyTo)
		}
	}
	p.end = pageCeil(p.end)
}

// placeLarge gives every other file whole pages, and an ET_DYN object its
// loaded layout right behind, so that the two are close on disk.
func (p *plan) placeLarge() error {
	for _, n := range p.nodes {
		if n.mode&modeTypeMask != modeRegular || n.inLayer() {
			continue
		}
		if n.size > maxGPA || p.end > maxGPA {
			return fmt.Errorf("the files up to %s take more than %d GiB", n.guest, guest.MaxGiB)
		}
		if n.objectErr != nil {
			p.notLoadable = append(p.notLoadable, n.guest)
		}
		if n.object != nil && n.object.Type == elf.ET_DYN {
			if err := p.planLayout(n); err != nil {
				return err
			}
		}
		if (n.size >= guest.PageSize || n.aligned) && n.size > n.head {
			if n.congruent != 0 {
				p.end = pageCeil(p.end)
				p.end += (n.congruent - p.end) % guest.ImageAlign
			}
			n.off = p.add(n.size-n.head, guest.PageSize, n.guest, n.copyTo)
			p.end = pageCeil(p.end)
		}
		if n.loadBytes == 0 {
			continue
		}
		if data := n.object.DataOffset(); data >= apartBytes {
			p.end = pageCeil(p.end)
			p.end += -(p.end + data) % guest.ImageAlign
		}
		n.loadOff = p.add(n.loadBytes, guest.PageSize, n.guest, n.loadTo)
		p.loadBytes += n.loadBytes
	}
	return nil
}

// planLayout settles how large the loaded layout of an object is, and how much of it is the
// file's own bytes.
func (p *plan) planLayout(n *node) (err error) {
	if n.loadBytes, err = n.object.LoadBytes(); err != nil {
		n.loadBytes = 0
		p.notLoadable = append(p.notLoadable, n.guest)
		return nil
	}
	n.head = n.object.Head()
	if p.directCalls {
		if err := n.planDirect(); err != nil {
			return err
		}
		n.loadBytes += n.direct.Bytes
		n.head = min(n.head, pageFloor(n.direct.First()))
	}
	return nil
}

// usedLayers are the layers that files of the tree lie in.
func (p *plan) usedLayers(layers []*layer.Layer) []*layer.Layer {
	used := map[layer.Digest]bool{}
	for _, n := range p.nodes {
		if n.inLayer() && n.size > 0 {
			used[n.stored.Layer().Digest()] = true
		}
	}
	var out []*layer.Layer
	for _, l := range layers {
		if used[l.Digest()] {
			out = append(out, l)
			delete(used, l.Digest()) // one may be there twice
		}
	}
	return out
}

// placeLayers puts the layers behind the image's own file, each at the same place in its
// stretch of 2 MiB as in its file, and notes where their files are then.
func (p *plan) placeLayers(layers []*layer.Layer) {
	base := map[layer.Digest]uint64{}
	end := p.header.OwnBytes
	p.layers, p.layerBytes = nil, 0
	for _, l := range layers {
		h := l.Header()
		base[h.Digest] = alignUp(end, guest.ImageAlign)
		ref := LayerRef{base[h.Digest] + guest.PageSize, h.ContentEnd - guest.PageSize, h.Digest}
		p.layers = append(p.layers, ref)
		p.layerBytes += ref.Bytes
		end = ref.Off + ref.Bytes
	}
	p.header.TotalBytes = end
	for _, n := range p.nodes {
		if !n.inLayer() || n.size == 0 {
			continue
		}
		from := base[n.stored.Layer().Digest()]
		if layout, ok := n.stored.Loaded(); ok {
			n.loadOff, n.loadBytes, n.head = from+layout.Off, layout.Bytes, layout.Head
		}
		if n.size > n.head {
			n.off = from + n.stored.Off()
		}
	}
}

// apartBytes is the least text of a library whose data begins a stretch of 2 MiB. The
// kernel library maps stretches by one entry in which nothing is written; so the
// text of the C library is not divided for the sake of the data behind it.
const apartBytes = guest.ImageAlign / 2

// addCopy plans a copied placement and its extent.
func (p *plan) addCopy(run placement, what string, open func() (content, func() error, error)) {
	off := p.add(run.bytes, guest.PageSize, what, func(_ context.Context, w io.Writer) (err error) {
		r, done, err := open()
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, done()) }()
		buf, err := run.fill(r)
		if err != nil {
			return err
		}
		_, err = w.Write(buf)
		return err
	})
	p.extents = append(p.extents, Extent{run.gpa, off, run.bytes})
}

// fillInodes makes the inode table once all offsets are known.
func (p *plan) fillInodes() {
	p.inodes = make([]Inode, len(p.nodes))
	for i, n := range p.nodes {
		out := Inode{Mode: n.mode, Nlink: n.nlink, UID: n.uid, GID: n.gid, Size: n.size, Off: n.off, Mtime: uint64(n.mtime)}
		if n.isDir() {
			out.Size, out.Nlink = uint64(len(n.children)), 2
			for _, c := range n.children {
				if c.isDir() {
					out.Nlink++
				}
			}
		}
		if n.loadOff != 0 {
			out.LoadOff, out.LoadBytes, out.Head = n.loadOff, n.loadBytes, n.head
		}
		p.inodes[i] = out
	}
}
