package layer

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"seuss/guest"
)

// Layer is an open, validated layer.
type Layer struct {
	file    io.ReaderAt
	close   func() error
	path    string
	header  Header
	inodes  []inode
	files   []File // of inodes
	entries []entry
	names   []byte
	sums    []uint32
	digests []Digest
}

// Open opens a layer and validates, in this order, magic, version, length, digest and
// every entry. The errors wrap ErrMagic, ErrVersion, ErrTruncated and ErrCorrupt. The
// content is not read: Verify does that. The caller closes the layer.
func Open(path string) (*Layer, error) {
	// A FIFO would block the open, so look first.
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open layer: %w", err)
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("open layer %s: %w: not a regular file but %v", path, ErrMagic, st.Mode())
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open layer: %w", err)
	}
	if st, err = f.Stat(); err == nil {
		var l *Layer
		if l, err = decode(f, uint64(st.Size()), true); err == nil {
			l.close, l.path = f.Close, path
			return l, nil
		}
	}
	f.Close()
	return nil, fmt.Errorf("open layer %s: %w", path, err)
}

// decode reads header and tables of a layer of size bytes.
func decode(r io.ReaderAt, size uint64, digest bool) (*Layer, error) {
	l := &Layer{file: r}
	if err := readHeader(r, size, &l.header); err != nil {
		return nil, err
	}
	h := &l.header
	tables := make([]byte, h.Total-h.ContentEnd)
	if n, err := r.ReadAt(tables, int64(h.ContentEnd)); n < len(tables) {
		return nil, fmt.Errorf("read tables: %d of %d bytes: %w", n, len(tables), noEOF(err))
	}
	if digest {
		if got := digestOf(h, tables); got != h.Digest {
			return nil, corrupt("digest is %v, the header says %v", got, h.Digest)
		}
	}
	take := func(n uint64) (b []byte) {
		b, tables = tables[:n:n], tables[n:]
		return b
	}
	l.inodes, l.entries = make([]inode, h.InodeCount), make([]entry, h.EntryCount)
	for i, b := 0, take(h.InodeCount*inodeBytes); i < len(l.inodes); i++ {
		l.inodes[i].decode(b[i*inodeBytes:])
	}
	for i, b := 0, take(h.EntryCount*entryBytes); i < len(l.entries); i++ {
		l.entries[i].decode(b[i*entryBytes:])
	}
	l.names = take(h.NameBytes)
	l.sums, l.digests = make([]uint32, h.pages()), make([]Digest, h.digests())
	for i, b := 0, take(h.pages()*sumBytes); i < len(l.sums); i++ {
		l.sums[i] = binary.LittleEndian.Uint32(b[i*sumBytes:])
	}
	for i := range l.digests {
		copy(l.digests[i][:], take(uint64(len(Digest{}))))
	}
	if err := l.check(); err != nil {
		return nil, err
	}
	l.files = make([]File, len(l.inodes))
	for i := range l.files {
		l.files[i] = l.newFile(&l.inodes[i])
	}
	return l, nil
}

// readHeader reads the header and checks magic, version, contract and length.
func readHeader(r io.ReaderAt, size uint64, h *Header) error {
	buf := make([]byte, headerBytes)
	n, err := r.ReadAt(buf, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read header: %w", err)
	}
	clear(buf[n:])
	if _, err := binary.Decode(buf, binary.LittleEndian, h); err != nil {
		return fmt.Errorf("decode header: %w", err)
	}
	switch {
	case h.Magic != magic:
		return fmt.Errorf("%w: magic is %#x, want %#x", ErrMagic, h.Magic, uint64(magic))
	case n >= 12 && h.Version != version && h.Version != pageDigestsVersion:
		return fmt.Errorf("%w: version is %d, this program reads %d and %d: build the image anew", ErrVersion, h.Version, pageDigestsVersion, version)
	case n >= 16 && h.ABI != guest.KernelVersion:
		return fmt.Errorf("%w: made for version %d of the kernel contract, this program speaks %d: build the image anew", ErrVersion, h.ABI, guest.KernelVersion)
	case n < headerBytes:
		return fmt.Errorf("%w: %d bytes, a header has %d", ErrTruncated, size, headerBytes)
	case h.ContentEnd%guest.PageSize != 0 || h.ContentEnd < guest.PageSize || h.ContentEnd > maxContent ||
		h.EntryCount > MaxEntries || h.InodeCount > h.EntryCount || h.NameBytes > maxNameBytes:
		return corrupt("%d bytes of content, %d inodes, %d entries, %d bytes of names", h.ContentEnd, h.InodeCount, h.EntryCount, h.NameBytes)
	case h.Total != h.total():
		return corrupt("length is %d, its parts have %d", h.Total, h.total())
	case size < h.Total:
		return fmt.Errorf("%w: %d of %d bytes", ErrTruncated, size, h.Total)
	case size > h.Total:
		return corrupt("%d bytes follow the end at %d", size-h.Total, h.Total)
	}
	return nil
}

// check verifies every inode and entry.
func (l *Layer) check() error {
	for i := range l.inodes {
		if err := l.checkInode(&l.inodes[i]); err != nil {
			return fmt.Errorf("inode %d: %w", i, err)
		}
	}
	var before []byte
	next := uint32(0) // inodes come in the order of their first use
	for i := range l.entries {
		e := &l.entries[i]
		if !l.named(e.Path, e.PathLen) || e.Flags&^flagsAll != 0 || e.Inode > next+1 || e.Inode > uint32(len(l.inodes)) {
			return corrupt("entry %d is %+v", i, *e)
		}
		next = max(next, e.Inode)
		p := l.names[e.Path:][:e.PathLen]
		if i > 0 && bytes.Compare(before, p) >= 0 {
			return corrupt("entry %q follows %q", p, before)
		}
		before = p
		if clean, err := cleanPath(string(p)); err != nil || clean != string(p) {
			return corrupt("entry %q is no path of a layer", p)
		}
		if strings.HasPrefix(string(p[bytes.LastIndexByte(p, '/')+1:]), WhiteoutPrefix) {
			return corrupt("entry %q is a whiteout, and not known as one", p)
		}
		if e.Inode == 0 && e.Flags == 0 {
			return corrupt("entry %q says nothing", p)
		}
		if len(p) == 0 && (e.Inode != 0 && l.inodes[e.Inode-1].Mode&ModeTypeMask != ModeDir || e.Flags&flagHides != 0) {
			return corrupt("the root is no directory")
		}
	}
	if next != uint32(len(l.inodes)) {
		return corrupt("%d of %d inodes have no name", len(l.inodes)-int(next), len(l.inodes))
	}
	return nil
}

func (l *Layer) named(off, n uint32) bool {
	return uint64(off) <= uint64(len(l.names)) && uint64(n) <= uint64(len(l.names))-uint64(off)
}

// inside says whether [off, off+n) lies in the content.
func (h *Header) inside(off, n uint64) bool {
	return off >= guest.PageSize && off <= h.ContentEnd && n <= h.ContentEnd-off
}

func (l *Layer) checkInode(n *inode) error {
	h := &l.header
	bad := func() error { return corrupt("%+v", *n) }
	if n.Mode&^0o177777 != 0 || n.Reserved != 0 || n.Mtime > 1<<62 || !l.named(n.Target, n.TargetLen) {
		return bad()
	}
	target := string(l.names[n.Target:][:n.TargetLen])
	if n.Mode != 0 && n.Mode&ModeTypeMask != ModeSymlink && target != "" {
		return bad()
	}
	if n.Mode&ModeTypeMask != ModeRegular && n.Size|n.Off|n.Head|n.LoadOff|n.LoadBytes != 0 {
		return bad()
	}
	switch n.Mode & ModeTypeMask {
	case ModeDir:
		return nil
	case ModeSymlink:
		if target == "" || len(target) > maxTarget || strings.IndexByte(target, 0) >= 0 {
			return bad()
		}
		return nil
	case 0:
		if clean, err := cleanPath(target); n.Mode != 0 || err != nil || clean != target || target == "" {
			return bad()
		}
		return nil
	case ModeRegular:
	default:
		return bad()
	}
	if n.Size == 0 && n.Off != 0 || n.Size > h.ContentEnd || n.Head > n.Size || !h.inside(max(n.Off, guest.PageSize), n.Size-n.Head) || n.Size > n.Head && n.Off == 0 {
		return bad()
	}
	if n.LoadOff == 0 && n.LoadBytes == 0 {
		if n.Head != 0 {
			return bad()
		}
		return nil
	}
	if n.LoadBytes == 0 || (n.LoadOff|n.LoadBytes|n.Head|n.Off)%guest.PageSize != 0 || n.Head > n.LoadBytes || !h.inside(n.LoadOff, n.LoadBytes) {
		return bad()
	}
	return nil
}

// Close closes the file. Mappings that were made of it stay valid.
func (l *Layer) Close() error {
	if l.close == nil {
		return nil
	}
	if err := l.close(); err != nil {
		return fmt.Errorf("close layer %s: %w", l.path, err)
	}
	return nil
}

// Path is the path of the file.
func (l *Layer) Path() string { return l.path }

// Header returns the layer's header.
func (l *Layer) Header() Header { return l.header }

// Digest identifies the layer.
func (l *Layer) Digest() Digest { return l.header.Digest }

// Sums are the CRC-32C of each page of content: of the file from its second page on. Do not
// modify them.
func (l *Layer) Sums() []uint32 { return l.sums }

// Verify reads the content and compares it with its checksums and digests. The error
// wraps ErrCorrupt and names the first page that differs.
func (l *Layer) Verify(ctx context.Context) error {
	per := l.header.digestPages()
	sums, digests, err := hashPages(ctx, l.file, l.header.pages(), per)
	if err != nil {
		return fmt.Errorf("verify layer %s: %w", l.path, err)
	}
	for i := range sums {
		if sums[i] != l.sums[i] {
			return fmt.Errorf("verify layer %s: %w", l.path, corrupt("page %d has the checksum %#x, sealed as %#x", i+1, sums[i], l.sums[i]))
		}
	}
	for i := range digests {
		if digests[i] != l.digests[i] {
			return fmt.Errorf("verify layer %s: %w", l.path, corrupt("the %d pages from page %d on have the digest %v, sealed as %v", per, uint64(i)*per+1, digests[i], l.digests[i]))
		}
	}
	return nil
}
