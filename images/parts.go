package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"

	"seuss/guest"
	"seuss/images/layer"
)

// Part is a stretch of an image that lies in one file: the image's own, or a layer's.
type Part struct {
	Off, Bytes uint64 // in the image, in whole pages
	File       *os.File
	FileOff    int64        // where the stretch begins in the file, page aligned
	Layer      layer.Digest // zero: the image's own file
}

// Parts are what the image consists of, by Off, its own file first. What lies between them
// is zero. The image keeps owning the files.
func (m *Image) Parts() []Part { return m.parts }

// Layers are the layers that the image is made of, the lowest first.
func (m *Image) Layers() []LayerRef { return m.layers }

// Mapping is a run of guest pages that show a file.
type Mapping struct {
	GPA, Bytes uint64 // in whole pages
	File       *os.File
	FileOff    int64
}

// Mappings are what guests show of the image before they start: the kernel library and the
// program at their addresses, and from imageGPA on all of it, or its parts (Shown).
func (m *Image) Mappings(imageGPA uint64) (all []Mapping) {
	for _, p := range m.parts {
		for _, e := range m.extents {
			if e.Off >= p.Off && e.Off-p.Off < p.Bytes {
				all = append(all, Mapping{e.GPA, e.Bytes, p.File, p.FileOff + int64(e.Off-p.Off)})
			}
		}
		for _, s := range m.Shown() {
			if from, to := max(s.Off, p.Off), min(s.Off+s.Bytes, p.Off+p.Bytes); from < to {
				all = append(all, Mapping{imageGPA + s.At + from - s.Off, to - from, p.File, p.FileOff + int64(from-p.Off)})
			}
		}
	}
	return all
}

// ReadAt implements io.ReaderAt over the whole image.
func (m *Image) ReadAt(p []byte, off int64) (int, error) { return m.content.ReadAt(p, off) }

// layersBeside is the store of the layers that an image file names.
func layersBeside(path string) layer.Store {
	return layer.Store{Dir: filepath.Join(filepath.Dir(path), layer.DirName)}
}

// openLayers opens the files of the image's layers. With verify all content is compared
// with its digests.
func (m *Image) openLayers(own *os.File, store layer.Store, verify bool) error {
	m.parts = []Part{{Bytes: m.header.OwnBytes, File: own}}
	for _, ref := range m.layers {
		f, err := openLayer(store, ref, verify)
		if err != nil {
			for _, p := range m.parts[1:] {
				p.File.Close()
			}
			return err
		}
		m.parts = append(m.parts, Part{ref.Off, ref.Bytes, f, guest.PageSize, ref.Digest})
	}
	m.content = stretches(m.parts)
	return nil
}

func openLayer(store layer.Store, ref LayerRef, verify bool) (*os.File, error) {
	h, err := store.Header(ref.Digest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("layer %v is missing: %w: build the image anew", ref.Digest, err)
	} else if err != nil {
		return nil, fmt.Errorf("layer %v: %w", ref.Digest, err)
	}
	if h.ContentEnd != guest.PageSize+ref.Bytes {
		return nil, corrupt("layer %v has %d bytes of content, want %d", ref.Digest, h.ContentEnd-guest.PageSize, ref.Bytes)
	}
	if verify {
		l, err := store.Open(ref.Digest)
		if err != nil {
			return nil, err
		}
		if err := errors.Join(l.Verify(context.Background()), l.Close()); err != nil {
			return nil, err
		}
	}
	return os.Open(store.Path(ref.Digest))
}

// stretches reads an image from its parts.
type stretches []Part

func (s stretches) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("read image at %d: negative offset", off)
	}
	for n < len(p) {
		at := uint64(off) + uint64(n)
		i := sort.Search(len(s), func(i int) bool { return s[i].Off+s[i].Bytes > at })
		if i == len(s) {
			return n, io.EOF
		}
		if part := s[i]; at >= part.Off {
			got, err := part.File.ReadAt(p[n:n+int(min(uint64(len(p)-n), part.Off+part.Bytes-at))], part.FileOff+int64(at-part.Off))
			n += got
			if err != nil {
				return n, fmt.Errorf("read image: %w", err)
			}
			continue
		}
		zero := int(min(uint64(len(p)-n), s[i].Off-at))
		clear(p[n : n+zero])
		n += zero
	}
	return n, nil
}

// checkLayers verifies order and bounds of the layers.
func (m *Image) checkLayers() error {
	end := m.header.OwnBytes
	for i, l := range m.layers {
		if (l.Off|l.Bytes)%guest.PageSize != 0 || l.Off%guest.ImageAlign != guest.PageSize || l.Bytes == 0 ||
			l.Off < end || !m.header.inside(l.Off, l.Bytes) {
			return corrupt("layer %d lies at %#x with %#x bytes", i, l.Off, l.Bytes)
		}
		end = l.Off + l.Bytes
	}
	if pageCeil(end) != m.header.TotalBytes {
		return corrupt("%#x bytes end at %#x", m.header.TotalBytes, end)
	}
	return nil
}
