package images

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"seuss/images/internal/layertest"
	"seuss/images/layer"
)

type entries []layertest.Entry

// stack makes layers, the lowest first.
func stack(t testing.TB, layers ...entries) []*layer.Layer {
	t.Helper()
	s := layer.Store{Dir: filepath.Join(t.TempDir(), layer.DirName)}
	var out []*layer.Layer
	for _, e := range layers {
		h, err := s.Add(t.Context(), bytes.NewReader(layertest.Tar(t, e...)), layer.AddOptions{})
		if err != nil {
			t.Fatal(err)
		}
		l, err := s.Open(h.Digest)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		out = append(out, l)
	}
	return out
}

// listing is what an image holds, a line each: path, mode, link count, and target or
// content.
func listing(t testing.TB, img *Image) string {
	t.Helper()
	var b strings.Builder
	if err := img.Walk(func(e Entry) error {
		fmt.Fprintf(&b, "%s %o", e.Path, e.Inode.Mode)
		switch {
		case e.Inode.IsSymlink():
			fmt.Fprintf(&b, " -> %s", e.Target)
		case e.Inode.IsRegular():
			r, err := img.Content(e)
			if err != nil {
				return err
			}
			text, err := io.ReadAll(r)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %d %s", e.Inode.Nlink, text)
		}
		b.WriteByte('\n')
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func file(name, text string) layertest.Entry { return layertest.Entry{Name: name, Data: []byte(text)} }
func folder(name string, mode int64) layertest.Entry {
	return layertest.Entry{Name: name, Type: tar.TypeDir, Mode: mode}
}
func symlink(name, to string) layertest.Entry {
	return layertest.Entry{Name: name, Link: to, Type: tar.TypeSymlink}
}
func hardlink(name, to string) layertest.Entry {
	return layertest.Entry{Name: name, Link: to, Type: tar.TypeLink}
}

// TestMerge: a stack of layers gives the tree that a container sees.
func TestMerge(t *testing.T) {
	for name, c := range map[string]struct {
		layers []entries
		files  []File
		want   string
	}{
		"one layer": {[]entries{{file("a/b", "1"), folder("a", 0o700), symlink("l", "a/b")}}, nil,
			"/ 40755\n/a 40700\n/a/b 100644 1 1\n/l 120777 -> a/b\n"},
		"replaced": {[]entries{{file("a", "1"), file("b", "2")}, {file("a", "3")}}, nil,
			"/ 40755\n/a 100644 1 3\n/b 100644 1 2\n"},
		"whiteout": {[]entries{{file("d/a", "1"), file("d/b", "2"), file("e/x", "3")}, {file("d/.wh.a", ""), file(".wh.e", "")}}, nil,
			"/ 40755\n/d 40755\n/d/b 100644 1 2\n"},
		"whiteout of what the layer itself has": {[]entries{{file("d/a", "1")}, {file("d/a", "2"), file("d/.wh.a", "")}}, nil,
			"/ 40755\n/d 40755\n/d/a 100644 1 2\n"},
		"whiteout of nothing": {[]entries{{file("a", "1")}, {file("x/y/.wh.z", "")}}, nil,
			"/ 40755\n/a 100644 1 1\n"},
		"opaque": {[]entries{{file("d/a", "1"), folder("d", 0o700)}, {file("d/b", "2"), file("d/.wh..wh..opq", "")}}, nil,
			"/ 40755\n/d 40700\n/d/b 100644 1 2\n"},
		"opaque root": {[]entries{{file("d/a", "1")}, {file("b", "2"), file(".wh..wh..opq", "")}}, nil,
			"/ 40755\n/b 100644 1 2\n"},
		"a directory becomes a file and back": {[]entries{{file("d/a", "1")}, {file("d", "2")}, {file("d/b", "3")}}, nil, ""},
		"a directory becomes a file": {[]entries{{file("d/a", "1")}, {file("d", "2")}}, nil,
			"/ 40755\n/d 100644 1 2\n"},
		"a file becomes a directory": {[]entries{{file("d", "1")}, {folder("d", 0o711), file("d/a", "2")}}, nil,
			"/ 40755\n/d 40711\n/d/a 100644 1 2\n"},
		"the topmost says what a directory is": {[]entries{{folder("d", 0o700), file("d/a", "1")}, {folder("d", 0o777)}, {file("d/b", "2")}}, nil,
			"/ 40755\n/d 40777\n/d/a 100644 1 1\n/d/b 100644 1 2\n"},
		"hard links": {[]entries{{file("a", "1"), hardlink("b", "a"), hardlink("c", "b")}}, nil,
			"/ 40755\n/a 100644 3 1\n/b 100644 3 1\n/c 100644 3 1\n"},
		"a hard link loses its first name": {[]entries{{file("a", "1"), hardlink("b", "a")}, {file(".wh.a", "")}}, nil,
			"/ 40755\n/b 100644 1 1\n"},
		"a hard link to a layer below": {[]entries{{file("a", "1")}, {hardlink("b", "a")}}, nil,
			"/ 40755\n/a 100644 2 1\n/b 100644 2 1\n"},
		"a hard link to what is not there": {[]entries{{file("a", "1")}, {hardlink("b", "c")}}, nil, ""},
		"through a link": {[]entries{{folder("usr/lib", 0o755), symlink("lib", "usr/lib")}, {file("lib/x", "1"), file("lib/.wh.y", "")}}, nil,
			"/ 40755\n/lib 120777 -> usr/lib\n/usr 40755\n/usr/lib 40755\n/usr/lib/x 100644 1 1\n"},
		"a link out of the root stays in it": {[]entries{{symlink("l", "../../etc")}, {file("l/passwd", "1")}}, nil,
			"/ 40755\n/etc 40755\n/etc/passwd 100644 1 1\n/l 120777 -> ../../etc\n"},
		"links in a circle": {[]entries{{symlink("a", "b"), symlink("b", "a")}, {file("a/x", "1")}}, nil, ""},
		"files above": {[]entries{{file("etc/hosts", "1"), symlink("lib", "usr/lib")}},
			[]File{{GuestPath: "/etc/hosts", Data: []byte("2")}, {GuestPath: "/lib/d", Data: []byte("3")}},
			"/ 40755\n/etc 40755\n/etc/hosts 100644 1 2\n/lib 120777 -> usr/lib\n/usr 40755\n/usr/lib 40755\n/usr/lib/d 100644 1 3\n"},
	} {
		t.Run(name, func(t *testing.T) {
			spec := Spec{Name: "s", Kernel: testKernel(), Layers: stack(t, c.layers...), Files: c.files}
			if _, err := newPlan(&spec); c.want == "" {
				if err == nil || strings.Contains(err.Error(), "\n") {
					t.Errorf("%v, want an error of one line", err)
				}
				return
			} else if err != nil {
				t.Fatal(err)
			}
			path, _ := build(t, spec)
			if got := listing(t, reopen(t, path)); got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
		})
	}
}

// TestMergeTimes: what a layer says is kept, 1970 included.
func TestMergeTimes(t *testing.T) {
	path, _ := build(t, Spec{Name: "s", Layers: stack(t, entries{
		{Name: "d", Type: tar.TypeDir, Time: time.Unix(0, 0)}, {Name: "d/a", Time: time.Unix(99, 0)}, {Name: "e/a", Time: time.Unix(77, 0)},
	})})
	img := reopen(t, path)
	for p, want := range map[string]uint64{"/d": 0, "/d/a": 99, "/e": 77} {
		if e, err := img.Lookup(p); err != nil || e.Inode.Mtime != want {
			t.Errorf("%s: %d, %v, want %d", p, e.Inode.Mtime, err, want)
		}
	}
}

// TestManyEntries: a layer of a hundred thousand files in one directory is merged in time
// that grows with their number.
func TestManyEntries(t *testing.T) {
	var list entries
	for i := range 100_000 {
		list = append(list, layertest.Entry{Name: fmt.Sprintf("d/%06d", i)})
	}
	root, err := mergeLayers(nil, stack(t, list))
	if err == nil {
		err = root.finish(0)
	}
	if err != nil || len(root.byName["d"].children) != len(list) {
		t.Errorf("%d entries, %v", len(root.byName["d"].children), err)
	}
}
