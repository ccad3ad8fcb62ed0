package derive

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"seuss/guest"
	"seuss/images"
	"seuss/images/internal/layertest"
	"seuss/images/layer"
)

// listing is what an image holds.
func listing(t *testing.T, s images.Store, ref string) (out string, layers int) {
	t.Helper()
	path, err := s.Find(ref)
	if err != nil {
		t.Fatal(err)
	}
	img, err := images.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	err = img.Walk(func(e images.Entry) error {
		var text []byte
		if e.Inode.IsRegular() {
			c, err := img.Content(e)
			if err != nil {
				return err
			}
			if text, err = io.ReadAll(c); err != nil {
				return err
			}
		}
		out += fmt.Sprintf("%s %o %d %d:%d %d %q %.40q\n", e.Path, e.Inode.Mode, e.Inode.Nlink, e.Inode.UID, e.Inode.GID, e.Inode.Mtime, e.Target, text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out, len(img.Layers())
}

// stored is what a store's files take.
func stored(t *testing.T, s images.Store) (sum int64) {
	t.Helper()
	err := filepath.WalkDir(s.Dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		st, err := d.Info()
		if err == nil {
			sum += st.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// TestDerivedShares: a derived image names the layers of what it was derived from, and holds
// what it would if all had been built at once. Only the files that lie in no layer of the
// base's become one, which all that is derived from it has in common.
func TestDerivedShares(t *testing.T) {
	s := Store{Images: images.Store{Dir: t.TempDir()}}
	big := layertest.Pattern(4<<20, 1)
	base := images.Spec{Name: "base", Kernel: guest.Kernel(), Files: []images.File{{GuestPath: "/own/a", Data: []byte("own"), Mode: 0o600}, {GuestPath: "/own/b", Data: layertest.Pattern(1<<20, 2)}, {GuestPath: "/own/link", Symlink: "a"}}}
	for _, tarred := range [][]byte{
		layertest.Tar(t, layertest.Entry{Name: "big", Data: big, UID: 7, GID: 8, Mode: 0o640}, layertest.Entry{Name: "etc/hard", Type: tar.TypeLink, Link: "big"},
			layertest.Entry{Name: "gone/x", Data: []byte("x")}, layertest.Entry{Name: "empty"}),
		layertest.Tar(t, layertest.Entry{Name: "etc/small", Data: []byte("small")}, layertest.Entry{Name: "gone/y", Data: []byte("y")}),
	} {
		h, err := s.layers().Add(t.Context(), bytes.NewReader(tarred), layer.AddOptions{})
		if err != nil {
			t.Fatal(err)
		}
		l, err := s.layers().Open(h.Digest)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		base.Layers = append(base.Layers, l)
	}
	if _, err := s.Images.Add(t.Context(), base, images.AddOptions{}); err != nil {
		t.Fatal(err)
	}
	add := func(name string, files fstest.MapFS) Layer {
		t.Helper()
		l, err := s.Add(t.Context(), name, 0, func(w *tar.Writer) error { return WriteFS(w, files, "", nil) })
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	var last string
	before, want := stored(t, s.Images), ""
	for i := range 3 {
		name := fmt.Sprintf("f%d", i)
		digest, err := s.Image(t.Context(), "base", []Layer{add(name, fstest.MapFS{"opt/" + name: {Data: []byte(name)}, "own/a": {Data: []byte("above")}})})
		if err != nil {
			t.Fatal(err)
		}
		last = digest
		got, layers := listing(t, s.Images, digest)
		want, _ = listing(t, s.Images, "base")
		for _, line := range strings.Split(want, "\n") {
			if !strings.Contains(got, line) && !strings.HasPrefix(line, "/own") && !strings.HasPrefix(line, "/ ") {
				t.Errorf("%s: lost %s", name, line)
			}
		}
		if !strings.Contains(got, `"above"`) || !strings.Contains(got, "/opt/"+name) || !strings.Contains(got, "/own/link") || layers > 4 {
			t.Errorf("%d layers, got\n%s", layers, got)
		}
	}
	each := (stored(t, s.Images) - before) / 3
	if each > 1<<20 { // its tables, the kernel library, and a third of the one layer of /own
		t.Errorf("each derived image takes %d bytes, the base %d", each, before)
	}
	// What is derived from a derived image has the layers of both.
	again, err := s.Image(t.Context(), last, []Layer{add("more", fstest.MapFS{"opt/more": {Data: []byte("more")}})})
	if err != nil {
		t.Fatal(err)
	}
	if got, layers := listing(t, s.Images, again); !strings.Contains(got, "/opt/more") || !strings.Contains(got, "/opt/f2") || layers != 5 {
		t.Errorf("%d layers, got\n%s", layers, got)
	}
}
