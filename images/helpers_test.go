package images

import (
	"bytes"
	"context"
	"debug/elf"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"seuss/guest"
	"seuss/images/internal/elftest"
)

// pattern returns n bytes that differ by place and by seed, none zero.
func pattern(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7+i>>8)%255 + 1 ^ seed<<7
		if b[i] == 0 {
			b[i] = seed | 1
		}
	}
	return b
}

// testKernel is a stand-in for the kernel library: text, and data with bss
// that begins in the page where the text ends.
func testKernel() []byte {
	return elftest.Make(elf.ET_EXEC, guest.KernelGPA+0x10,
		elftest.Segment{Vaddr: guest.KernelGPA, Off: 0x1000, Data: pattern(0x1800, 1), Flags: elf.PF_R | elf.PF_X},
		elftest.Segment{Vaddr: guest.KernelGPA + 0x1800, Off: 0x2800, Data: pattern(0x100, 2), Memsz: 0x5000, Flags: elf.PF_R | elf.PF_W})
}

// build builds a Spec, with the test kernel unless it has one.
func build(t testing.TB, spec Spec) (string, Info) {
	t.Helper()
	if spec.Kernel == nil {
		spec.Kernel = testKernel()
	}
	dir := t.TempDir()
	if len(spec.Layers) > 0 { // the image finds them beside itself
		dir = filepath.Dir(filepath.Dir(spec.Layers[0].Path()))
	}
	path := filepath.Join(dir, "test.img")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := Build(context.Background(), f, spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	return path, info
}

// reopen opens an image with its digest verified.
func reopen(t testing.TB, path string) *Image {
	t.Helper()
	img, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { img.Close() })
	return img
}

// read returns the content of a path in an image.
func read(t testing.TB, img *Image, path string) []byte {
	t.Helper()
	e, err := img.Lookup(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := img.Content(e)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// guestRAM returns what [lo, hi) of guest memory holds once the extents are
// placed in zeroed RAM.
func guestRAM(t testing.TB, img *Image, lo, hi uint64) []byte {
	t.Helper()
	ram := make([]byte, hi-lo)
	for _, e := range img.Extents() {
		if e.GPA+e.Bytes <= lo || e.GPA >= hi {
			continue
		}
		if e.GPA < lo || e.GPA+e.Bytes > hi {
			t.Fatalf("extent %+v crosses [%#x, %#x)", e, lo, hi)
		}
		if _, err := img.content.ReadAt(ram[e.GPA-lo:e.GPA-lo+e.Bytes], int64(e.Off)); err != nil {
			t.Fatal(err)
		}
	}
	return ram
}

// checkSegments compares guest RAM with the segments as debug/elf reads them.
func checkSegments(t testing.TB, img *Image, image []byte, hi uint64) {
	t.Helper()
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	lo, checked := uint64(0), 0
	for _, p := range f.Progs {
		if p.Type != elf.PT_LOAD {
			continue
		}
		if checked == 0 {
			lo = pageFloor(p.Vaddr)
		}
		checked++
		ram := guestRAM(t, img, lo, hi)[p.Vaddr-lo:]
		want := make([]byte, p.Memsz)
		if _, err := io.ReadFull(p.Open(), want[:p.Filesz]); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(ram[:p.Memsz], want) {
			t.Errorf("segment at %#x: guest memory differs from the file", p.Vaddr)
		}
	}
	if checked == 0 {
		t.Fatal("no segment was checked")
	}
}

// compile builds a C program, or skips the test where there is no compiler.
func compile(t testing.TB, source string, flags ...string) string {
	t.Helper()
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("gcc is not installed")
	}
	dir := t.TempDir()
	src, out := filepath.Join(dir, "p.c"), filepath.Join(dir, "p")
	if err := os.WriteFile(src, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	if msg, err := exec.Command(gcc, append(flags, "-o", out, src)...).CombinedOutput(); err != nil {
		t.Fatalf("gcc %v: %v\n%s", flags, err, msg)
	}
	return out
}

// smallSpec is a tree with every kind and size class of entry.
func smallSpec(t testing.TB) Spec {
	t.Helper()
	host := filepath.Join(t.TempDir(), "host")
	if err := os.WriteFile(host, pattern(5000, 3), 0o640); err != nil {
		t.Fatal(err)
	}
	return Spec{
		Name: "small", Argv: []string{"/bin/x", "a b"}, Env: []string{"A=1"},
		Labels: map[string]string{"z": "1", "a": "2"}, Driver: "/usr/lib/seuss/d.py",
		Packages: []string{"p=1"},
		Files: []File{
			{GuestPath: "/z", Data: []byte("last")},
			{GuestPath: "/bin/x", Data: pattern(100, 1), Mode: 0o755, Mtime: 77},
			{GuestPath: "/bin/y", Symlink: "x", Mtime: 5},
			{GuestPath: "/bin/abs", Symlink: "/usr/../bin/y"},
			{GuestPath: "/usr/share/empty"},
			{GuestPath: "/usr/share/page", Data: pattern(guest.PageSize, 2)},
			{GuestPath: "/usr/share/big", Data: pattern(3*guest.PageSize+1, 4)},
			{GuestPath: "/usr/share/below", Data: pattern(guest.PageSize-1, 5)},
			{GuestPath: "/usr/share/host", HostPath: host, Mtime: 9},
			{GuestPath: "/loop", Symlink: "/loop"},
			{GuestPath: "/tmp", Mode: fs.ModeDir | fs.ModeSticky | 0o777},
			{GuestPath: "/lib", Symlink: "usr/share"},
		},
	}
}
