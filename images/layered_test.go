package images

import (
	"bytes"
	"debug/elf"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"seuss/guest"
	"seuss/images/internal/elftest"
	"seuss/images/internal/layertest"
	"seuss/images/layer"
)

// layeredStore is a store with an image whose files are layers: a program with fixed
// addresses, a shared object, and small files, in two of them.
func layeredStore(t testing.TB) (Store, Info) {
	t.Helper()
	s := Store{Dir: t.TempDir()}
	text := pattern(3*guest.ImageAlign, 1)
	program := elftest.Make(elf.ET_EXEC, 0x400100, elftest.Segment{Vaddr: 0x400000, Off: 0x1000, Data: text, Flags: elf.PF_R | elf.PF_X},
		elftest.Segment{Vaddr: 0x1000000, Off: 0x1000 + uint64(len(text)), Data: pattern(100, 2), Memsz: 0x3000, Flags: elf.PF_R | elf.PF_W})
	library := elftest.Make(elf.ET_DYN, 0, elftest.Segment{Vaddr: 0x1000, Off: 0x1000, Data: pattern(0x3000, 3), Flags: elf.PF_R | elf.PF_X})
	var open []*layer.Layer
	for _, e := range []entries{
		{{Name: "bin/p", Data: program, Mode: 0o755, UID: 5, GID: 6}, file("etc/a", "below"), {Name: "big", Data: pattern(100_000, 7)}},
		{{Name: "lib/l.so", Data: library}, file("etc/a", "above")},
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
	info, err := s.Add(t.Context(), Spec{
		Name: "layered", Kernel: testKernel(), Program: "/bin/p", Layers: open, Files: []File{{GuestPath: "/own", Data: pattern(20_000, 4)}},
	}, AddOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s, info
}

// TestLayered: an image of layers holds what they hold, where their files are mapped, and
// nothing of it in its own file.
func TestLayered(t *testing.T) {
	s, info := layeredStore(t)
	path, err := s.Find("layered")
	if err != nil {
		t.Fatal(err)
	}
	img := reopen(t, path)
	if len(img.Layers()) != 2 || len(img.Parts()) != 3 || info.OwnBytes > 100_000 {
		t.Errorf("%d layers, %d parts, %d bytes of its own", len(img.Layers()), len(img.Parts()), info.OwnBytes)
	}
	if got := string(read(t, img, "/etc/a")); got != "above" {
		t.Errorf("/etc/a holds %q", got)
	}
	if !bytes.Equal(read(t, img, "/big"), pattern(100_000, 7)) || !bytes.Equal(read(t, img, "/own"), pattern(20_000, 4)) {
		t.Error("content differs")
	}
	if e, err := img.Lookup("/bin/p"); err != nil || e.Inode.UID != 5 || e.Inode.GID != 6 {
		t.Errorf("%+v, %v", e, err)
	}
	checkSegments(t, img, read(t, img, "/bin/p"), 0x2000000)
	for _, e := range img.Extents() {
		if e.GPA == 0x400000 && (e.Off < img.Header().OwnBytes || e.Off%guest.ImageAlign != e.GPA%guest.ImageAlign) {
			t.Errorf("the program's text is %+v, want that of the layer, for huge pages", e)
		}
	}
	// What the parts show is what the image is.
	for _, p := range img.Parts() {
		a, b := make([]byte, p.Bytes), make([]byte, p.Bytes)
		if _, err := img.ReadAt(a, int64(p.Off)); err != nil {
			t.Fatal(err)
		}
		if _, err := p.File.ReadAt(b, p.FileOff); err != nil || !bytes.Equal(a, b) {
			t.Errorf("part at %#x: %v", p.Off, err)
		}
	}
}

// TestLayeredDamage: a layer that is missing, another one, or damaged is named.
func TestLayeredDamage(t *testing.T) {
	s, _ := layeredStore(t)
	path, err := s.Find("layered")
	if err != nil {
		t.Fatal(err)
	}
	img := reopen(t, path)
	file := s.Layers().Path(img.Layers()[1].Digest)
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func() error
		want   error
	}{
		"missing": {func() error { return os.Remove(file) }, fs.ErrNotExist},
		"another": {func() error {
			b, err := os.ReadFile(s.Layers().Path(img.Layers()[0].Digest))
			if err != nil {
				return err
			}
			return os.WriteFile(file, b, 0o400)
		}, layer.ErrCorrupt},
		"content": {func() error {
			b := bytes.Clone(good)
			b[guest.PageSize+5] ^= 1
			return os.WriteFile(file, b, 0o400)
		}, layer.ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			if err := errors.Join(os.RemoveAll(file), c.change()); err != nil && name != "missing" {
				t.Fatal(err)
			}
			if m, err := Open(path); err == nil {
				m.Close()
				t.Error("opened")
			} else if !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

// TestAddLayered: the files of a Spec become a layer that another image has too.
func TestAddLayered(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	spec := smallSpec(t)
	spec.Kernel = testKernel()
	path, _ := build(t, spec)
	want := listing(t, reopen(t, path))
	for _, name := range []string{"one", "two"} {
		spec.Name = name
		if _, err := s.Add(t.Context(), spec, AddOptions{Layered: true}); err != nil {
			t.Fatal(err)
		}
		path, err := s.Find(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := listing(t, reopen(t, path)); got != want {
			t.Errorf("got\n%.2000s\nwant\n%.2000s", got, want)
		}
	}
	if all, err := s.Layers().List(); err != nil || len(all) != 1 {
		t.Errorf("%d layers, %v, want one that both have", len(all), err)
	}
}

// TestLayeredAbove: what becomes a layer lies above the others as files of the image's own do.
func TestLayeredAbove(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	h, err := s.Layers().Add(t.Context(), bytes.NewReader(layertest.Tar(t, folder("etc/", 0o700), file("etc/a", "below"), file("gone", "x"))), layer.AddOptions{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Layers().Open(h.Digest)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	spec := Spec{Name: "above", Kernel: testKernel(), Layers: []*layer.Layer{l}, Files: []File{{GuestPath: "/etc/b", Data: []byte("above")}, {GuestPath: "/opt/x/y", Data: []byte("y"), Mtime: 7}}}
	for _, name := range []string{"b", ".wh.a"} {
		spec.Files[0].GuestPath = "/etc/" + name
		path, _ := build(t, spec)
		want := listing(t, reopen(t, path))
		info, err := s.Add(t.Context(), spec, AddOptions{Layered: true, NoTag: true})
		if err != nil {
			t.Fatal(err)
		}
		if path, err = s.Find(info.Digest.String()); err != nil {
			t.Fatal(err)
		}
		if got := listing(t, reopen(t, path)); got != want || !strings.Contains(got, name) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
	}
}

// TestCollectLayers: a layer stays for as long as an image names it.
func TestCollectLayers(t *testing.T) {
	s, _ := layeredStore(t)
	if gone, err := s.CollectLayers(time.Nanosecond); err != nil || len(gone) != 0 {
		t.Errorf("removed %v, %v", gone, err)
	}
	if err := s.Remove("layered"); err != nil {
		t.Fatal(err)
	}
	if gone, err := s.CollectLayers(0); err != nil || len(gone) != 0 {
		t.Errorf("removed %v, %v, which may be about to be named", gone, err)
	}
	if gone, err := s.CollectLayers(time.Nanosecond); err != nil || len(gone) != 2 {
		t.Errorf("removed %v, %v", gone, err)
	}
	if left, _ := filepath.Glob(filepath.Join(s.Layers().Dir, "*")); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

// TestBaseIsRemoved: an image whose base goes while it is made has all that it names.
func TestBaseIsRemoved(t *testing.T) {
	s, info := layeredStore(t)
	all, err := s.Layers().List()
	if err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-48 * time.Hour)
	for _, l := range all {
		if err := os.Chtimes(s.Layers().Path(l.Digest), old, old); err != nil {
			t.Fatal(err)
		}
	}
	base, err := OpenBase(reopen(t, s.Path(info.Digest)))
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	if err := s.Remove("layered"); err != nil {
		t.Fatal(err)
	}
	if gone, err := s.CollectLayers(0); err != nil || len(gone) != 0 {
		t.Errorf("removed %v, %v", gone, err)
	}
	made, err := s.Add(t.Context(), Spec{Name: "above", Kernel: testKernel(), Program: "/bin/p", Base: base}, AddOptions{Layered: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, reopen(t, s.Path(made.Digest)), "/etc/a"); string(got) != "above" {
		t.Errorf("it holds %q", got)
	}
}

// TestTooLargeForTheWindow: refused with the limit and the remedy.
func TestTooLargeForTheWindow(t *testing.T) {
	spec := Spec{Name: "large", Kernel: testKernel(), MemoryBytes: guest.MaxGiB<<30 - guest.ImageAlign, Files: []File{{GuestPath: "/f", Data: pattern(3<<20, 1)}}}
	if _, err := newPlan(&spec); err == nil || !bytes.Contains([]byte(err.Error()), []byte("exceed 8 GiB: ask for less memory")) {
		t.Error(err)
	}
}
