package layer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"seuss/guest"
)

const (
	// packBytes is the size from which a file has pages of its own. A smaller one is
	// copied when a program maps it, and files of a few pages would lose much of a page
	// each: a third of a percent of a Debian root lies in that of files from 32 to 64 KiB.
	// Shared objects and programs have pages whatever their size.
	packBytes = 64 << 10
	// packAlign aligns packed files.
	packAlign = 16
	// packBuffer is how much of them is collected in memory: a stream brings small and
	// large files in any order.
	packBuffer = 1 << 20
	// copyBytes at a time, at multiples of it in large files: file systems that can keep
	// what is written so in huge pages.
	copyBytes = guest.ImageAlign
)

// file is what a layer is written to.
type file interface {
	io.WriterAt
	io.ReaderAt
}

// writer makes a layer.
type writer struct {
	f     file
	limit uint64 // of regular files' bytes
	most  int    // entries
	// memory is the largest object that is taken into memory.
	memory uint64

	end      uint64 // of what is written or set aside, a page multiple
	packed   []byte // small files that are not written yet
	packedAt uint64 // where they will be; packBuffer bytes are set aside
	buf      []byte // for copying
	unpacked uint64
	skipped  uint64

	inodes  []inode
	targets map[uint32]string // of links, by inode
	entries []entry
	paths   []string          // of entries
	byPath  map[string]uint32 // place of an entry
	names   uint64            // bytes of paths and targets
}

func newWriter(f file, limit uint64) *writer {
	return &writer{f: f, limit: min(limit, maxContent/2), most: MaxEntries, memory: memoryObject, end: guest.PageSize, byPath: map[string]uint32{}, targets: map[uint32]string{}}
}

// at returns the place of a path's entry, which it makes if there is none.
func (w *writer) at(p string) (uint32, error) {
	if i, ok := w.byPath[p]; ok {
		return i, nil
	}
	if len(w.entries) >= w.most {
		return 0, fmt.Errorf("%w: more than %d entries", ErrTooLarge, w.most)
	}
	if err := w.name(p); err != nil {
		return 0, err
	}
	i := uint32(len(w.entries))
	w.byPath[p] = i
	w.entries, w.paths = append(w.entries, entry{}), append(w.paths, p)
	return i, nil
}

// name counts the bytes of a path.
func (w *writer) name(p string) error {
	if w.names += uint64(len(p)); w.names > maxNameBytes {
		return fmt.Errorf("%w: paths and link targets have more than %d MiB", ErrTooLarge, maxNameBytes>>20)
	}
	return nil
}

// put makes a path a new file. A later entry of a stream replaces an earlier one.
func (w *writer) put(p string, n inode, target string) error {
	if p == "" && n.Mode&ModeTypeMask != ModeDir {
		return fmt.Errorf("%w: the root is no directory", ErrTar)
	}
	i, err := w.at(p)
	if err == nil {
		err = w.name(target)
	}
	if err != nil {
		return err
	}
	if len(w.inodes) >= 2*w.most {
		return fmt.Errorf("%w: more than %d entries, some of them again and again", ErrTooLarge, 2*w.most)
	}
	w.inodes = append(w.inodes, n)
	w.entries[i].Inode = uint32(len(w.inodes))
	if target != "" {
		w.targets[uint32(len(w.inodes)-1)] = target
	}
	return nil
}

// link makes p a further name of the file at target. If the layer has none there, yet, it
// is one of the layers below.
func (w *writer) link(p, target string) error {
	if i, ok := w.byPath[target]; ok && w.entries[i].Inode != 0 {
		n := w.entries[i].Inode
		if w.inodes[n-1].Mode&ModeTypeMask == ModeDir {
			return fmt.Errorf("%w: a hard link to a directory, %.200q", ErrTar, target)
		}
		at, err := w.at(p)
		if err == nil {
			w.entries[at].Inode = n
		}
		return err
	}
	return w.put(p, inode{}, target)
}

func (w *writer) flag(p string, flag uint32) error {
	i, err := w.at(p)
	if err == nil {
		w.entries[i].Flags |= flag
	}
	return err
}

// flush writes the small files that were collected.
func (w *writer) flush() error {
	if len(w.packed) == 0 {
		return nil
	}
	n, err := w.f.WriteAt(w.packed, int64(w.packedAt))
	if err != nil {
		return fmt.Errorf("write content: wrote %d of %d bytes: %w", n, len(w.packed), err)
	}
	if w.end == w.packedAt+packBuffer { // nothing follows
		w.end = w.packedAt + pageCeil(uint64(len(w.packed)))
	}
	w.packed = w.packed[:0]
	return nil
}

// finish writes tables and header, and returns the header.
func (w *writer) finish(ctx context.Context, diffID Digest) (*Header, error) {
	if err := w.flush(); err != nil {
		return nil, err
	}
	tables, h, err := w.tables()
	if err != nil {
		return nil, err
	}
	h.DiffID = diffID
	sums, digests, err := hashPages(ctx, w.f, h.pages(), h.digestPages())
	if err != nil {
		return nil, err
	}
	for _, s := range sums {
		tables = binary.LittleEndian.AppendUint32(tables, s)
	}
	for i := range digests {
		tables = append(tables, digests[i][:]...)
	}
	h.Total = h.total()
	h.Digest = digestOf(h, tables)
	if n, err := w.f.WriteAt(tables, int64(h.ContentEnd)); err != nil {
		return nil, fmt.Errorf("write tables: wrote %d of %d bytes: %w", n, len(tables), err)
	}
	if n, err := w.f.WriteAt(h.encode(), 0); err != nil {
		return nil, fmt.Errorf("write header: wrote %d bytes: %w", n, err)
	}
	return h, nil
}

// digestOf is the digest of a layer with these tables.
func digestOf(h *Header, tables []byte) (d Digest) {
	zero := *h
	zero.Digest = Digest{}
	sum := sha256.New()
	sum.Write(zero.encode()) // never fails, see hash.Hash
	sum.Write(tables)
	sum.Sum(d[:0])
	return d
}

// tables encodes inodes, entries and names: entries by path, inodes as they come up then,
// without those that nobody names any more.
func (w *writer) tables() ([]byte, *Header, error) {
	order := make([]uint32, len(w.entries))
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortFunc(order, func(a, b uint32) int { return strings.Compare(w.paths[a], w.paths[b]) })
	var inodes, entries, names []byte
	place := func(s string) (uint32, uint32) {
		names = append(names, s...)
		return uint32(len(names) - len(s)), uint32(len(s))
	}
	number := make([]uint32, len(w.inodes)) // + 1
	count := uint32(0)
	for _, i := range order {
		p, e := w.paths[i], w.entries[i]
		if up, ok := w.byPath[above(p)]; ok && p != "" && w.isFile(up) {
			return nil, nil, fmt.Errorf("%w: %.200q lies below a file", ErrTar, p)
		}
		e.Path, e.PathLen = place(p)
		if e.Inode != 0 {
			old := e.Inode - 1
			if number[old] == 0 {
				count++
				number[old] = count
				n := w.inodes[old]
				n.Target, n.TargetLen = place(w.targets[old])
				inodes = n.append(inodes)
			}
			e.Inode = number[old]
		}
		entries = e.append(entries)
	}
	h := &Header{
		Magic: magic, Version: version, ABI: guest.KernelVersion, ContentEnd: w.end, InodeCount: uint64(count),
		EntryCount: uint64(len(order)), NameBytes: uint64(len(names)), Unpacked: w.unpacked, Skipped: w.skipped,
	}
	return slices.Concat(inodes, entries, names), h, nil
}

func (w *writer) isFile(i uint32) bool {
	n := w.entries[i].Inode
	return n != 0 && w.inodes[n-1].Mode&ModeTypeMask == ModeRegular
}

// above is the directory that a path other than "" is in.
func above(p string) string {
	if dir := path.Dir(p); dir != "." {
		return dir
	}
	return ""
}

// content stores the content of a regular file.
func (w *writer) content(rec *inode, size uint64, r io.Reader) error {
	if size > w.limit-min(w.unpacked, w.limit) {
		return fmt.Errorf("%w: its files have more than %d bytes", ErrTooLarge, w.limit)
	}
	w.unpacked += size
	rec.Size = size
	if size == 0 {
		return nil
	}
	if w.buf == nil {
		w.buf = make([]byte, copyBytes)
	}
	first := w.buf[:min(size, uint64(len(w.buf)))]
	if _, err := io.ReadFull(r, first); err != nil {
		return tarError(noEOF(err))
	}
	if isELF(first) {
		return w.object(rec, first, r)
	}
	if size < packBytes {
		return w.pack(rec, first)
	}
	rec.Off = w.take(size)
	return w.copyAt(rec.Off, first, size, r)
}

// take sets whole pages aside.
func (w *writer) take(size uint64) (off uint64) {
	off = w.end
	w.end += pageCeil(size)
	return off
}

// copyAt writes a file of a size, of which first is read already, at off.
func (w *writer) copyAt(off uint64, first []byte, size uint64, r io.Reader) error {
	for done := uint64(0); ; {
		if !isZero(first) { // a hole otherwise: the file is new
			if n, err := w.f.WriteAt(first, int64(off+done)); err != nil {
				return fmt.Errorf("write content: wrote %d of %d bytes: %w", n, len(first), err)
			}
		}
		if done += uint64(len(first)); done == size {
			return nil
		}
		first = w.buf[:min(size-done, uint64(len(w.buf)))]
		if _, err := io.ReadFull(r, first); err != nil {
			return tarError(noEOF(err))
		}
	}
}

// pack puts a small file among others.
func (w *writer) pack(rec *inode, data []byte) error {
	if len(w.packed)+packAlign+len(data) > packBuffer {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if len(w.packed) == 0 {
		w.packedAt = w.end
		w.end += packBuffer
	}
	for len(w.packed)%packAlign != 0 {
		w.packed = append(w.packed, 0)
	}
	rec.Off = w.packedAt + uint64(len(w.packed))
	w.packed = append(w.packed, data...)
	return nil
}

func isZero(b []byte) bool {
	for ; len(b) >= guest.PageSize; b = b[guest.PageSize:] {
		if guest.ZeroPage != [guest.PageSize]byte(b) {
			return false
		}
	}
	return bytes.Equal(b, guest.ZeroPage[:len(b)])
}

func isELF(head []byte) bool { return len(head) > 16 && string(head[:4]) == "\x7fELF" }

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
