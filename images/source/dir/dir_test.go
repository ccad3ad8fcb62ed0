package images

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
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

	spec, err := Dir(named)
	must(err)
	if spec.Name != "tree" || spec.Skipped != 1 {
		t.Errorf("name %q, %d skipped", spec.Name, spec.Skipped)
	}
	path, info := build(t, spec)
	img := reopen(t, path)
	if info.Dirs != 4 || info.Files != 1 || info.Links != 2 {
		t.Errorf("info %+v", info)
	}
	if got := string(read(t, img, "/link/file")); got != "text" {
		t.Errorf("content is %q", got)
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
	again, err := Dir(root)
	if err != nil || !reflect.DeepEqual(again, spec) {
		t.Errorf("collecting by another name differs: %v", err)
	}
}

func TestDirRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{file, file + "none"} {
		if _, err := Dir(p); err == nil || !strings.Contains(err.Error(), p) {
			t.Errorf("Dir(%s): %v", p, err)
		}
	}
}
