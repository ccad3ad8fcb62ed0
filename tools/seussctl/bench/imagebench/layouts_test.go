package imagebench

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"seuss/images"
)

// TestMake: the images of a layout have their base in common, and one layer more each; a
// layout can be made from one that is there.
func TestMake(t *testing.T) {
	host := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(host, []byte("of the host"), 0o600); err != nil {
		t.Fatal(err)
	}
	files := []images.File{{GuestPath: "/etc", Mode: fs.ModeDir | 0o755}, {GuestPath: "/etc/a", Data: []byte("abc")}, {GuestPath: "/etc/b", HostPath: host}, {GuestPath: "/bin", Symlink: "usr/bin"}}
	first, err := Make(filepath.Join(t.TempDir(), "one"), "", files, 3<<20)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Make(filepath.Join(t.TempDir(), "two"), first.Dir+":"+Base, nil, 3<<20)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []*Layouts{first, second} {
		if l.Files != 14 {
			t.Errorf("the files have %d bytes, want 14", l.Files)
		}
		base, err := read(l.Dir + ":" + Base)
		if err != nil {
			t.Fatal(err)
		}
		below, err := base.Layers()
		if err != nil || len(below) != 1 {
			t.Fatalf("%d layers, %v", len(below), err)
		}
		want, err := below[0].Digest()
		if err != nil {
			t.Fatal(err)
		}
		for tag, bytes := range map[string]uint64{Above: 14 + aboveBytes, Large: 14 + 3<<20} {
			image, err := read(l.Dir + ":" + tag)
			if err != nil {
				t.Fatal(err)
			}
			layers, err := image.Layers()
			if err != nil || len(layers) != 2 {
				t.Fatalf("%s: %d layers, %v", tag, len(layers), err)
			}
			if got, err := layers[0].Digest(); err != nil || got != want {
				t.Errorf("%s: its base is %v, %v", tag, got, err)
			}
			if got, err := fileBytes(image); err != nil || got != bytes {
				t.Errorf("%s: %d bytes, %v; want %d", tag, got, err, bytes)
			}
		}
	}
	if _, err := read(first.Dir + ":none"); err == nil {
		t.Error("an image that is not there is found")
	}
}
