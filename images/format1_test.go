package images

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// goldenImage unpacks an image that a release of its format has built.
func goldenImage(t *testing.T, name string) string {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".gz"))
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
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestGoldenFlat: an image of format 1 is read, with its digest.
func TestGoldenFlat(t *testing.T) {
	img := reopen(t, goldenImage(t, "format-1.img"))
	h := img.Header()
	if h.Version != flatVersion || h.OwnBytes != h.TotalBytes || len(img.Layers()) != 0 || len(img.Parts()) != 1 || img.Config().Labels["format"] != "1" {
		t.Errorf("%+v, %+v", h, img.Config())
	}
	if got := string(read(t, img, "/etc/hosts")); got != "127.0.0.1 localhost\n" {
		t.Errorf("/etc/hosts holds %q", got)
	}
	if !bytes.Equal(read(t, img, "/page"), pattern(5000, 4)) {
		t.Error("content of /page differs")
	}
	e, err := img.Lookup("/lib/l.so")
	if err != nil || e.Inode.Mode != 0o100755 || e.Inode.Mtime != 1700000001 || e.Inode.LoadBytes == 0 || e.Inode.UID != 0 {
		t.Errorf("%+v, %v", e, err)
	}
	if e, err := img.Lookup("/lib/link"); err != nil || e.Path != "/lib/l.so" {
		t.Errorf("%+v, %v", e, err)
	}
}

// TestGoldenFlatDamage: one flipped bit anywhere in such an image is found.
func TestGoldenFlatDamage(t *testing.T) {
	path := goldenImage(t, "format-1.img")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(good); at += 97 {
		b := bytes.Clone(good)
		b[at] ^= 1 << (at % 8)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if img, err := Open(path); err == nil {
			img.Close()
			t.Fatalf("a flipped bit at %d: opened", at)
		}
	}
}
