package imagefile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"seuss/guest"
	"seuss/lineage/nodefile"
)

// file encodes an own file of two pages with a layer of three and an extent in it.
func file(t testing.TB, change func(h *guest.ImageHeader, l *guest.ImageLayer, e *guest.ImageExtent)) []byte {
	t.Helper()
	b := make([]byte, 2*guest.PageSize)
	l := guest.ImageLayer{Off: guest.ImageAlign + guest.PageSize, Bytes: 3 * guest.PageSize}
	e := guest.ImageExtent{GPA: 8 * guest.PageSize, Off: l.Off + guest.PageSize, Bytes: 2 * guest.PageSize}
	h := guest.ImageHeader{
		Magic: guest.ImageMagic, Version: guest.ImageVersion, OwnBytes: uint64(len(b)), TotalBytes: l.Off + l.Bytes,
		LayersOff: 256, LayerCount: 1, ExtentsOff: 512, ExtentCount: 1,
	}
	if change != nil {
		change(&h, &l, &e)
	}
	for _, p := range []struct {
		at uint64
		v  any
	}{{0, h}, {256, l}, {512, e}} {
		if _, err := binary.Encode(b[p.at:], binary.LittleEndian, p.v); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

const guestPages = 2048

func read(b []byte) ([]Shown, error) {
	t, err := Read(bytes.NewReader(b), int64(len(b)))
	if err != nil || len(t.Layers) == 0 {
		return nil, err
	}
	return t.Shown(0, guestPages)
}

func TestRead(t *testing.T) {
	shown, err := read(file(t, nil))
	first := uint64(guestPages - (guest.ImageAlign/guest.PageSize + 4))
	if err != nil || len(shown) != 2 || shown[0] != (Shown{first + 513, 3, 0}) || shown[1] != (Shown{8, 2, 1}) {
		t.Errorf("%+v, %v", shown, err)
	}
	for _, other := range [][]byte{nil, []byte("short"), make([]byte, guest.PageSize), file(t, func(h *guest.ImageHeader, _ *guest.ImageLayer, _ *guest.ImageExtent) { h.Version = 1 })} {
		if tables, err := Read(bytes.NewReader(other), int64(len(other))); err != nil || len(tables.Layers) != 0 || tables.Own != uint64(len(other)) {
			t.Errorf("%+v, %v", tables, err)
		}
	}
}

func TestHostile(t *testing.T) {
	for name, change := range map[string]func(h *guest.ImageHeader, l *guest.ImageLayer, e *guest.ImageExtent){
		"own bytes":      func(h *guest.ImageHeader, _ *guest.ImageLayer, _ *guest.ImageExtent) { h.OwnBytes++ },
		"total":          func(h *guest.ImageHeader, _ *guest.ImageLayer, _ *guest.ImageExtent) { h.TotalBytes = 1 << 63 },
		"total in pages": func(h *guest.ImageHeader, _ *guest.ImageLayer, _ *guest.ImageExtent) { h.TotalBytes++ },
		"total small":    func(h *guest.ImageHeader, _ *guest.ImageLayer, _ *guest.ImageExtent) { h.TotalBytes = guest.PageSize },
		"guest small": func(h *guest.ImageHeader, _ *guest.ImageLayer, _ *guest.ImageExtent) {
			h.TotalBytes = 4 * guestPages * guest.PageSize
		},
		"layers":          func(h *guest.ImageHeader, _ *guest.ImageLayer, _ *guest.ImageExtent) { h.LayerCount = 1 << 60 },
		"layers outside":  func(h *guest.ImageHeader, _ *guest.ImageLayer, _ *guest.ImageExtent) { h.LayersOff = h.OwnBytes - 8 },
		"layers far":      func(h *guest.ImageHeader, _ *guest.ImageLayer, _ *guest.ImageExtent) { h.LayersOff = 1 << 63 },
		"extents":         func(h *guest.ImageHeader, _ *guest.ImageLayer, _ *guest.ImageExtent) { h.ExtentCount = 1 << 60 },
		"layer unaligned": func(_ *guest.ImageHeader, l *guest.ImageLayer, _ *guest.ImageExtent) { l.Off++ },
		"layer empty":     func(_ *guest.ImageHeader, l *guest.ImageLayer, _ *guest.ImageExtent) { l.Bytes = 0 },
		"layer early":     func(_ *guest.ImageHeader, l *guest.ImageLayer, _ *guest.ImageExtent) { l.Off = guest.PageSize },
		"layer long":      func(_ *guest.ImageHeader, l *guest.ImageLayer, _ *guest.ImageExtent) { l.Bytes = 1 << 62 },
		"layer far":       func(_ *guest.ImageHeader, l *guest.ImageLayer, _ *guest.ImageExtent) { l.Off = 1<<64 - guest.PageSize },
		"extent long":     func(_ *guest.ImageHeader, _ *guest.ImageLayer, e *guest.ImageExtent) { e.Bytes = 3 * guest.PageSize },
		"extent far":      func(_ *guest.ImageHeader, _ *guest.ImageLayer, e *guest.ImageExtent) { e.GPA = 1<<64 - guest.PageSize },
		"extent above": func(_ *guest.ImageHeader, _ *guest.ImageLayer, e *guest.ImageExtent) {
			e.GPA = (guestPages - 3) * guest.PageSize
		},
		"extent askew": func(_ *guest.ImageHeader, _ *guest.ImageLayer, e *guest.ImageExtent) { e.Off++ },
	} {
		if shown, err := read(file(t, change)); !errors.Is(err, nodefile.ErrFormat) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %+v, %v", name, shown, err)
		}
	}
}

// FuzzTables reads hostile tables: what is shown of a layer lies in it, and in the guest.
func FuzzTables(f *testing.F) {
	f.Add(file(f, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		tables, err := Read(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		for i, l := range tables.Layers {
			shown, err := tables.Shown(i, guestPages)
			if err != nil {
				continue
			}
			for _, s := range shown {
				if s.First > guestPages || s.Count > guestPages-s.First || s.Page > l.Bytes/guest.PageSize || s.Count > l.Bytes/guest.PageSize-s.Page {
					t.Fatalf("%+v of %+v", s, l)
				}
			}
		}
		if _, _, err := OwnBytes(bytes.NewReader(b), int64(len(b))); err != nil {
			t.Fatal(err)
		}
	})
}
