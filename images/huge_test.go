package images

import (
	"bytes"
	"debug/elf"
	"testing"

	"seuss/guest"
	"seuss/images/internal/elftest"
)

// TestCongruentProgram: a large program's pages lie in the file as they do in memory,
// as far as 2 MiB are concerned; a small one takes no such room.
func TestCongruentProgram(t *testing.T) {
	for _, c := range []struct {
		bytes     int
		vaddr     uint64
		congruent bool
	}{{5 << 20, 0x400000, true}, {3 << 20, 0x433000, true}, {1 << 20, 0x400000, false}} {
		text := pattern(c.bytes, 3)
		program := elftest.Make(elf.ET_EXEC, c.vaddr,
			elftest.Segment{Vaddr: c.vaddr, Off: 0x1000, Data: text, Flags: elf.PF_R | elf.PF_X},
			elftest.Segment{Vaddr: c.vaddr + 0x1001000 + uint64(c.bytes), Off: 0x1000 + uint64(c.bytes), Data: pattern(0x1800, 4), Flags: elf.PF_R | elf.PF_W})
		path, info := build(t, Spec{Name: "large", Program: "/p", Argv: []string{"/p"}, MemoryBytes: 64 << 20, Files: []File{
			{GuestPath: "/a", Data: pattern(70000, 5)}, {GuestPath: "/p", Data: program, Mode: 0o755}, {GuestPath: "/z", Data: pattern(9000, 6)},
		}})
		img := reopen(t, path)
		var found bool
		for _, e := range img.Extents() {
			if e.GPA != c.vaddr {
				continue
			}
			found = true
			if congruent := (e.GPA-e.Off)%guest.ImageAlign == 0; c.congruent && !congruent {
				t.Errorf("%+v: at %#x in the file", c, e.Off)
			}
			content := make([]byte, len(text))
			if _, err := img.File().ReadAt(content, int64(e.Off)); err != nil || !bytes.Equal(content, text) {
				t.Errorf("%+v: other content, %v", c, err)
			}
		}
		if most := int64(len(program) + guest.ImageAlign + 1<<20); !found || info.Bytes > most || !c.congruent && info.Bytes > most-guest.ImageAlign {
			t.Errorf("%+v: found %v, image of %d bytes", c, found, info.Bytes)
		}
		if !bytes.Equal(read(t, img, "/p"), program) || !bytes.Equal(read(t, img, "/z"), pattern(9000, 6)) {
			t.Errorf("%+v: the files differ", c)
		}
	}
}

// TestDataApart: the data of a library with much text begins a stretch of 2 MiB.
func TestDataApart(t *testing.T) {
	for _, c := range []struct {
		text  int
		apart bool
	}{{1200 << 10, true}, {3 << 20, true}, {600 << 10, false}} {
		end := pageCeil(uint64(c.text))
		library := elftest.Make(elf.ET_DYN, 0, elftest.Segment{Vaddr: 0, Off: 0, Data: nil, Memsz: 0x1000, Flags: elf.PF_R},
			elftest.Segment{Vaddr: 0x1000, Off: 0x1000, Data: pattern(c.text, 1), Flags: elf.PF_R | elf.PF_X},
			elftest.Segment{Vaddr: end + 0x2000, Off: end + 0x2000, Data: pattern(500, 2), Memsz: 0x3000, Flags: elf.PF_R | elf.PF_W})
		path, _ := build(t, Spec{Name: "apart", Files: []File{{GuestPath: "/a", Data: pattern(70000, 5)}, {GuestPath: "/lib.so", Data: library}, {GuestPath: "/z", Data: pattern(9000, 6)}}})
		img := reopen(t, path)
		e, err := img.Lookup("/lib.so")
		if err != nil || e.Inode.LoadOff == 0 {
			t.Fatal(e, err)
		}
		if begins := (e.Inode.LoadOff+end+0x2000)%guest.ImageAlign == 0; begins != c.apart {
			t.Errorf("%+v: loaded at %#x, its data at %#x", c, e.Inode.LoadOff, e.Inode.LoadOff+end+0x2000)
		}
		if !bytes.Equal(read(t, img, "/z"), pattern(9000, 6)) {
			t.Errorf("%+v: another file differs", c)
		}
	}
}

// writes keeps what it is given, and how much at a time.
type writes struct {
	bytes.Buffer
	sizes []int
}

func (w *writes) Write(b []byte) (int, error) {
	w.sizes = append(w.sizes, len(b))
	return w.Buffer.Write(b)
}

// TestStretchWriter: however a file is put together, it is written 2 MiB at a time.
func TestStretchWriter(t *testing.T) {
	var out writes
	s := &stretchWriter{w: &out, buf: make([]byte, 0, guest.ImageAlign)}
	var want []byte
	for i, n := range []int{1, 100000, 5 << 20, 0, guest.ImageAlign, 77, 1 << 20} {
		part := pattern(n, byte(i))
		want = append(want, part...)
		if got, err := s.Write(part); got != n || err != nil {
			t.Fatal(got, err)
		}
	}
	if err := s.flush(); err != nil {
		t.Fatal(err)
	}
	for i, n := range out.sizes {
		if n != guest.ImageAlign && i < len(out.sizes)-1 {
			t.Errorf("write %d of %d bytes", i, n)
		}
	}
	if !bytes.Equal(out.Bytes(), want) {
		t.Error("other content")
	}
}
