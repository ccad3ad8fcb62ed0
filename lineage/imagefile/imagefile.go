package imagefile

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"

	"seuss/guest"
	"seuss/lineage/nodefile"
)

// Tables is what an image's own file says of the layers behind it: struct abi_image_header
// and its tables of guest/abi/image.h.
type Tables struct {
	Total, Own uint64             // bytes with the layers, and of the own file
	Layers     []guest.ImageLayer // ascending, each behind the own file
	Extents    []guest.ImageExtent
	Parts      []guest.ImageShown // what guests map of it, ascending
	Mapped     uint64             // bytes that those take
}

// Read reads the tables of an own file of size bytes. A file that is no image, as those of
// tests, has no layers.
func Read(r io.ReaderAt, size int64) (*Tables, error) {
	none := &Tables{Total: uint64(size), Own: uint64(size), Mapped: uint64(size)}
	if size < guest.ImageHeaderSize {
		return none, nil
	}
	var h guest.ImageHeader
	if err := readTable(r, 0, guest.ImageHeaderSize, &h); err != nil {
		return nil, fmt.Errorf("read image header: %w", err)
	}
	if !layered(&h) {
		return none, nil
	}
	t := &Tables{Total: h.TotalBytes, Own: h.OwnBytes}
	if t.Own != uint64(size) || t.Own > t.Total || t.Total > guest.ImageMaxGiB<<30 || t.Total%guest.PageSize != 0 || h.LayerCount > guest.ImageLayersMax || h.ExtentCount > guest.ImageExtentsMax || h.ShownCount > guest.ImageShownMax {
		return nil, fmt.Errorf("image of %d bytes, with %d of its own, %d layers, %d extents: %w", t.Total, t.Own, h.LayerCount, h.ExtentCount, nodefile.ErrFormat)
	}
	t.Layers = make([]guest.ImageLayer, h.LayerCount)
	if err := readTable(r, h.LayersOff, h.LayerCount*guest.ImageLayerSize, t.Layers); err != nil {
		return nil, fmt.Errorf("read the image's layers: %w", err)
	}
	t.Extents = make([]guest.ImageExtent, h.ExtentCount)
	if err := readTable(r, h.ExtentsOff, h.ExtentCount*guest.ImageExtentSize, t.Extents); err != nil {
		return nil, fmt.Errorf("read the image's extents: %w", err)
	}
	end := t.Own
	for i, l := range t.Layers {
		if (l.Off|l.Bytes)%guest.PageSize != 0 || l.Bytes == 0 || l.Off < end || l.Off > t.Total || l.Bytes > t.Total-l.Off {
			return nil, fmt.Errorf("layer %d of the image lies at %#x with %#x bytes: %w", i, l.Off, l.Bytes, nodefile.ErrFormat)
		}
		end = l.Off + l.Bytes
	}
	return t, t.readParts(r, &h)
}

// readParts reads what guests map of the image.
func (t *Tables) readParts(r io.ReaderAt, h *guest.ImageHeader) error {
	t.Parts, t.Mapped = []guest.ImageShown{{Bytes: t.Total}}, t.Total
	if h.Version != guest.ImagePartsVersion {
		return nil
	}
	t.Parts, t.Mapped = make([]guest.ImageShown, h.ShownCount), h.ShownBytes
	if err := readTable(r, h.ShownOff, h.ShownCount*guest.ImageShownSize, t.Parts); err != nil {
		return fmt.Errorf("read the image's parts: %w", err)
	}
	var end, at uint64
	for i, p := range t.Parts {
		if (p.Off|p.At|p.Bytes)%guest.PageSize != 0 || p.Bytes == 0 || p.Off < end || p.Off > t.Total || p.Bytes > t.Total-p.Off ||
			p.At < at || p.At > t.Mapped || p.Bytes > t.Mapped-p.At {
			return fmt.Errorf("part %d of the image is %+v, of %d bytes: %w", i, p, t.Mapped, nodefile.ErrFormat)
		}
		end, at = p.Off+p.Bytes, p.At+p.Bytes
	}
	if t.Mapped%guest.PageSize != 0 || t.Mapped > guest.MaxGiB<<30 || t.Mapped < t.Own {
		return fmt.Errorf("%d bytes of the image are mapped: %w", t.Mapped, nodefile.ErrFormat)
	}
	return nil
}

// ReadFile is Read of the own file at path.
func ReadFile(path string) (*Tables, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return Read(f, st.Size())
}

// layered reports whether an image has layers that this program knows how to find.
func layered(h *guest.ImageHeader) bool {
	return h.Magic == guest.ImageMagic && (h.Version == guest.ImageVersion || h.Version == guest.ImagePartsVersion) && h.LayerCount > 0
}

func readTable(r io.ReaderAt, off, size uint64, out any) error {
	if off > math.MaxInt64 {
		return fmt.Errorf("a table lies at %#x: %w", off, nodefile.ErrFormat)
	}
	b := make([]byte, size)
	if n, err := r.ReadAt(b, int64(off)); n < len(b) {
		return fmt.Errorf("got %d of %d bytes: %w", n, len(b), nodefile.NoEOF(err))
	}
	_, err := binary.Decode(b, binary.LittleEndian, out)
	return err
}

// Shown is a stretch of a layer that guests see.
type Shown struct {
	First, Count uint64 // guest pages
	Page         uint64 // of the layer's content, which is shown from First on
}

// Shown returns where guests of so many pages see layer i, or parts of it: above the image's own file, and
// where the program's text lies in it. Nothing of it lies elsewhere than behind the RAM, or
// within it.
func (t *Tables) Shown(i int, guestPages uint64) ([]Shown, error) {
	total := t.Mapped / guest.PageSize
	if total > guestPages {
		return nil, fmt.Errorf("image of %d bytes for a guest of %d pages: %w", t.Mapped, guestPages, nodefile.ErrFormat)
	}
	l, first := t.Layers[i], guestPages-total
	var out []Shown
	for _, p := range t.Parts {
		if from, to := max(p.Off, l.Off), min(p.Off+p.Bytes, l.Off+l.Bytes); from < to {
			out = append(out, Shown{First: first + (p.At+from-p.Off)/guest.PageSize, Count: (to - from) / guest.PageSize, Page: (from - l.Off) / guest.PageSize})
		}
	}
	for _, e := range t.Extents {
		if e.Off < l.Off || e.Off-l.Off >= l.Bytes {
			continue
		}
		s := Shown{First: e.GPA / guest.PageSize, Count: e.Bytes / guest.PageSize, Page: (e.Off - l.Off) / guest.PageSize}
		if (e.GPA|e.Off|e.Bytes)%guest.PageSize != 0 || s.Count > l.Bytes/guest.PageSize-s.Page || s.First > first || s.Count > first-s.First {
			return nil, fmt.Errorf("extent %+v of the image: %w", e, nodefile.ErrFormat)
		}
		out = append(out, s)
	}
	return out, nil
}
