package images

import (
	"bytes"
	"debug/elf"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"seuss/guest"
	"seuss/images/internal/elftest"
	"seuss/images/internal/object"
)

// mmapLayout is the oracle for loaded layouts: the pages as this host's kernel
// shows them, one mapping a segment, and zero behind p_filesz.
func mmapLayout(t *testing.T, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	e, err := elf.NewFile(f)
	if err != nil {
		t.Fatal(err)
	}
	var mem []byte
	var first uint64
	for _, p := range e.Progs {
		if p.Type != elf.PT_LOAD {
			continue
		}
		start := p.Vaddr &^ 4095
		if mem == nil {
			first = start
		}
		end := (p.Vaddr + p.Memsz + 4095) &^ 4095
		mem = append(mem, make([]byte, end-first-uint64(len(mem)))...)
		fileEnd := (p.Vaddr + p.Filesz + 4095) &^ 4095
		m, err := syscall.Mmap(int(f.Fd()), int64(p.Off&^4095), int(fileEnd-start), syscall.PROT_READ, syscall.MAP_PRIVATE)
		if err != nil {
			t.Fatal(err)
		}
		copy(mem[start-first:], m)
		if p.Memsz > p.Filesz {
			clear(mem[p.Vaddr+p.Filesz-first:])
		}
		if err := syscall.Munmap(m); err != nil {
			t.Fatal(err)
		}
	}
	return mem
}

func TestLoadedLayout(t *testing.T) {
	paths := []string{compile(t, `
		static char big[100000]; int data[3000] = {1};
		int main(void) { return big[5] + data[1]; }`, "-pie", "-fPIE")}
	for _, p := range []string{
		"/bin/true", "/lib/x86_64-linux-gnu/libc.so.6", "/lib/x86_64-linux-gnu/libm.so.6",
		"/lib64/ld-linux-x86-64.so.2", "/usr/lib/x86_64-linux-gnu/libcrypto.so.3",
	} {
		if _, err := os.Stat(p); err == nil {
			paths = append(paths, p)
		}
	}
	spec := Spec{Name: "load", NoDirectCalls: true}
	for _, p := range paths {
		spec.Files = append(spec.Files, File{GuestPath: "/" + filepath.Base(p), HostPath: p})
	}
	path, info := build(t, spec)
	img := reopen(t, path)
	var total int64
	for _, p := range paths {
		e, err := img.Lookup("/" + filepath.Base(p))
		if err != nil {
			t.Fatal(err)
		}
		r, err := img.Loaded(e)
		if err != nil {
			t.Error(err)
			continue
		}
		got, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		total += r.Size()
		if want := mmapLayout(t, p); !bytes.Equal(got, want) {
			t.Errorf("%s: loaded layout of %d bytes differs from the mapping of %d", p, len(got), len(want))
		}
	}
	if info.LoadBytes != total || len(info.NotLoadable) != 0 {
		t.Errorf("info says %d loaded bytes, not %d; not loadable: %v", info.LoadBytes, total, info.NotLoadable)
	}
}

// TestLoadSharedPage has two segments in one page and a file that ends inside
// a page: the later segment's view of the page wins, as with MAP_FIXED.
func TestLoadSharedPage(t *testing.T) {
	image := elftest.Make(elf.ET_DYN, 0,
		elftest.Segment{Vaddr: 0x3000, Off: 0x1000, Data: pattern(0x100, 1), Flags: elf.PF_R},
		elftest.Segment{Vaddr: 0x3800, Off: 0x2800, Data: pattern(0x900, 2), Memsz: 0x2000, Flags: elf.PF_R | elf.PF_W})
	o, err := object.Read(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := o.Load(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 0x3000)
	copy(want, image[0x2000:0x3100])
	if !bytes.Equal(got, want) {
		t.Error("layout differs")
	}
}

func TestProgramExtents(t *testing.T) {
	rw, rx := elf.PF_R|elf.PF_W, elf.PF_R|elf.PF_X
	compiled := func(source string, flags ...string) func(*testing.T) []byte {
		return func(t *testing.T) []byte {
			b, err := os.ReadFile(compile(t, source, flags...))
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
	}
	made := func(segs ...elftest.Segment) func(*testing.T) []byte {
		return func(*testing.T) []byte { return elftest.Make(elf.ET_EXEC, segs[0].Vaddr, segs...) }
	}
	const source = `int data[3000] = {7}; char bss[50000]; void _start(void) { data[0] = bss[3]; for (;;); }`
	for _, c := range []struct {
		name   string
		image  func(*testing.T) []byte
		shares bool
	}{
		{"compiled", compiled(source, "-static", "-no-pie", "-nostdlib", "-ffreestanding"), true},
		{"compiled packed", compiled(source, "-static", "-no-pie", "-nostdlib", "-ffreestanding", "-Wl,-z,noseparate-code"), true},
		{"below a page", made(elftest.Segment{Vaddr: 0x400000, Off: 0x100, Data: pattern(0x200, 1), Flags: rx}), false},
		{"not congruent", made(
			elftest.Segment{Vaddr: 0x400000, Off: 0x1010, Data: pattern(0x2001, 1), Flags: rx},
			elftest.Segment{Vaddr: 0x500000, Off: 0x4000, Data: pattern(0x10, 2), Memsz: 0x9000, Flags: rw}), false},
		{"shared page", made(
			elftest.Segment{Vaddr: 0x400000, Off: 0x1000, Data: pattern(0x1800, 1), Flags: rx},
			elftest.Segment{Vaddr: 0x401800, Off: 0x2800, Data: pattern(0x1900, 2), Memsz: 0x4000, Flags: rw}), false},
		{"neighbours in one file page", made(
			elftest.Segment{Vaddr: 0x400000, Off: 0x1000, Data: pattern(0x1800, 1), Flags: rx},
			elftest.Segment{Vaddr: 0x402800, Off: 0x2800, Data: pattern(0x1900, 2), Memsz: 0x4000, Flags: rw}), true},
		{"bss only", made(
			elftest.Segment{Vaddr: 0x400000, Off: 0x1000, Data: pattern(0x1000, 1), Flags: rx},
			elftest.Segment{Vaddr: 0x402000, Off: 0x2000, Memsz: 0x4000, Flags: rw}), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			checkProgramImage(t, c.image(t), c.shares)
		})
	}
	t.Run("python", func(t *testing.T) {
		p, err := filepath.EvalSymlinks("/usr/bin/python3")
		if err != nil {
			t.Skip("python3 is not installed")
		}
		image, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		if elf.Type(image[16]) != elf.ET_EXEC {
			t.Skip("this host's python3 is position independent")
		}
		checkProgramImage(t, image, true)
	})
}

// checkProgramImage builds an image of a program and compares guest memory.
func checkProgramImage(t *testing.T, image []byte, shares bool) {
	t.Helper()
	const hi = 64 << 20
	path, _ := build(t, Spec{
		Name: "prog", Program: "/link", MemoryBytes: hi,
		Files: []File{
			{GuestPath: "/bin/prog", Data: image, Mode: 0o755}, {GuestPath: "/link", Symlink: "bin/prog"},
			{GuestPath: "/lib64/ld-linux-x86-64.so.2"},
		},
	})
	img := reopen(t, path)
	e, err := img.Lookup("/bin/prog")
	if err != nil {
		t.Fatal(err)
	}
	if img.Header().Program != e.Number || e.Inode.LoadOff != 0 {
		t.Errorf("program is inode %d, want %d; loaded layout at %#x", img.Header().Program, e.Number, e.Inode.LoadOff)
	}
	if got := read(t, img, "/bin/prog"); !bytes.Equal(got, image) {
		t.Error("the file's content differs")
	}
	checkSegments(t, img, image, hi)
	shared := false
	for _, x := range img.Extents() {
		shared = shared || x.Off >= e.Inode.Off && x.Off < e.Inode.Off+e.Inode.Size
	}
	if shared != shares {
		t.Errorf("shares the file's pages: %v, want %v; extents %+v", shared, shares, img.Extents())
	}
}

// TestWritableTailIsZero: what follows a writable segment in the file must not
// show, even where the segment has no bss.
func TestWritableTailIsZero(t *testing.T) {
	image := elftest.Make(elf.ET_EXEC, 0x400000,
		elftest.Segment{Vaddr: 0x400000, Off: 0x1000, Data: pattern(0x100, 1), Flags: elf.PF_R | elf.PF_W})
	image = append(image, pattern(0x3000, 2)...)
	path, _ := build(t, Spec{Name: "p", Program: "/p", Files: []File{{GuestPath: "/p", Data: image}}})
	ram := guestRAM(t, reopen(t, path), 0x400000, 0x401000)
	if !bytes.Equal(ram[0x100:], make([]byte, 0xf00)) {
		t.Error("the page behind the segment is not zero")
	}
}

func TestPositionIndependentProgram(t *testing.T) {
	image := elftest.Make(elf.ET_DYN, 0x10, elftest.Segment{Off: 0x1000, Data: pattern(0x100, 1), Flags: elf.PF_R | elf.PF_X})
	path, _ := build(t, Spec{Name: "p", Program: "/p", Files: []File{{GuestPath: "/p", Data: image}}})
	img := reopen(t, path)
	e, err := img.Lookup("/p")
	if err != nil {
		t.Fatal(err)
	}
	if img.Header().Program != 0 || e.Inode.LoadBytes != guest.PageSize || img.Config().Program != "/p" {
		t.Errorf("program %d, %d loaded bytes", img.Header().Program, e.Inode.LoadBytes)
	}
}

func TestDamagedELFIsData(t *testing.T) {
	good := elftest.Make(elf.ET_DYN, 0, elftest.Segment{Off: 0x1000, Data: pattern(0x3000, 1)})
	huge := elftest.Make(elf.ET_DYN, 0, elftest.Segment{Off: 0x1000, Data: pattern(0x10, 1), Memsz: object.MaxLoadBytes + 1})
	path, info := build(t, Spec{Name: "d", Files: []File{
		{GuestPath: "/cut", Data: good[:0x2000]}, {GuestPath: "/huge", Data: huge},
		{GuestPath: "/short", Data: good[:30]}, {GuestPath: "/good", Data: good},
	}})
	img := reopen(t, path)
	if got := read(t, img, "/cut"); !bytes.Equal(got, good[:0x2000]) {
		t.Error("content of a damaged ELF differs")
	}
	if len(info.NotLoadable) != 3 {
		t.Errorf("not loadable: %v, want 3", info.NotLoadable)
	}
}

func TestReadObjectRefuses(t *testing.T) {
	seg := func(s elftest.Segment) []byte { return elftest.Make(elf.ET_DYN, 0, s) }
	other := seg(elftest.Segment{Off: 0x1000, Data: []byte{1}})
	other[18] = byte(elf.EM_AARCH64)
	for name, b := range map[string][]byte{"empty": nil, "text": []byte("#!/bin/sh\n# a script\n"), "machine": other} {
		if _, err := object.Read(bytes.NewReader(b), int64(len(b))); !errors.Is(err, object.ErrNotELF) {
			t.Errorf("%s: %v, want object.ErrNotELF", name, err)
		}
	}
	for name, b := range map[string][]byte{
		"no segment": elftest.Make(elf.ET_DYN, 0),
		"address":    seg(elftest.Segment{Vaddr: 1 << 63, Off: 0x1000, Data: []byte{1}}),
		"memsz":      seg(elftest.Segment{Off: 0x1000, Data: []byte{1}, Memsz: 1 << 62}),
		"overlap":    elftest.Make(elf.ET_DYN, 0, elftest.Segment{Off: 0x1000, Data: pattern(9, 1)}, elftest.Segment{Vaddr: 8, Off: 0x1008, Data: pattern(9, 1)}),
	} {
		if o, err := object.Read(bytes.NewReader(b), int64(len(b))); err == nil || errors.Is(err, object.ErrNotELF) {
			t.Errorf("%s: %+v, %v, want an error", name, o, err)
		}
	}
}

// FuzzObject: no bytes make the ELF decoder or the layouts fail other than by
// an error.
func FuzzObject(f *testing.F) {
	f.Add(testKernel())
	f.Add(elftest.Make(elf.ET_DYN, 0, elftest.Segment{Off: 0x200, Vaddr: 0x200, Data: pattern(0x300, 1), Memsz: 0x900, Flags: elf.PF_W}))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		o, err := object.Read(r, int64(len(b)))
		if err != nil {
			return
		}
		if n, err := o.LoadBytes(); err == nil && n < 16<<20 {
			mem, err := o.Load(r)
			if err != nil || uint64(len(mem)) != n {
				t.Fatalf("layout of %d bytes, planned %d: %v", len(mem), n, err)
			}
			if p, err := o.PlanDirect(r); err == nil {
				if _, err := p.Apply(mem); err != nil {
					t.Fatal(err)
				}
			}
		}
		var end uint64
		for _, p := range placeProgram(o) {
			if p.gpa < end || p.gpa%guest.PageSize != 0 || p.bytes%guest.PageSize != 0 || p.bytes == 0 {
				t.Fatalf("placement %+v after %#x", p, end)
			}
			end = p.gpa + p.bytes
			if p.shared {
				if p.fileOff%guest.PageSize != 0 || p.fileOff+p.bytes > pageCeil(uint64(len(b))) {
					t.Fatalf("placement %+v in a file of %d bytes", p, len(b))
				}
			} else if _, err := p.fill(r); err != nil {
				t.Fatal(err)
			}
		}
	})
}
