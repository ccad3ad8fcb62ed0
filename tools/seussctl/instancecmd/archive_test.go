package instancecmd

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestExtract: an archive of an instance's comes to a local directory, as another name or
// its own, and one that lies reaches nothing beside it.
func TestExtract(t *testing.T) {
	from, dir := filepath.Join(t.TempDir(), "from"), t.TempDir()
	for _, step := range []error{os.MkdirAll(from+"/sub", 0o755), os.WriteFile(from+"/sub/f", []byte("content"), 0o600), os.Symlink("sub/f", from+"/l")} {
		if step != nil {
			t.Fatal(step)
		}
	}
	var packed bytes.Buffer
	if err := pack(&packed, from); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{dir, dir + "/as", dir + "/as"} { // in the end into what was made
		if err := extract(bytes.NewReader(packed.Bytes()), to); err != nil {
			t.Fatal(err)
		}
	}
	for _, place := range []string{"/from", "/as", "/as/from"} {
		if b, err := os.ReadFile(dir + place + "/l"); err != nil || string(b) != "content" {
			t.Errorf("%s: %q, %v", place, b, err)
		}
	}
	outside := filepath.Join(t.TempDir(), "outside")
	for want, list := range map[string][]tar.Header{
		"not below": {{Typeflag: tar.TypeReg, Name: "../outside"}},
		"escapes":   {{Typeflag: tar.TypeDir, Name: "d", Mode: 0o755}, {Typeflag: tar.TypeSymlink, Name: "d/l", Linkname: filepath.Dir(outside)}, {Typeflag: tar.TypeReg, Name: "d/l/outside"}},
		"as type":   {{}},
		"asked for": {{Typeflag: tar.TypeDir, Name: "d", Mode: 0o755}, {Typeflag: tar.TypeReg, Name: "e"}},
	} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range list {
			if h.Name == "" {
				h = tar.Header{Typeflag: tar.TypeChar, Name: "null"}
			}
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
		}
		w.Close()
		err := extract(&b, filepath.Join(t.TempDir(), "x"))
		if _, there := os.Stat(outside); err == nil || there == nil {
			t.Errorf("%s: %v, %v", want, err, there)
		}
		if err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
