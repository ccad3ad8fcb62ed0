package images

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"seuss/guest"
	"seuss/images/layer"
)

// Linux st_mode bits, inode(7).
const (
	modeTypeMask = layer.ModeTypeMask
	modeDir      = layer.ModeDir
	modeRegular  = layer.ModeRegular
	modeSymlink  = layer.ModeSymlink
	modeSetuid   = 0o4000
	modeSetgid   = 0o2000
	modeSticky   = 0o1000
)

// Limits of this package, so that a hostile image cannot make Open allocate
// without bound. They lie a factor of 100 above an interpreter with its library.
const (
	maxInodes      = 1 << 20
	maxDirents     = 1 << 20
	maxNameBytes   = 64 << 20
	maxExtents     = guest.ImageExtentsMax
	maxLayers      = guest.ImageLayersMax
	maxShown       = guest.ImageShownMax
	maxConfigBytes = 1 << 20
	maxSymlink     = guest.PageSize - 1 // PATH_MAX of Linux, without the NUL
	maxFollow      = 40                 // MAXSYMLINKS of Linux
)

// maxGPA is the end of the guest-physical space that the guest's static page
// tables map: RAM and root image together.
const maxGPA = uint64(guest.MaxGiB) << 30

// smallAlign aligns tables, link targets and files below a page.
const smallAlign = 16

// Digest is the SHA-256 of an image's own file with the digest field itself zero. The file
// names its layers by their digests, so it covers them.
type Digest [32]byte

// String returns the digest in lower-case hexadecimal, 64 characters.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// Header is struct abi_image_header, the first bytes of an image.
type Header struct {
	Magic       uint64
	Version     uint32
	ABIVersion  uint32
	TotalBytes  uint64 // of the file and the layers, a multiple of the page size
	Digest      Digest
	InodesOff   uint64
	InodeCount  uint64
	DirentsOff  uint64
	DirentCount uint64
	NamesOff    uint64
	NamesBytes  uint64
	ExtentsOff  uint64
	ExtentCount uint64
	Entry       uint64 // GPA of the kernel library's entry point
	KernelEnd   uint64 // GPA behind the kernel library, page aligned
	Program     uint32 // inode of the ET_EXEC program that the extents place; 0 = none
	Reserved    uint32
	ConfigOff   uint64
	ConfigBytes uint64
	OwnBytes    uint64 // length of the file; what lies behind it are layers
	LayersOff   uint64
	LayerCount  uint64
	ShownOff    uint64 // of version guest.ImagePartsVersion
	ShownCount  uint64
	ShownBytes  uint64
}

// LayerRef is struct abi_image_layer: where the content of a layer, its file from the
// second page on, lies in the image.
type LayerRef struct {
	Off    uint64 // at the same place in its stretch of 2 MiB as in the layer's file
	Bytes  uint64 // page multiple
	Digest layer.Digest
}

// Extent is struct abi_image_extent: bytes of the image at Off appear at
// guest-physical address GPA before the guest starts. All three are multiples
// of the page size.
type Extent struct {
	GPA   uint64
	Off   uint64
	Bytes uint64
}

// Inode is struct abi_image_inode.
type Inode struct {
	Mode      uint32 // Linux st_mode
	Nlink     uint32
	UID, GID  uint32
	Size      uint64 // bytes; entries for a directory
	Off       uint64 // content; link target; for a directory its first dirent's index
	Mtime     uint64 // seconds since 1970
	LoadOff   uint64 // ET_DYN as loaded, page aligned; 0 = none
	LoadBytes uint64 // page multiple
	Head      uint64 // page multiple: so much of the content lies at LoadOff, and only what follows at Off
}

// IsDir reports whether the inode is a directory.
func (n *Inode) IsDir() bool { return n.Mode&modeTypeMask == modeDir }

// IsRegular reports whether the inode is a regular file.
func (n *Inode) IsRegular() bool { return n.Mode&modeTypeMask == modeRegular }

// IsSymlink reports whether the inode is a symbolic link.
func (n *Inode) IsSymlink() bool { return n.Mode&modeTypeMask == modeSymlink }

// dirent is struct abi_image_dirent.
type dirent struct {
	NameOff uint64 // from Header.NamesOff
	NameLen uint32
	Inode   uint32
}

// encode appends the little-endian image of a fixed-size value or slice of
// such values.
func encode(buf []byte, v any) ([]byte, error) {
	out, err := binary.Append(buf, binary.LittleEndian, v)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	return out, nil
}

// decode fills v from the start of buf.
func decode(buf []byte, v any) error {
	if _, err := binary.Decode(buf, binary.LittleEndian, v); err != nil {
		return fmt.Errorf("decode %T from %d bytes: %w", v, len(buf), err)
	}
	return nil
}

// alignUp rounds n up to a multiple of align, a power of two. The caller
// keeps n far from the end of the number range.
func alignUp(n, align uint64) uint64 { return (n + align - 1) &^ (align - 1) }

// pageFloor rounds n down to a page boundary.
func pageFloor(n uint64) uint64 { return n &^ (guest.PageSize - 1) }

// pageCeil rounds n up to a page boundary.
func pageCeil(n uint64) uint64 { return alignUp(n, guest.PageSize) }
