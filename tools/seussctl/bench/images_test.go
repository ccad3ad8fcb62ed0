package bench

import (
	"os"
	"path/filepath"
	"testing"
)

// TestImageBars: of what was measured each figure is compared, and of what was not none.
func TestImageBars(t *testing.T) {
	if bars := (&ImagesReport{}).Bars(); len(bars) != 0 {
		t.Errorf("%+v", bars)
	}
	r := ImagesReport{
		Files:  1000,
		Builds: []ImageRow{{RowBuild, 50, 1040}, {RowUnpack, 100, 2000}},
		Cold:   []ColdRow{{Way: RowSmall, P50: 100}, {Way: RowLarge, P50: 140}},
		Pooled: []Row{{Path: RowLayered, P50: 10}, {Path: RowFlat, P50: 10}},
	}
	want := []struct {
		measured float64
		met      bool
	}{{1.04, true}, {0.5, true}, {1.4, false}, {1, true}}
	bars := r.Bars()
	if len(bars) != len(want) {
		t.Fatalf("%+v", bars)
	}
	for i, b := range bars {
		if b.Measured != want[i].measured || b.Met() != want[i].met {
			t.Errorf("%+v, want %+v", b, want[i])
		}
	}
}

// TestCachedBytes: what was written a moment ago is in the page cache.
func TestCachedBytes(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), make([]byte, 100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := CachedBytes(dir); err != nil || n < 100_000 || n > 1<<20 {
		t.Errorf("%d bytes, %v", n, err)
	}
}
