package layer

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"seuss/guest"
)

// The file, in order: a page that holds the header, content up to Header.ContentEnd, a
// page boundary, then inodes, entries, names, for each page of content behind the header's a
// CRC-32C, and for each stretch of it a SHA-256. All integers are little endian. Nothing
// follows. Version 1 has a SHA-256 for each page, which made a layer longer by 0.8 %.
const (
	magic   = 0x3159414c53535553 // "SUSSLAY1"
	version = 2

	pageDigestsVersion = 1 // which is read, and not written any more

	// Suffix ends the names of layer files, which begin with their digests.
	Suffix = ".layer"

	headerBytes = 136
	inodeBytes  = 72
	entryBytes  = 16
	sumBytes    = 4

	// digestPages are what has one SHA-256; the last stretch of the content may be shorter.
	digestPages = 16
)

// Limits, so that a hostile tar stream or file cannot take memory without bound.
const (
	MaxEntries   = 1 << 20   // of a layer
	maxNameBytes = 256 << 20 // of all paths and link targets together
	maxPath      = guest.PageSize - 1
	maxTarget    = guest.PageSize - 1
	// maxContent bounds the content: page numbers take 32 bits.
	maxContent = uint64(1) << 42
)

// Linux st_mode bits, inode(7).
const (
	ModeTypeMask = 0o170000
	ModeDir      = 0o040000
	ModeRegular  = 0o100000
	ModeSymlink  = 0o120000
)

// Digest is the SHA-256 of header and tables; the tables hold digests of all content.
type Digest [32]byte

// String returns the digest in lower-case hexadecimal, 64 characters.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// ParseDigest reads what String writes.
func ParseDigest(s string) (d Digest, err error) {
	if n, err := hex.Decode(d[:], []byte(s)); err != nil || n != len(d) || d.String() != s {
		return Digest{}, fmt.Errorf("digest %.80q is not 64 lower-case hex digits", s)
	}
	return d, nil
}

// Header is the first bytes of a layer.
type Header struct {
	Magic      uint64
	Version    uint32
	ABI        uint32 // guest.KernelVersion: loaded layouts jump to the kernel library
	Total      uint64 // length of the file
	Digest     Digest // with this field zero
	DiffID     Digest // SHA-256 of the tar stream
	ContentEnd uint64 // page multiple
	InodeCount uint64
	EntryCount uint64
	NameBytes  uint64
	Unpacked   uint64 // bytes of the regular files
	Skipped    uint64 // devices, sockets and FIFOs that were left out
}

// pages is the number of pages of content.
func (h *Header) pages() uint64 { return h.ContentEnd/guest.PageSize - 1 }

func (h *Header) entriesOff() uint64 { return h.ContentEnd + h.InodeCount*inodeBytes }
func (h *Header) namesOff() uint64   { return h.entriesOff() + h.EntryCount*entryBytes }
func (h *Header) sumsOff() uint64    { return h.namesOff() + h.NameBytes }
func (h *Header) digestsOff() uint64 {
	return h.sumsOff() + h.pages()*sumBytes
}
func (h *Header) total() uint64 { return h.digestsOff() + h.digests()*uint64(len(Digest{})) }

// digestPages is the number of pages of content that have one digest.
func (h *Header) digestPages() uint64 {
	if h.Version == pageDigestsVersion {
		return 1
	}
	return digestPages
}

// digests is the number of digests of content.
func (h *Header) digests() uint64 { return (h.pages() + h.digestPages() - 1) / h.digestPages() }

// Flags of an entry.
const (
	flagHides  = 1 // what the layers below have under this path, and below it, is gone
	flagOpaque = 2 // what they have below this path is gone
	flagsAll   = flagHides | flagOpaque
)

// inode is a file, directory or link as it is stored, in the order of first use by
// entries. With Mode 0 it is what Target leads to in the layers below.
type inode struct {
	Mode, Reserved     uint32
	UID, GID           uint32
	Mtime              uint64
	Size, Off          uint64 // of a regular file's content
	Head               uint64 // so much of the content lies at LoadOff, a page multiple, and only the rest at Off
	LoadOff, LoadBytes uint64 // ET_DYN as loaded, in whole pages; 0 = none
	Target, TargetLen  uint32 // in the names
}

// entry is a name as it is stored; entries ascend by path.
type entry struct {
	Path, PathLen uint32 // in the names
	Flags         uint32
	Inode         uint32 // + 1; 0: the layer has no file there
}

func (n *inode) append(b []byte) []byte {
	le := binary.LittleEndian
	for _, v := range []uint32{n.Mode, n.Reserved, n.UID, n.GID} {
		b = le.AppendUint32(b, v)
	}
	for _, v := range []uint64{n.Mtime, n.Size, n.Off, n.Head, n.LoadOff, n.LoadBytes} {
		b = le.AppendUint64(b, v)
	}
	return le.AppendUint32(le.AppendUint32(b, n.Target), n.TargetLen)
}

func (n *inode) decode(b []byte) {
	_ = b[inodeBytes-1]
	le := binary.LittleEndian
	for i, v := range []*uint32{&n.Mode, &n.Reserved, &n.UID, &n.GID} {
		*v = le.Uint32(b[4*i:])
	}
	for i, v := range []*uint64{&n.Mtime, &n.Size, &n.Off, &n.Head, &n.LoadOff, &n.LoadBytes} {
		*v = le.Uint64(b[16+8*i:])
	}
	n.Target, n.TargetLen = le.Uint32(b[64:]), le.Uint32(b[68:])
}

func (e *entry) append(b []byte) []byte {
	for _, v := range []uint32{e.Path, e.PathLen, e.Flags, e.Inode} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

func (e *entry) decode(b []byte) {
	for i, v := range []*uint32{&e.Path, &e.PathLen, &e.Flags, &e.Inode} {
		*v = binary.LittleEndian.Uint32(b[4*i:])
	}
}

func (h *Header) encode() []byte {
	b, err := binary.Append(make([]byte, 0, guest.PageSize), binary.LittleEndian, h)
	if err != nil {
		panic(err) // of fixed size
	}
	return append(b, make([]byte, guest.PageSize-len(b))...)
}

func pageFloor(n uint64) uint64 { return n &^ (guest.PageSize - 1) }
func pageCeil(n uint64) uint64  { return pageFloor(n + guest.PageSize - 1) }
