package dir

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"seuss/guest"
	"seuss/images"
	"seuss/images/layer"
	"seuss/images/source"
)

func TestDir(t *testing.T) {
	root := filepath.Join(t.TempDir(), "tree")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(root, "a/b"), 0o755))
	must(os.Mkdir(filepath.Join(root, "shared"), 0o700))
	must(os.Chmod(filepath.Join(root, "shared"), os.ModeSticky|0o777))
	must(os.WriteFile(filepath.Join(root, "a/b/file"), []byte("text"), 0o600))
	must(os.Symlink("a/b", filepath.Join(root, "link")))
	must(os.Symlink("/nowhere", filepath.Join(root, "dangling")))
	must(syscall.Mkfifo(filepath.Join(root, "a/fifo"), 0o600))
	named := filepath.Join(t.TempDir(), "by-link")
	must(os.Symlink(root, named))

	found, err := find(t.Context(), named, source.Options{})
	must(err)
	tree, _, err := found.Open(t.Context())
	must(err)
	if found.Name != "tree" || tree.Skipped != 1 {
		t.Errorf("name %q, %d skipped", found.Name, tree.Skipped)
	}
	file := filepath.Join(t.TempDir(), "test.img")
	f, err := os.Create(file)
	must(err)
	defer f.Close()
	info, err := images.Build(t.Context(), f, images.Spec{Name: "d", Kernel: guest.Kernel(), Files: tree.Files}, nil)
	must(err)
	img, err := images.Open(file)
	must(err)
	defer img.Close()
	if info.Dirs != 4 || info.Files != 1 || info.Links != 2 {
		t.Errorf("info %+v", info)
	}
	if e, err := img.Lookup("/link/file"); err != nil {
		t.Error(err)
	} else if r, err := img.Content(e); err != nil {
		t.Error(err)
	} else if got, err := io.ReadAll(r); err != nil || string(got) != "text" {
		t.Errorf("content is %q, %v", got, err)
	}
	if e, err := img.Lstat("/dangling"); err != nil || e.Target != "/nowhere" {
		t.Errorf("link is %+v, %v", e, err)
	}
	for p, mode := range map[string]uint32{"/shared": 0o41777, "/a/b/file": 0o100600, "/": 0o40755} {
		st, err := os.Stat(filepath.Join(root, p))
		must(err)
		e, err := img.Lookup(p)
		if err != nil || e.Inode.Mode != mode || e.Inode.Mtime != uint64(st.ModTime().Unix()) {
			t.Errorf("%s: %+v, %v, want mode %#o", p, e.Inode, err, mode)
		}
	}
	again, err := find(t.Context(), root, source.Options{})
	must(err)
	if treeAgain, _, err := again.Open(t.Context()); err != nil || !reflect.DeepEqual(treeAgain, tree) || again.Digest != found.Digest {
		t.Errorf("collecting by another name differs: %v", err)
	}
}

// TestDigest changes what an image of the directory would show, bit by bit, and each time
// within the same second as before: it is seen with an index of what was there as without.
func TestDigest(t *testing.T) {
	t.Run("indexed", func(t *testing.T) {
		testDigest(t, source.Options{Layers: layer.Store{Dir: filepath.Join(t.TempDir(), "layers")}})
	})
	t.Run("not indexed", func(t *testing.T) { testDigest(t, source.Options{}) })
}

func testDigest(t *testing.T, o source.Options) {
	root := t.TempDir()
	file, link := filepath.Join(root, "file"), filepath.Join(root, "link")
	when := time.Unix(1_700_000_000, 0)
	write := func(text string) error {
		return errors.Join(os.WriteFile(file, []byte(text), 0o644), os.Chtimes(file, when, when), os.Chtimes(root, when, when))
	}
	seen := map[string]string{}
	for _, step := range []struct {
		what   string
		change func() error
		as     string // an earlier step with the same tree
	}{
		{"a file", func() error { return write("one") }, ""},
		{"content of the same length and time", func() error { return write("two") }, ""},
		{"content as before", func() error { return write("one") }, "a file"},
		{"mode", func() error { return os.Chmod(file, 0o755) }, ""},
		{"time", func() error { return os.Chtimes(file, when, when.Add(time.Second)) }, ""},
		{"link", func() error { return errors.Join(os.Symlink("file", link), os.Chtimes(root, when, when)) }, ""},
		{"no link", func() error { return errors.Join(os.Remove(link), os.Chtimes(root, when, when)) }, "time"},
		{"name", func() error { return errors.Join(os.Rename(file, file+"2"), os.Chtimes(root, when, when)) }, ""},
	} {
		if err := step.change(); err != nil {
			t.Fatal(err)
		}
		found, err := find(t.Context(), root, o)
		if err != nil {
			t.Fatal(err)
		}
		if was := seen[found.Digest]; was != step.as {
			t.Errorf("%s: digest as after %q, want as after %q", step.what, was, step.as)
		}
		if step.as == "" {
			seen[found.Digest] = step.what
		}
	}
}

func TestDirRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{file, file + "none"} {
		if _, err := find(t.Context(), p, source.Options{}); err == nil || !strings.Contains(err.Error(), p) {
			t.Errorf("%s: %v", p, err)
		}
	}
}
