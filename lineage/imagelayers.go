package lineage

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"

	"seuss/guest"
	"seuss/images/layer"
	"seuss/lineage/nodefile"
	"seuss/lineage/pages"
)

// imageLayers is what an image file says of the layers behind it: struct abi_image_header
// and its tables of guest/abi/image.h. What else is in the file is package images' business.
type imageLayers struct {
	total, own uint64 // bytes
	layers     []guest.ImageLayer
	extents    []guest.ImageExtent // that lie in layers
}

// Bounds of an image's tables, so that a hostile file takes no memory.
const (
	maxImageLayers  = 256
	maxImageExtents = 4096
)

// readImageLayers reads the layers of an image file. A file that is no image, as those of
// tests, has none.
func readImageLayers(r io.ReaderAt, size int64) (*imageLayers, error) {
	none := &imageLayers{total: uint64(size), own: uint64(size)}
	var h guest.ImageHeader
	b := make([]byte, guest.ImageHeaderSize)
	if n, err := r.ReadAt(b, 0); n < len(b) {
		if err != io.EOF {
			return nil, fmt.Errorf("read image header: %w", err)
		}
		return none, nil
	}
	if _, err := binary.Decode(b, binary.LittleEndian, &h); err != nil {
		return nil, err
	}
	if h.Magic != guest.ImageMagic || h.Version != guest.ImageVersion || h.LayerCount == 0 {
		return none, nil
	}
	m := &imageLayers{total: h.TotalBytes, own: h.OwnBytes}
	if m.own != uint64(size) || m.own > m.total || m.total > guest.MaxGiB<<30 || m.total%guest.PageSize != 0 || h.LayerCount > maxImageLayers || h.ExtentCount > maxImageExtents {
		return nil, fmt.Errorf("image of %d bytes, with %d of its own, %d layers, %d extents: %w", m.total, m.own, h.LayerCount, h.ExtentCount, nodefile.ErrFormat)
	}
	m.layers = make([]guest.ImageLayer, h.LayerCount)
	extents := make([]guest.ImageExtent, h.ExtentCount)
	for _, t := range []struct {
		off, size uint64
		v         any
	}{{h.LayersOff, h.LayerCount * guest.ImageLayerSize, m.layers}, {h.ExtentsOff, h.ExtentCount * guest.ImageExtentSize, extents}} {
		if t.off > math.MaxInt64 {
			return nil, fmt.Errorf("a table of the image lies at %#x: %w", t.off, nodefile.ErrFormat)
		}
		b := make([]byte, t.size)
		if n, err := r.ReadAt(b, int64(t.off)); n < len(b) {
			return nil, fmt.Errorf("read image tables: %d of %d bytes: %w", n, len(b), nodefile.NoEOF(err))
		}
		if _, err := binary.Decode(b, binary.LittleEndian, t.v); err != nil {
			return nil, err
		}
	}
	end := m.own
	for i, l := range m.layers {
		if (l.Off|l.Bytes)%guest.PageSize != 0 || l.Bytes == 0 || l.Off < end || l.Off > m.total || l.Bytes > m.total-l.Off {
			return nil, fmt.Errorf("layer %d of the image lies at %#x with %#x bytes: %w", i, l.Off, l.Bytes, nodefile.ErrFormat)
		}
		end = l.Off + l.Bytes
	}
	for _, e := range extents {
		if e.Off >= m.own {
			m.extents = append(m.extents, e)
		}
	}
	return m, nil
}

// readOwnBytes says how long the own file of an image is that has layers; 0: it has none.
func readOwnBytes(r io.ReaderAt) (int64, error) {
	var h guest.ImageHeader
	b := make([]byte, guest.ImageHeaderSize)
	if n, err := r.ReadAt(b, 0); n < len(b) {
		return 0, nodefile.NoEOF(err)
	}
	if _, err := binary.Decode(b, binary.LittleEndian, &h); err != nil {
		return 0, err
	}
	if h.Magic != guest.ImageMagic || h.Version != guest.ImageVersion || h.LayerCount == 0 || h.OwnBytes > guest.MaxGiB<<30 {
		return 0, nil
	}
	return int64(h.OwnBytes), nil
}

// readImageLayersOf is readImageLayers of the file at path.
func readImageLayersOf(path string) (*imageLayers, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return readImageLayers(f, st.Size())
}

// layerStore is where the layers of images lie.
func (s *Store) layerStore() layer.Store {
	return layer.Store{Dir: s.path(imagesDir, layer.DirName)}
}

// layerRuns maps the layers of an image whose guests have so many pages, and returns where
// these show them: above the image's own file, and where its program is placed.
func (s loader) layerRuns(digest string, guestPages uint64, verify pages.Verify) ([]pages.Run, error) {
	m, err := readImageLayersOf(s.ImagePath(digest))
	if err != nil || len(m.layers) == 0 {
		return nil, err
	}
	if m.total/guest.PageSize > guestPages {
		return nil, fmt.Errorf("image of %d bytes for a guest of %d pages: %w", m.total, guestPages, nodefile.ErrFormat)
	}
	first := guestPages - m.total/guest.PageSize
	var runs []pages.Run
	for _, l := range m.layers {
		blob, err := s.openLayer(layer.Digest(l.Digest), l.Bytes/guest.PageSize, verify)
		if err != nil {
			return nil, err
		}
		runs = append(runs, pages.Run{First: first + l.Off/guest.PageSize, Count: blob.Pages(), Blob: blob})
		for _, e := range m.extents {
			if e.Off < l.Off || e.Off-l.Off >= l.Bytes {
				continue
			}
			run := pages.Run{First: e.GPA / guest.PageSize, Count: e.Bytes / guest.PageSize, Blob: blob, Page: (e.Off - l.Off) / guest.PageSize}
			if (e.GPA|e.Off|e.Bytes)%guest.PageSize != 0 || run.Count > blob.Pages()-run.Page || run.First > first || run.Count > first-run.First {
				return nil, fmt.Errorf("extent %+v of the image: %w", e, nodefile.ErrFormat)
			}
			runs = append(runs, run)
		}
	}
	return runs, nil
}

// openLayer maps the content of a layer. All images that have it share one Blob: one
// mapping, one copy of what is filled on demand.
func (s loader) openLayer(d layer.Digest, count uint64, verify pages.Verify) (*pages.Blob, error) {
	f, err := os.Open(s.layerStore().Path(d))
	if err != nil {
		return nil, fmt.Errorf("layer of an image: %w", err)
	}
	file, err := pages.FileIDOf(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	blob := s.blobs.Get(file)
	if blob != nil {
		f.Close()
	} else {
		l, err := s.layerStore().Open(d) // its digest covers the checksums
		if err != nil {
			f.Close()
			return nil, err
		}
		x := &nodefile.Index{Sums: l.Sums()}
		x.DataPages = uint64(len(x.Sums))
		if err := l.Close(); err != nil {
			f.Close()
			return nil, err
		}
		if blob, err = pages.Open(verify, s.huge, "of layer "+d.String(), f, guest.PageSize, x); err != nil {
			return nil, err
		}
		blob = s.blobs.Add(file, blob)
	}
	if blob.Pages() != count {
		return nil, fmt.Errorf("layer %v has %d pages, the image %d of it: %w", d, blob.Pages(), count, nodefile.ErrLength)
	}
	if verify == pages.VerifyEager {
		return blob, blob.Check(0, count)
	}
	return blob, nil
}
