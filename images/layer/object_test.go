package layer

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"seuss/guest"
	"seuss/images/internal/elftest"
	"seuss/images/internal/layertest"
	"seuss/images/internal/object"
)

// sharedObject has text that is the file's own pages, and data that lies elsewhere when
// loaded.
func sharedObject(text, data, bss int) []byte {
	dataOff := 0x1000 + text
	b := elftest.Make(elf.ET_DYN, 0,
		elftest.Segment{Memsz: 0x200, Flags: elf.PF_R},
		elftest.Segment{Vaddr: 0x1000, Off: 0x1000, Data: layertest.Pattern(text, 1), Flags: elf.PF_R | elf.PF_X},
		elftest.Segment{Vaddr: uint64(dataOff) + 0x1000, Off: uint64(dataOff), Data: layertest.Pattern(data, 2), Memsz: uint64(data + bss), Flags: elf.PF_R | elf.PF_W})
	binary.LittleEndian.PutUint64(b[64+32:], 0x200)   // the first segment's size in the file: the headers themselves
	return append(b, layertest.Pattern(10_000, 3)...) // sections and symbols
}

// objects are ELF files of this host and made ones.
func objects(t testing.TB) map[string][]byte {
	t.Helper()
	all := map[string][]byte{
		"made":     sharedObject(0x5432, 0x3210, 0x4321),
		"large":    sharedObject(3<<20, 0x3210, 3<<20),
		"bss":      sharedObject(0x100, 0x10, 3<<20),
		"no bss":   sharedObject(0x8000, 0x1000, 0),
		"fixed":    elftest.Make(elf.ET_EXEC, 0x400000, elftest.Segment{Vaddr: 0x600000, Off: 0x1000, Data: layertest.Pattern(3<<20, 1), Flags: elf.PF_R | elf.PF_X}),
		"damaged":  sharedObject(0x5432, 0x3210, 0x4321)[:0x3000],
		"too big":  elftest.Make(elf.ET_DYN, 0, elftest.Segment{Off: 0x1000, Data: []byte("x"), Memsz: object.MaxLoadBytes + 1}),
		"no pages": append([]byte("\x7fELF"), make([]byte, 100)...),
	}
	for _, pattern := range []string{"/lib/x86_64-linux-gnu/libc.so.6", "/lib/x86_64-linux-gnu/libm.so.6", "/usr/lib/x86_64-linux-gnu/libcrypto.so*", "/usr/bin/python3.*", "/usr/bin/ls"} {
		names, _ := filepath.Glob(pattern)
		for _, name := range names {
			if b, err := os.ReadFile(name); err == nil {
				all[name] = b
			}
		}
	}
	return all
}

// TestObjects: content and layout of an ELF file are what they are without a layer, and
// together they take little more than the file.
func TestObjects(t *testing.T) {
	for name, b := range objects(t) {
		for how, memory := range map[string]uint64{"": memoryObject, " in passes": guest.PageSize} {
			t.Run(name+how, func(t *testing.T) { testObject(t, name, b, memory) })
		}
	}
}

// addIn is add for which objects of so many bytes are small.
func addIn(t *testing.T, memoryObject uint64, entries ...layertest.Entry) *Layer {
	t.Helper()
	var out memory
	w := newWriter(&out, 1<<40)
	w.memory = memoryObject
	id, err := w.fromTar(t.Context(), bytes.NewReader(layertest.Tar(t, entries...)))
	if err != nil {
		t.Fatal(err)
	}
	h, err := w.finish(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	l, err := decode(&out, h.Total, true)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func testObject(t *testing.T, name string, b []byte, memory uint64) {
	l := addIn(t, memory, layertest.Entry{Name: "small", Data: []byte("s")}, layertest.Entry{Name: "x", Data: b}, layertest.Entry{Name: "y", Data: layertest.Pattern(50_000, 5)})
	if err := l.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(content(t, l, "x"), b) || !bytes.Equal(content(t, l, "y"), layertest.Pattern(50_000, 5)) {
		t.Fatal("content differs")
	}
	f := find(t, l, "x").File
	layout, ok := f.Loaded()
	o, err := object.Read(bytes.NewReader(b), int64(len(b)))
	if err != nil || o.Type != elf.ET_DYN {
		if ok {
			t.Error("what cannot be loaded has a layout")
		}
		if name == "fixed" && f.Off()%guest.ImageAlign != 0x1ff000 {
			t.Errorf("a program for %#x lies at %#x", 0x600000-0x1000, f.Off())
		}
		return
	}
	if n, err := o.LoadBytes(); err != nil {
		if ok {
			t.Error("what cannot be loaded has a layout")
		}
		return
	} else if !ok || layout.Bytes < n {
		t.Fatalf("a layout of %d bytes, want %d", layout.Bytes, n)
	}
	want, err := o.Load(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if plan, err := o.PlanDirect(bytes.NewReader(b)); err == nil && uint64(len(b)) <= memory && uint64(len(want)) <= 2*memory {
		if want, err = plan.Apply(want); err != nil {
			t.Fatal(err)
		}
	}
	got := make([]byte, layout.Bytes)
	if _, err := l.file.ReadAt(got, int64(layout.Off)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("layout differs")
	}
	for _, s := range o.Segments {
		if s.Flags&elf.PF_W != 0 && pageFloor(s.Vaddr)-o.First() < layout.Head {
			t.Errorf("data at %#x is content too, up to %#x", s.Vaddr, layout.Head)
		}
	}
	if data := o.DataOffset(); data >= apartBytes && (layout.Off+data)%guest.ImageAlign != 0 {
		t.Errorf("data of a large library begins at %#x", layout.Off+data)
	}
	t.Logf("%d bytes, %d loaded, %d of both", len(b), layout.Bytes, layout.Head)
	if slices.Contains([]string{"made", "large", "no bss", "bss"}, name) && layout.Head != pageCeil(o.Segments[1].FileEnd()) {
		t.Errorf("%d bytes are content and layout, want all pages before the data, %d", layout.Head, pageCeil(o.Segments[1].FileEnd()))
	}
}

// BenchmarkAdd: bytes of the tar stream a second.
func BenchmarkAdd(b *testing.B) {
	stream := layertest.Tar(b, layertest.Entry{Name: "a", Data: layertest.Pattern(64<<20, 1)})
	b.SetBytes(int64(len(stream)))
	for b.Loop() {
		if _, err := (Store{Dir: b.TempDir()}).Add(b.Context(), io.Reader(bytes.NewReader(stream)), AddOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
