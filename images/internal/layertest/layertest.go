// Package layertest makes tar streams for the tests of layers.
//
// It has no state and no locks.
package layertest

import (
	"archive/tar"
	"bytes"
	"testing"
	"time"
)

// Entry is an entry of a tar stream: a regular file unless Type says otherwise.
type Entry struct {
	Name, Link string
	Data       []byte
	Type       byte
	Mode       int64 // 0 = 0644
	UID, GID   int
	Time       time.Time
}

// Tar returns a stream of entries.
func Tar(t testing.TB, entries ...Entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{
			Name: e.Name, Linkname: e.Link, Typeflag: e.Type, Size: int64(len(e.Data)), Mode: e.Mode,
			Uid: e.UID, Gid: e.GID, ModTime: e.Time, Format: tar.FormatPAX,
		}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(e.Data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Pattern returns n bytes that differ by place and by seed, none zero.
func Pattern(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7+i>>8+int(seed)*31)%255 + 1
	}
	return b
}
