package images

import (
	"bytes"
	"debug/elf"
	"errors"
	"io"
	"os"
	"testing"

	"seuss/guest"
	"seuss/images/internal/elftest"
	"seuss/images/internal/layertest"
	"seuss/images/layer"
)

// partsImage is an image whose memory leaves less room than its files need: a program with
// fixed addresses and a shared object of one layer, around a large file, and small files.
func partsImage(t *testing.T, memory uint64) (string, error) {
	t.Helper()
	s := Store{Dir: t.TempDir()}
	program := elftest.Make(elf.ET_EXEC, 0x400100, elftest.Segment{Vaddr: 0x400000, Off: 0x1000, Data: pattern(2*guest.ImageAlign, 1), Flags: elf.PF_R | elf.PF_X})
	library := elftest.Make(elf.ET_DYN, 0, elftest.Segment{Vaddr: 0x1000, Off: 0x1000, Data: pattern(0x3000, 3), Flags: elf.PF_R | elf.PF_X})
	var open []*layer.Layer
	for _, e := range []entries{
		{file("a/small", "small"), {Name: "big", Data: pattern(24<<20, 7)}, {Name: "bin/p", Data: program, Mode: 0o755}, {Name: "lib/l.so", Data: library}},
		{{Name: "other", Data: pattern(14<<20, 8)}, file("z/small", "upper")},
	} {
		h, err := s.Layers().Add(t.Context(), bytes.NewReader(layertest.Tar(t, e...)), layer.AddOptions{})
		if err != nil {
			t.Fatal(err)
		}
		l, err := s.Layers().Open(h.Digest)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		open = append(open, l)
	}
	info, err := s.Add(t.Context(), Spec{Name: "parts", Kernel: testKernel(), Program: "/bin/p", MemoryBytes: memory, Layers: open}, AddOptions{})
	if err != nil {
		return "", err
	}
	return s.Path(info.Digest), nil
}

// TestParts: of an image that is too large the program and what is loaded is mapped first,
// then small files; what is not mapped is read, and damage to it is found.
func TestParts(t *testing.T) {
	const memory = guest.MaxGiB<<30 - 32<<20
	path, err := partsImage(t, memory)
	if err != nil {
		t.Fatal(err)
	}
	img := reopen(t, path)
	h := img.Header()
	if h.Version != guest.ImagePartsVersion || img.MappedBytes() > 32<<20 || h.TotalBytes < 38<<20 || len(img.Shown()) < 3 {
		t.Fatalf("version %d, %d of %d bytes are mapped, in %+v", h.Version, img.MappedBytes(), h.TotalBytes, img.Shown())
	}
	u, err := img.Unmapped()
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	for name, want := range map[string]bool{"/a/small": true, "/z/small": true, "/bin/p": true, "/lib/l.so": true, "/other": true, "/big": false} {
		e, err := img.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		_, mapped := img.Place(e.Inode.place(), e.Inode.Size)
		if e.Inode.LoadOff != 0 {
			_, mapped = img.Place(e.Inode.LoadOff, e.Inode.LoadBytes)
		}
		if mapped != want {
			t.Errorf("%s is mapped: %v", name, mapped)
		}
	}
	if !bytes.Equal(read(t, img, "/big"), pattern(24<<20, 7)) || !bytes.Equal(read(t, img, "/other"), pattern(14<<20, 8)) || string(read(t, img, "/z/small")) != "upper" {
		t.Error("content differs")
	}
	checkSegments(t, img, read(t, img, "/bin/p"), memory)
	checkMapped(t, img, memory)
	e, err := img.Lookup("/big")
	if err != nil {
		t.Fatal(err)
	}
	page := make([]byte, 2*guest.PageSize)
	if n, err := u.ReadAt(page, int64(e.Inode.Off+10<<20)); err != nil || n != len(page) || !bytes.Equal(page, pattern(24<<20, 7)[10<<20:][:len(page)]) {
		t.Errorf("read %d bytes: %v", n, err)
	}
	if n, err := u.ReadAt(page, int64(h.TotalBytes+guest.PageSize)); n != 0 || err != io.EOF {
		t.Errorf("behind the end: %d bytes, %v", n, err)
	}
	if _, err := u.ReadAt(page, 5); err == nil {
		t.Error("a part of a page is read")
	}
	flip(t, layersBeside(path).Path(img.Layers()[0].Digest), int64(e.Inode.Off-img.Layers()[0].Off)+guest.PageSize+10<<20)
	if _, err := u.ReadAt(page, int64(e.Inode.Off+10<<20)); !errors.Is(err, layer.ErrCorrupt) {
		t.Errorf("a page with a flipped bit: %v", err)
	}
}

// checkMapped compares what guests map of an image with what it holds there.
func checkMapped(t *testing.T, img *Image, ram uint64) {
	t.Helper()
	got, want := make([]byte, guest.PageSize), make([]byte, guest.PageSize)
	end := ram
	for _, m := range img.Mappings(ram) {
		if m.GPA < ram {
			continue
		}
		if m.GPA < end {
			t.Errorf("%+v lies before %#x", m, end)
		}
		end = m.GPA + m.Bytes
		for _, s := range img.Shown() {
			if at := ram + s.At; m.GPA < at || m.GPA-at >= s.Bytes {
				continue
			} else if _, err := img.ReadAt(want, int64(s.Off+m.GPA-at)); err != nil {
				t.Fatal(err)
			}
			if _, err := m.File.ReadAt(got, m.FileOff); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%+v shows another page: %v", m, err)
			}
		}
	}
	if end != ram+img.MappedBytes() {
		t.Errorf("mapped up to %#x, want %#x", end, ram+img.MappedBytes())
	}
}

func flip(t *testing.T, path string, at int64) {
	t.Helper()
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 4
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}

// TestFarApart: of more files than there may be parts, none near another, some are mapped: first
// those that are loaded.
func TestFarApart(t *testing.T) {
	var far []unit
	for i := range uint64(2 * maxShown) {
		at := (2*i + 1) * 2 * guest.ImageAlign
		far = append(far, unit{off: at, end: at + guest.PageSize, rank: 2 - int(i%2)})
	}
	shown := fewest(func(uint64) []unit { return far }, guest.PageSize, maxPartsGPA)
	if len(shown) != maxShown {
		t.Fatalf("%d parts", len(shown))
	}
	for _, s := range shown[1:] {
		if at := s.Off / (2 * guest.ImageAlign); at%4 != 3 {
			t.Errorf("%+v is mapped before what is loaded", s)
		}
	}
}

// TestPartsFit: what is chosen ends where there is room for it, however files lie.
func TestPartsFit(t *testing.T) {
	var across []unit // each over the edge of two stretches
	for i := range uint64(400) {
		at := (4*i + 4) * guest.ImageAlign
		across = append(across, unit{off: at - guest.PageSize, end: at + guest.PageSize, rank: 2})
	}
	const room = maxGPA / 8
	shown := choose(across, guest.PageSize, room, len(across))
	if last := shown[len(shown)-1]; last.At+last.Bytes > room || len(shown) < 200 {
		t.Errorf("%d parts end at %#x, behind %#x", len(shown), last.At+last.Bytes, room)
	}
}

// TestPartsRefused: without room for the program, or the image's own file, the error says so.
func TestPartsRefused(t *testing.T) {
	if _, err := partsImage(t, guest.MaxGiB<<30-4<<20); err == nil {
		t.Error("a program that does not fit is accepted")
	}
	if _, err := partsImage(t, guest.MaxGiB<<30); err == nil {
		t.Error("an image that does not fit is accepted")
	}
}

// TestPartsDamage: one flipped bit anywhere in the image's own file is found.
func TestPartsDamage(t *testing.T) {
	path, err := partsImage(t, guest.MaxGiB<<30-32<<20)
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := int64(0); at < st.Size(); at += 997 {
		flip(t, path, at)
		if img, err := Open(path); err == nil {
			img.Close()
			t.Errorf("a flipped bit at %#x is not found", at)
		}
		flip(t, path, at)
	}
}
