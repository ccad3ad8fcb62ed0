package imagefile

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"
)

// TestReader: read from anywhere, the stream is what WriteStream writes.
func TestReader(t *testing.T) {
	dir := t.TempDir()
	var paths []string
	for i, size := range []int{5000, 4096, 0, 1, 9000} {
		path := filepath.Join(dir, string(rune('a'+i)))
		if err := os.WriteFile(path, bytes.Repeat([]byte{byte(i + 1)}, size), 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	var want bytes.Buffer
	if err := WriteStream(&want, paths); err != nil {
		t.Fatal(err)
	}
	r, err := OpenReader(paths)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if size, err := StreamBytes(paths); err != nil || r.Size() != size || size != int64(want.Len()) {
		t.Errorf("%d bytes, want %d: %v", r.Size(), size, err)
	}
	if err := iotest.TestReader(io.NewSectionReader(r, 0, r.Size()), want.Bytes()); err != nil {
		t.Error(err)
	}
	if _, err := OpenReader(append(paths, filepath.Join(dir, "none"))); err == nil {
		t.Error("a file that is not there is read")
	}
}
