package images

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"seuss/guest"
	"seuss/images/internal/elftest"
	"seuss/images/internal/object"
)

// TestSizes holds format.go to guest/abi/image.h.
func TestSizes(t *testing.T) {
	for name, c := range map[string][2]int{
		"header": {binary.Size(Header{}), guest.ImageHeaderSize}, "inode": {binary.Size(Inode{}), guest.ImageInodeSize}, "flat inode": {binary.Size(flatInode{}), flatInodeBytes},
		"dirent": {binary.Size(dirent{}), guest.ImageDirentSize}, "extent": {binary.Size(Extent{}), guest.ImageExtentSize},
	} {
		if c[0] != c[1] {
			t.Errorf("%s has %d bytes, want %d", name, c[0], c[1])
		}
	}
}

// goodImage returns the bytes of a valid image and what it decodes to.
func goodImage(t testing.TB) ([]byte, *Image) {
	t.Helper()
	spec := smallSpec(t)
	lib := elftest.Make(3, 0, elftest.Segment{Off: 0x1000, Data: pattern(0x1100, 1), Memsz: 0x2000})
	prog := elftest.Make(2, 0x400000, elftest.Segment{Vaddr: 0x400000, Off: 0x1000, Data: pattern(0x1100, 1), Memsz: 0x2000})
	spec.Files = append(spec.Files, File{GuestPath: "/lib.so", Data: lib}, File{GuestPath: "/prog", Data: prog})
	spec.Program = "/prog"
	path, _ := build(t, spec)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	img, err := decodeImage(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return b, img
}

// openBytes writes bytes to a file and opens it.
func openBytes(t *testing.T, b []byte, opts ...OpenOption) error {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.img")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	img, err := Open(path, opts...)
	if err == nil {
		err = img.Close()
	}
	return err
}

func TestOpenHeader(t *testing.T) {
	good, _ := goodImage(t)
	if err := openBytes(t, good); err != nil {
		t.Fatal(err)
	}
	set := func(off int, v byte) []byte {
		b := bytes.Clone(good)
		b[off] ^= v
		return b
	}
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"other file":          {[]byte(strings.Repeat("hello world\n", 500)), ErrMagic},
		"short other file":    {[]byte("hello, w"), ErrMagic},
		"magic":               {set(0, 1), ErrMagic},
		"version":             {set(8, 2), ErrVersion},
		"abi":                 {set(12, 2), ErrABI},
		"version before abi":  {append(bytes.Clone(good[:8]), bytes.Repeat([]byte{9}, 5000)...), ErrVersion},
		"empty":               {nil, ErrTruncated},
		"head only":           {good[:100], ErrTruncated},
		"page short":          {good[:len(good)-guest.PageSize], ErrTruncated},
		"byte short":          {good[:len(good)-1], ErrTruncated},
		"more":                {append(bytes.Clone(good), 0), ErrCorrupt},
		"length no page":      {set(16, 1), ErrCorrupt},
		"digest":              {set(guest.ImageHeaderDigest, 1), ErrCorrupt},
		"last byte":           {set(len(good)-1, 1), ErrCorrupt},
		"reserved":            {set(140, 1), ErrCorrupt},
		"header page padding": {set(4000, 1), ErrCorrupt},
	} {
		if err := openBytes(t, c.b); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if err := openBytes(t, set(4000, 1), SkipDigest()); err != nil {
		t.Errorf("padding without digest check: %v", err)
	}
}

func TestOpenNoFile(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if _, err := Open(t.TempDir()); !errors.Is(err, ErrMagic) {
		t.Errorf("directory: %v", err)
	}
}

func TestTruncation(t *testing.T) {
	good, _ := goodImage(t)
	for n := 0; n < len(good); n += 611 {
		if img, err := decodeImage(bytes.NewReader(good[:n]), int64(n)); !errors.Is(err, ErrTruncated) {
			t.Fatalf("%d of %d bytes: %+v, %v", n, len(good), img, err)
		}
	}
}

// TestBitFlips: one flipped bit anywhere is noticed.
func TestBitFlips(t *testing.T) {
	good, img := goodImage(t)
	tables := int(img.header.ExtentsOff + img.header.ExtentCount*guest.ImageExtentSize)
	for at := 0; at < len(good); at++ {
		if padding := at >= guest.ImageHeaderSize && at < guest.PageSize; padding || at >= tables {
			at += 1020 // every byte of header and tables, some of the rest
		}
		if at >= len(good) {
			break
		}
		b := bytes.Clone(good)
		b[at] ^= 1 << (at % 8)
		r := bytes.NewReader(b)
		img, err := decodeImage(r, int64(len(b)))
		if err == nil {
			err = verifyDigest(r, &img.header)
		}
		if err == nil {
			t.Fatalf("bit flipped at %d was not noticed", at)
		}
	}
}

// TestTables changes one field of a table at a time, without the digest.
func TestTables(t *testing.T) {
	good, img := goodImage(t)
	num := func(path string) uint32 {
		e, err := img.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		return e.Number
	}
	root, bin, file, link := num("/"), num("/bin"), num("/usr/share/big"), num("/bin/y")
	lib := num("/lib.so")
	for name, change := range map[string]func(m *Image){
		"root is a file":      func(m *Image) { m.inodes[root].Mode = modeRegular },
		"no inode":            func(m *Image) { m.header.InodeCount = 0 },
		"many inodes":         func(m *Image) { m.header.InodeCount = 1 << 60 },
		"inodes outside":      func(m *Image) { m.header.InodesOff = m.header.TotalBytes },
		"inodes in header":    func(m *Image) { m.header.InodesOff = 0 },
		"names unaligned":     func(m *Image) { m.header.NamesOff++ },
		"own bytes":           func(m *Image) { m.header.OwnBytes += guest.PageSize },
		"many layers":         func(m *Image) { m.header.LayerCount = 1 << 40 },
		"no extent":           func(m *Image) { m.header.ExtentCount = 0 },
		"config outside":      func(m *Image) { m.header.ConfigOff = 1<<64 - 16 },
		"config cut":          func(m *Image) { m.header.ConfigBytes-- },
		"kernel end":          func(m *Image) { m.header.KernelEnd += guest.ProgramGPA },
		"entry":               func(m *Image) { m.header.Entry = m.header.KernelEnd },
		"program inode":       func(m *Image) { m.header.Program = 1 << 30 },
		"program is dir":      func(m *Image) { m.header.Program = bin },
		"program none":        func(m *Image) { m.header.Program = 0 },
		"dir range":           func(m *Image) { m.inodes[bin].Off = 1 << 40 },
		"dir overflow":        func(m *Image) { m.inodes[bin].Size = 1<<64 - 1 },
		"dir cycle":           func(m *Image) { m.dirents[m.inodes[bin].Off].Inode = root },
		"dir twice":           func(m *Image) { m.dirents[m.inodes[root].Off].Inode = num("/usr/share") },
		"dir nlink":           func(m *Image) { m.inodes[root].Nlink++ },
		"entries lost":        func(m *Image) { m.inodes[bin].Size-- },
		"entries shared":      func(m *Image) { m.inodes[bin].Off++ },
		"entry inode":         func(m *Image) { m.dirents[0].Inode = 1 << 31 },
		"entry order":         func(m *Image) { m.dirents[0], m.dirents[1] = m.dirents[1], m.dirents[0] },
		"entry name outside":  func(m *Image) { m.dirents[0].NameOff = 1<<64 - 1 },
		"entry name long":     func(m *Image) { m.dirents[0].NameLen = 300 },
		"entry name empty":    func(m *Image) { m.dirents[0].NameLen = 0 },
		"entry name slash":    func(m *Image) { m.names[m.dirents[0].NameOff] = '/' },
		"entry name nul":      func(m *Image) { m.names[m.dirents[0].NameOff] = 0 },
		"file kind":           func(m *Image) { m.inodes[file].Mode = 0o060000 },
		"file mode bits":      func(m *Image) { m.inodes[file].Mode |= 1 << 20 },
		"file outside":        func(m *Image) { m.inodes[file].Off = m.header.TotalBytes },
		"file size":           func(m *Image) { m.inodes[file].Size = 1<<64 - 1 },
		"file unaligned":      func(m *Image) { m.inodes[file].Off += smallAlign / 2 },
		"file nlink":          func(m *Image) { m.inodes[file].Nlink = 2 },
		"file time":           func(m *Image) { m.inodes[file].Mtime = 1 << 63 },
		"head unaligned":      func(m *Image) { m.inodes[lib].Head = 1 },
		"head too long":       func(m *Image) { m.inodes[lib].Head = m.inodes[lib].LoadBytes + m.inodes[lib].Size&^(guest.PageSize-1) },
		"head of a link":      func(m *Image) { m.inodes[link].Head = guest.PageSize },
		"link empty":          func(m *Image) { m.inodes[link].Size = 0 },
		"link long":           func(m *Image) { m.inodes[link].Size = 5000 },
		"link has layout":     func(m *Image) { m.inodes[link].LoadOff, m.inodes[link].LoadBytes = guest.PageSize, guest.PageSize },
		"layout outside":      func(m *Image) { m.inodes[lib].LoadBytes = m.header.TotalBytes },
		"layout unaligned":    func(m *Image) { m.inodes[lib].LoadOff++ },
		"layout empty":        func(m *Image) { m.inodes[lib].LoadBytes = 0 },
		"layout at 0":         func(m *Image) { m.inodes[lib].LoadOff = 0 },
		"extent unaligned":    func(m *Image) { m.extents[0].GPA++ },
		"extent empty":        func(m *Image) { m.extents[0].Bytes = 0 },
		"extent outside file": func(m *Image) { m.extents[0].Off = m.header.TotalBytes },
		"extent low":          func(m *Image) { m.extents[0].GPA = guest.PageSize },
		"extent over kernel":  func(m *Image) { m.extents[0].GPA = m.header.KernelEnd },
		"extent high":         func(m *Image) { m.extents[len(m.extents)-1].GPA = maxGPA },
		"extent wraps":        func(m *Image) { m.extents[len(m.extents)-1].GPA = 1<<64 - guest.PageSize },
		"extent above memory": func(m *Image) { m.extents[len(m.extents)-1].GPA = DefaultMemoryBytes },
		"extent order":        func(m *Image) { m.extents[0], m.extents[1] = m.extents[1], m.extents[0] },
		"extent overlap":      func(m *Image) { m.extents[1].GPA = m.extents[0].GPA },
	} {
		b := bytes.Clone(good)
		m, err := decodeImage(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		h := m.header
		change(m)
		for _, part := range []struct {
			off uint64
			v   any
		}{{0, m.header}, {h.InodesOff, m.inodes}, {h.DirentsOff, m.dirents}, {h.NamesOff, m.names}, {h.ExtentsOff, m.extents}} {
			enc, err := encode(nil, part.v)
			if err != nil {
				t.Fatal(err)
			}
			copy(b[part.off:], enc)
		}
		if err := openBytes(t, b, SkipDigest()); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v, want ErrCorrupt", name, err)
		}
	}
}

// FuzzDecode: no bytes make the decoder, or the use of what it accepts, fail
// other than by an error. The two inputs replace the header behind the fields
// that identify it, and the tables; a fuzzer that had to keep magic and length
// intact would rarely get past them. The first seed leaves a good image.
func FuzzDecode(f *testing.F) {
	path, _ := build(f, Spec{Name: "f", Files: []File{
		{GuestPath: "/d/e", Data: []byte("x")}, {GuestPath: "/d/l", Symlink: "e"}, {GuestPath: "/b", Data: pattern(5000, 1)},
	}})
	good, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	var h Header
	if err := readHeader(bytes.NewReader(good), int64(len(good)), &h); err != nil {
		f.Fatal(err)
	}
	const identity = guest.ImageHeaderDigest + 32
	tables := good[h.ConfigOff : h.ExtentsOff+h.ExtentCount*guest.ImageExtentSize]
	f.Add(good[identity:guest.ImageHeaderSize], tables)
	f.Add(good[identity:guest.ImageHeaderSize], tables[:len(tables)/2])
	f.Fuzz(func(t *testing.T, head, tables []byte) {
		b := bytes.Clone(good)
		copy(b[identity:guest.ImageHeaderSize], head)
		copy(b[guest.PageSize:], tables)
		m, err := decodeImage(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("error is not ErrCorrupt: %v", err)
			}
			return
		}
		met := 0
		err = m.Walk(func(e Entry) error {
			met++
			if got, err := m.Lstat(e.Path); err != nil || got.Number != e.Number {
				t.Errorf("Lstat(%q) = %+v, %v, want inode %d", e.Path, got, err, e.Number)
			}
			if _, err := m.Lookup(e.Path); err != nil && !errors.Is(err, ErrNotFound) {
				t.Errorf("Lookup(%q): %v", e.Path, err)
			}
			if e.Inode.IsRegular() && e.Inode.Size < 1<<20 {
				r, err := m.Content(e)
				if err == nil {
					err = object.ReadFull(r, make([]byte, e.Inode.Size), 0)
				}
				if err != nil {
					t.Errorf("content of %q: %v", e.Path, err)
				}
			}
			return nil
		})
		if err != nil || met < len(m.dirents) {
			t.Errorf("walked %d of %d entries: %v", met, len(m.dirents), err)
		}
	})
}

// FuzzHeader: any file at all is refused by a named error or accepted.
func FuzzHeader(f *testing.F) {
	good, _ := goodImage(f)
	f.Add(good[:guest.PageSize])
	f.Add(good[:guest.ImageHeaderSize])
	f.Add([]byte("hello"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, err := decodeImage(bytes.NewReader(b), int64(len(b)))
		if err == nil {
			return
		}
		for _, e := range []error{ErrMagic, ErrVersion, ErrABI, ErrTruncated, ErrCorrupt} {
			if errors.Is(err, e) {
				return
			}
		}
		t.Fatalf("error without a kind: %v", err)
	})
}
