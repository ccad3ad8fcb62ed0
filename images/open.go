package images

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"seuss/guest"
	"seuss/images/internal/object"
)

// Image is an open, validated root image.
type Image struct {
	file    *os.File
	content io.ReaderAt // all of the image: the file's bytes, and the layers'
	layers  []LayerRef
	parts   []Part
	path    string
	header  Header
	config  Config
	inodes  []Inode
	dirents []dirent
	names   []byte
	extents []Extent
	shown   []Shown // empty: guests map all of it
}

// OpenOption changes what Open does.
type OpenOption func(*openOptions)

type openOptions struct{ skipDigest bool }

// SkipDigest makes Open trust the content of an image whose digest was
// verified before. The tables are validated all the same.
func SkipDigest() OpenOption { return func(o *openOptions) { o.skipDigest = true } }

// Open opens an image and validates, in this order, magic, format version,
// guest ABI, length, every table, and the digest. The errors wrap ErrMagic,
// ErrVersion, ErrABI, ErrTruncated and ErrCorrupt. The caller closes the
// image.
func Open(path string, opts ...OpenOption) (*Image, error) {
	var o openOptions
	for _, f := range opts {
		f(&o)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open image %s: %w", path, err)
	}
	// A FIFO would block the open, so look first.
	if st, err := os.Stat(abs); err != nil {
		return nil, fmt.Errorf("open image: %w", err)
	} else if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("open image %s: %w: not a regular file but %v", path, ErrMagic, st.Mode())
	}
	f, err := os.Open(abs)
	if err != nil {
		return nil, fmt.Errorf("open image: %w", err)
	}
	img, err := openFile(f, abs, o)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open image %s: %w", path, err)
	}
	return img, nil
}

func openFile(f *os.File, path string, o openOptions) (*Image, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	img, err := decodeImage(f, st.Size())
	if err != nil {
		return nil, err
	}
	if !o.skipDigest {
		if err := verifyDigest(f, &img.header); err != nil {
			return nil, err
		}
	}
	if err := img.openLayers(f, layersBeside(path), !o.skipDigest); err != nil {
		return nil, err
	}
	img.file, img.path = f, path
	return img, nil
}

// decodeImage reads and validates everything but the digest.
func decodeImage(r io.ReaderAt, size int64) (*Image, error) {
	img := &Image{content: r}
	if err := readHeader(r, size, &img.header); err != nil {
		return nil, err
	}
	h := &img.header
	if err := h.check(); err != nil {
		return nil, err
	}
	config := make([]byte, h.ConfigBytes)
	img.inodes = make([]Inode, h.InodeCount)
	img.dirents = make([]dirent, h.DirentCount)
	img.names = make([]byte, h.NamesBytes)
	img.extents = make([]Extent, h.ExtentCount)
	img.layers = make([]LayerRef, h.LayerCount)
	img.shown = make([]Shown, h.ShownCount)
	for _, t := range []struct {
		what       string
		off, bytes uint64
		v          any
	}{
		{"configuration", h.ConfigOff, h.ConfigBytes, config},
		{"directory entries", h.DirentsOff, h.DirentCount * guest.ImageDirentSize, img.dirents},
		{"names", h.NamesOff, h.NamesBytes, img.names},
		{"extents", h.ExtentsOff, h.ExtentCount * guest.ImageExtentSize, img.extents},
		{"layers", h.LayersOff, h.LayerCount * guest.ImageLayerSize, img.layers},
		{"parts", h.ShownOff, h.ShownCount * guest.ImageShownSize, img.shown},
	} {
		buf := make([]byte, t.bytes)
		if err := object.ReadFull(r, buf, t.off); err != nil {
			return nil, fmt.Errorf("read %s: %w", t.what, err)
		}
		if err := decode(buf, t.v); err != nil {
			return nil, fmt.Errorf("read %s: %w", t.what, err)
		}
	}
	inodes := make([]byte, h.InodeCount*h.inodeBytes())
	err := object.ReadFull(r, inodes, h.InodesOff)
	if err == nil {
		err = img.decodeInodes(inodes)
	}
	if err != nil {
		return nil, fmt.Errorf("read inodes: %w", err)
	}
	if err := img.checkLayers(); err != nil {
		return nil, err
	}
	if err := img.checkShown(); err != nil {
		return nil, err
	}
	if err := img.checkTree(); err != nil {
		return nil, err
	}
	if err := img.checkExtents(); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(config, &img.config); err != nil {
		return nil, fmt.Errorf("%w: configuration: %w", ErrCorrupt, err)
	}
	if err := img.config.validate(); err != nil {
		return nil, fmt.Errorf("%w: configuration: %w", ErrCorrupt, err)
	}
	if c := &img.config; c.Driver != "" && c.driverProtocol() != guest.DriverVersion {
		return nil, fmt.Errorf("%w: its driver speaks driver protocol %d, this monitor %d: build the image anew", ErrABI, c.driverProtocol(), guest.DriverVersion)
	}
	return img, img.checkMemory()
}

// readHeader reads the header and checks magic, version, ABI and length.
func readHeader(r io.ReaderAt, size int64, h *Header) error {
	buf := make([]byte, guest.ImageHeaderSize)
	n, err := r.ReadAt(buf, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read header: %w", err)
	}
	// What a short file lacks reads as zero, so that a file of another kind
	// is named as such, and only the head of an image as truncated.
	clear(buf[n:])
	if err := decode(buf, h); err != nil {
		return err
	}
	h.unflatten()
	switch {
	case n >= 8 && h.Magic != guest.ImageMagic:
		return fmt.Errorf("%w: magic is %#x, want %#x", ErrMagic, h.Magic, uint64(guest.ImageMagic))
	case n >= 12 && h.Version != guest.ImageVersion && h.Version != guest.ImagePartsVersion && h.Version != flatVersion:
		return fmt.Errorf("%w: version is %d, this program reads %d, %d and %d: build the image anew", ErrVersion, h.Version, flatVersion, guest.ImageVersion, guest.ImagePartsVersion)
	case n >= 16 && h.ABIVersion != guest.KernelVersion:
		return fmt.Errorf("%w: its kernel library speaks version %d of the kernel contract, this monitor %d: build the image anew", ErrABI, h.ABIVersion, guest.KernelVersion)
	case n < guest.ImageHeaderSize:
		return fmt.Errorf("%w: %d bytes, a header has %d", ErrTruncated, size, guest.ImageHeaderSize)
	case h.TotalBytes%guest.PageSize != 0 || h.TotalBytes < guest.PageSize || h.TotalBytes > guest.ImageMaxGiB<<30:
		return fmt.Errorf("%w: length of %d bytes is not a page multiple up to %d GiB", ErrCorrupt, h.TotalBytes, guest.ImageMaxGiB)
	case h.OwnBytes%guest.PageSize != 0 || h.OwnBytes < guest.PageSize || h.OwnBytes > h.TotalBytes:
		return fmt.Errorf("%w: %d of %d bytes are its own", ErrCorrupt, h.OwnBytes, h.TotalBytes)
	case uint64(size) < h.OwnBytes:
		return fmt.Errorf("%w: %d of %d bytes", ErrTruncated, size, h.OwnBytes)
	case uint64(size) > h.OwnBytes:
		return fmt.Errorf("%w: %d bytes follow the end at %d", ErrCorrupt, uint64(size)-h.OwnBytes, h.OwnBytes)
	}
	return nil
}

// verifyDigest sums the whole file.
func verifyDigest(r io.ReaderAt, h *Header) error {
	head := make([]byte, guest.ImageHeaderDigest+len(h.Digest))
	if err := object.ReadFull(r, head, 0); err != nil {
		return fmt.Errorf("verify digest: %w", err)
	}
	clear(head[guest.ImageHeaderDigest:])
	sum := sha256.New()
	sum.Write(head) // never fails, see hash.Hash
	rest := io.NewSectionReader(r, int64(len(head)), int64(h.OwnBytes)-int64(len(head)))
	n, err := io.CopyBuffer(sum, onlyReader{rest}, make([]byte, 1<<20))
	if err == nil && n != rest.Size() {
		err = fmt.Errorf("%w: got %d of %d bytes", ErrTruncated, n, rest.Size())
	}
	if err != nil {
		return fmt.Errorf("verify digest: %w", err)
	}
	if got := Digest(sum.Sum(nil)); got != h.Digest {
		return fmt.Errorf("%w: digest is %v, the header says %v", ErrCorrupt, got, h.Digest)
	}
	return nil
}

// onlyReader hides WriteTo, whose buffer would be small.
type onlyReader struct{ io.Reader }

// Close closes the files. Mappings made from them stay valid.
func (m *Image) Close() error {
	var errs []error
	for _, p := range m.parts {
		errs = append(errs, p.File.Close()) // the first is the image's own
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close image %s: %w", m.path, err)
	}
	return nil
}

// Path is the absolute path of the image file.
func (m *Image) Path() string { return m.path }

// File is the image's own file. The image keeps owning it.
func (m *Image) File() *os.File { return m.file }

// Header returns the image's header.
func (m *Image) Header() Header { return m.header }

// Config returns the host's configuration stored in the image.
func (m *Image) Config() Config { return m.config }

// Digest identifies the image.
func (m *Image) Digest() Digest { return m.header.Digest }

// Extents are the pages to place before the guest starts, sorted by address.
func (m *Image) Extents() []Extent { return m.extents }
