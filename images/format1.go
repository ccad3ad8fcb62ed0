package images

import "seuss/guest"

// flatVersion is the format in which an image was one file with everything in it, before
// layers. Its kernel library reads its own tables, so such an image runs as it is; nothing
// is built in this format any more.
const flatVersion = 1

// FormatVersions are the formats that images are read in.
func FormatVersions() []int { return []int{flatVersion, guest.ImageVersion, guest.ImagePartsVersion} }

// flatInode is struct abi_image_inode of that format, of flatInodeBytes.
type flatInode struct {
	Mode, Nlink                          uint32
	Size, Off, Mtime, LoadOff, LoadBytes uint64
}

const flatInodeBytes = 48

// inodeBytes is how long an inode of the image is.
func (h *Header) inodeBytes() uint64 {
	if h.Version == flatVersion {
		return flatInodeBytes
	}
	return guest.ImageInodeSize
}

// unflatten fills in what a header of the flat format, which is shorter, does not say.
func (h *Header) unflatten() {
	if h.Version != guest.ImagePartsVersion {
		h.ShownOff, h.ShownCount, h.ShownBytes = h.ExtentsOff, 0, 0
	}
	if h.Version == flatVersion {
		h.OwnBytes, h.LayersOff, h.LayerCount = h.TotalBytes, h.ExtentsOff, 0
	}
}

// decodeInodes reads the table of inodes.
func (m *Image) decodeInodes(table []byte) error {
	if m.header.Version != flatVersion {
		return decode(table, m.inodes)
	}
	old := make([]flatInode, len(m.inodes))
	if err := decode(table, old); err != nil {
		return err
	}
	for i, n := range old {
		m.inodes[i] = Inode{Mode: n.Mode, Nlink: n.Nlink, Size: n.Size, Off: n.Off, Mtime: n.Mtime, LoadOff: n.LoadOff, LoadBytes: n.LoadBytes}
	}
	return nil
}
