package pages

import (
	"bytes"
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"seuss/lineage/nodefile"
)

// hugeCopy makes a huge Blob of the pages of b, which testBlob made.
func hugeCopy(t *testing.T, b *Blob) (*Blob, error) {
	t.Helper()
	f, err := os.Open(b.file.Name())
	if err != nil {
		t.Fatal(err)
	}
	huge, err := newHugeBlob("huge", f, 0, b.index)
	if huge == nil && err == nil {
		t.Fatal("no room for a huge blob")
	}
	return huge, err
}

// TestHugeBlob: whether or not the host gives huge pages, the copy shows what the file
// does, all of it right, and a store to a private mapping of it changes one page there
// and none in it.
func TestHugeBlob(t *testing.T) {
	const pages = 3*chunkPages + 7
	b := testBlob(t, "image", pages)
	huge, err := hugeCopy(t, b)
	if err != nil {
		t.Fatal(err)
	}
	if huge.unchecked.Load() != 0 || !huge.Filled(0, pages) || HugeBytes() < 4*hugeSize {
		t.Errorf("%d pages are not checked; %d bytes are counted", huge.unchecked.Load(), HugeBytes())
	}
	if err := huge.Verify(); err != nil {
		t.Error(err)
	}
	if _, err := huge.File().WriteAt([]byte{1}, 0); err == nil {
		t.Error("its file can be written")
	}
	private, err := unix.Mmap(int(huge.File().Fd()), 0, 4*hugeSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(private)
	for _, page := range []uint64{0, 700, pages - 1} {
		private[page*nodefile.PageSize+9] ^= 0xff
	}
	for page := range uint64(pages) {
		if !bytes.Equal(huge.Bytes(page), b.Bytes(page)) {
			t.Fatalf("page %d differs from the file's", page)
		}
		own := private[page*nodefile.PageSize : (page+1)*nodefile.PageSize]
		if changed := page == 0 || page == 700 || page == pages-1; bytes.Equal(own, b.Bytes(page)) == changed {
			t.Fatalf("page %d of a private mapping: changed %v", page, !changed)
		}
	}
	runtime.KeepAlive(huge)
}

func TestHugeBlobDamage(t *testing.T) {
	b := testBlob(t, "image", chunkPages+100)
	b.index.Sums[chunkPages+40] ^= 1
	if _, err := hugeCopy(t, b); !errors.Is(err, nodefile.ErrChecksum) || !strings.Contains(err.Error(), "data page 552 ") {
		t.Errorf("a damaged page: %v", err)
	}
	b.index.Sums[chunkPages+40] ^= 1
	if err := errors.Join(os.Chmod(b.file.Name(), 0o600), os.Truncate(b.file.Name(), chunkPages*nodefile.PageSize)); err != nil {
		t.Fatal(err)
	}
	if _, err := hugeCopy(t, b); !errors.Is(err, nodefile.ErrLength) {
		t.Errorf("a file that is too short: %v", err)
	}
}

// leastHuge collects garbage until the copies have come down to a figure, or do not.
func leastHuge(bytes uint64) uint64 {
	for range 1000 {
		if runtime.GC(); HugeBytes() <= bytes {
			break
		}
		time.Sleep(time.Millisecond)
	}
	return HugeBytes()
}

// TestHugeBound: copies are counted, come back when a Blob is gone, and are not made
// beyond the bound.
func TestHugeBound(t *testing.T) {
	b := testBlob(t, "image", 10)
	before := leastHuge(0) // other tests' blobs are gone
	huge, err := hugeCopy(t, b)
	if err != nil || HugeBytes() != before+hugeSize {
		t.Fatalf("%d bytes after %d, %v", HugeBytes(), before, err)
	}
	runtime.KeepAlive(huge)
	huge = nil
	if left := leastHuge(before); left != before {
		t.Errorf("%d bytes of a blob that is gone", left-before)
	}
	left := uint64(maxHugeBytes) - HugeBytes()
	if takeHuge(left+1) || takeHuge(1<<63) || !takeHuge(left) {
		t.Fatal("the bound does not hold")
	}
	defer giveHuge(int64(left))
	if huge, err := newHugeBlob("huge", b.file, 0, b.index); huge != nil || err != nil {
		t.Errorf("beyond the bound: %v, %v", huge, err)
	}
}

func TestOffersHuge(t *testing.T) {
	for setting, want := range map[string]bool{
		"always within_size advise [never] deny force": false, "always within_size advise never [deny] force": false,
		"always within_size [advise] never deny force": true, "[always] within_size advise never deny force": true, "": false,
	} {
		if offersHuge(setting) != want {
			t.Errorf("%q: %v", setting, !want)
		}
	}
}
