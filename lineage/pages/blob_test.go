package pages

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"seuss/lineage/nodefile"
)

// testBlob makes a blob of pages that all differ.
func testBlob(t testing.TB, name string, pages uint64) *Blob {
	t.Helper()
	data := make([]byte, pages*nodefile.PageSize)
	for p := range pages {
		copy(data[p*nodefile.PageSize:], fmt.Sprintf("blob %s page %d", name, p))
	}
	path := filepath.Join(t.TempDir(), "blob")
	if err := os.WriteFile(path, data, 0o444); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	x := &nodefile.Index{GuestPages: pages, DataPages: pages, Digests: []nodefile.Digest{}}
	for at := 0; at < len(data); at += nodefile.PageSize {
		x.Sums = append(x.Sums, nodefile.Checksum(data[at:at+nodefile.PageSize]))
		x.Digests = append(x.Digests, nodefile.PageDigest(data[at:at+nodefile.PageSize]))
	}
	x.Runs = []nodefile.IndexRun{{First: 0, Count: pages, Page: 0}}
	b, err := newBlob(name, f, 0, x)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBlobVerify(t *testing.T) {
	b := testBlob(t, "a", 100)
	if err := b.Verify(); err != nil {
		t.Fatal(err)
	}
	b.index.Digests[7][0] ^= 1
	if err := b.Verify(); !errors.Is(err, nodefile.ErrChecksum) || !strings.Contains(err.Error(), "data page 7 ") {
		t.Errorf("wrong digest: %v", err)
	}
	b.index.Digests[7][0] ^= 1
	if err := os.Chmod(b.file.Name(), 0o600); err != nil { // a blob is sealed
		t.Fatal(err)
	}
	if err := os.Truncate(b.file.Name(), 50*nodefile.PageSize); err != nil {
		t.Fatal(err)
	}
	if err := b.Verify(); err == nil {
		t.Error("a truncated file was verified")
	}
	f, err := os.Open(b.file.Name())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newBlob("short", f, 0, &nodefile.Index{DataPages: 51}); !errors.Is(err, nodefile.ErrLength) {
		t.Errorf("mapping more pages than the file has: %v", err)
	}
}
