package derive

import (
	"archive/tar"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"seuss/images"
	"seuss/images/layer"
)

// TestLayersAreTheirFiles: a layer depends on names, content and whether a file may be run,
// and on nothing else of a host's tree.
func TestLayersAreTheirFiles(t *testing.T) {
	s := Store{Images: images.Store{Dir: t.TempDir()}}
	add := func(from fs.FS, keep func(string) bool) layer.Digest {
		t.Helper()
		l, err := s.Add(t.Context(), "x", 0, func(w *tar.Writer) error { return WriteFS(w, from, "opt", keep) })
		if err != nil {
			t.Fatal(err)
		}
		return l.Digest
	}
	tree := func(content string, mode fs.FileMode, at time.Time) fstest.MapFS {
		return fstest.MapFS{"a/b.txt": {Data: []byte(content), Mode: mode, ModTime: at}, "c": {Data: []byte("c"), ModTime: at}}
	}
	first := add(tree("x", 0o644, time.Unix(1, 0)), nil)
	for name, c := range map[string]struct {
		from fs.FS
		same bool
	}{
		"later":      {tree("x", 0o600, time.Now()), true},
		"content":    {tree("y", 0o644, time.Unix(1, 0)), false},
		"executable": {tree("x", 0o755, time.Unix(1, 0)), false},
		"one less":   {fstest.MapFS{"a/b.txt": {Data: []byte("x")}}, false},
	} {
		if got := add(c.from, nil); (got == first) != c.same {
			t.Errorf("%s: the same layer: %v", name, got == first)
		}
	}
	if add(tree("x", 0o644, time.Unix(1, 0)), func(name string) bool { return name != "c" }) == first {
		t.Error("a file that is not kept is there")
	}
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "a"), 0o700), os.WriteFile(filepath.Join(dir, "a", "b.txt"), []byte("x"), 0o640), os.WriteFile(filepath.Join(dir, "c"), []byte("c"), 0o604)); err != nil {
		t.Fatal(err)
	}
	from, done, err := Open(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	if size, err := Size(from, nil); err != nil || size != 2 {
		t.Errorf("size %d, %v", size, err)
	}
	if add(from, nil) != first {
		t.Error("a directory of the host gives another layer than the same files elsewhere")
	}
}

// TestRefused: what a layer cannot hold, or would hide others by, is refused by name.
func TestRefused(t *testing.T) {
	var b bytes.Buffer
	for name, from := range map[string]fstest.MapFS{
		".wh.x": {"d/.wh.x": {}}, "neither a file": {"pipe": {Mode: fs.ModeNamedPipe}},
	} {
		if err := WriteFS(tar.NewWriter(&b), from, "opt", nil); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := WriteFiles(tar.NewWriter(&b), map[string][]byte{"a/.wh..wh..opq": nil}, "x"); err == nil {
		t.Error("files that hide others were taken")
	}
	s := Store{Images: images.Store{Dir: t.TempDir()}}
	big := fstest.MapFS{"big": {Data: make([]byte, 5000)}}
	if _, err := s.Add(t.Context(), "x", 4999, func(w *tar.Writer) error { return WriteFS(w, big, "", nil) }); !errors.Is(err, layer.ErrTooLarge) {
		t.Errorf("a layer beyond its bound: %v", err)
	}
	failed := errors.New("no more")
	if _, err := s.Add(t.Context(), "x", 0, func(*tar.Writer) error { return failed }); !errors.Is(err, failed) {
		t.Errorf("a source that fails: %v", err)
	}
}
