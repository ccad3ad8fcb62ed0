package source_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"seuss/images/source"
	_ "seuss/images/source/all"
)

func TestFind(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	found, err := source.Find(t.Context(), "dir:"+dir, source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	tree, _, err := found.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.Files) < 2 || tree.Close() != nil {
		t.Errorf("tree %+v", tree)
	}
	for ref, want := range map[string]string{
		"rsync://host/x":         `no source has the scheme "rsync"; there are debian:[PACKAGE,...], dir:PATH, docker:`,
		"python":                 `no source has the scheme "python"`,
		"dir:/nowhere":           "dir:/nowhere: ",
		"debian:nonsuch-package": "apt-get install nonsuch-package",
	} {
		if _, err := source.Find(t.Context(), ref, source.Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", ref, err, want)
		}
	}
	if source.IsReference("python-3.11_x") || !source.IsReference("dir:.") {
		t.Error("names and references are mixed up")
	}
}
