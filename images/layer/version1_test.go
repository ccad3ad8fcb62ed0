package layer

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"seuss/guest"
	"seuss/images/internal/layertest"
)

// goldenEntries are what testdata/version-1.layer.gz was made of.
func goldenEntries() []layertest.Entry {
	return []layertest.Entry{
		{Name: "d/", Type: tar.TypeDir, Mode: 0o750},
		{Name: "d/small", Data: layertest.Pattern(1000, 1), UID: 7},
		{Name: "d/large", Data: layertest.Pattern(32<<10+5, 2), Mode: 0o600},
		{Name: "d/link", Link: "large", Type: tar.TypeSymlink},
		{Name: "lib.so", Data: sharedObject(0x5432, 0x3210, 0x4321)},
		{Name: ".wh.gone"},
	}
}

// golden is the layer of testdata, of a release that had a digest for each page, as if its
// kernel contract were this program's.
func golden(t testing.TB) []byte {
	t.Helper()
	f, err := os.Open("testdata/version-1.layer.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	var h Header
	if err := readHeader(bytes.NewReader(b), uint64(len(b)), &h); err != nil && !errors.Is(err, ErrVersion) {
		t.Fatal(err)
	}
	h.ABI = guest.KernelVersion
	h.Digest = digestOf(&h, b[h.ContentEnd:])
	copy(b, h.encode())
	return b
}

// TestVersion1: a layer of version 1 is read and verified as one of this version is.
func TestVersion1(t *testing.T) {
	b := golden(t)
	path := filepath.Join(t.TempDir(), "l")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	now := add(t, store(t), AddOptions{}, goldenEntries()...)
	if l.header.Version != 1 || now.header.Version != version || l.header.DiffID != now.header.DiffID || now.header.Total >= l.header.Total {
		t.Errorf("%+v, of this version %+v", l.header, now.header)
	}
	if err := l.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	for e := range now.Entries() {
		old := find(t, l, e.Path)
		if old.Hides != e.Hides || (old.File == nil) != (e.File == nil) {
			t.Errorf("%q is %+v, want %+v", e.Path, old, e)
			continue
		}
		if e.File == nil {
			continue
		}
		if old.File.Mode() != e.File.Mode() || old.File.Target != e.File.Target {
			t.Errorf("%q has mode %o and target %q", e.Path, old.File.Mode(), old.File.Target)
		}
		if e.File.Mode()&ModeTypeMask == ModeRegular && !bytes.Equal(content(t, l, e.Path), content(t, now, e.Path)) {
			t.Errorf("content of %q differs", e.Path)
		}
	}
	for at := guest.PageSize; at < len(b); at += 997 {
		bad := bytes.Clone(b)
		bad[at] ^= 1 << (at % 8)
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := Open(path)
		if err == nil {
			err = l.Verify(t.Context())
			l.Close()
		}
		if !errors.Is(err, ErrCorrupt) {
			t.Fatalf("a flipped bit at %d: %v", at, err)
		}
	}
}
