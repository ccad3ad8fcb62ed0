package dirtytrack

import (
	"os"
	"slices"
	"testing"
)

func TestAddBitmap(t *testing.T) {
	bits := make([]byte, 24)
	want := []uint64{0, 7, 8, 63, 64, 129}
	for _, n := range append(slices.Clone(want), 130, 191) { // the last two are beyond the slot
		bits[n/8] |= 1 << (n % 8)
	}
	s := NewPageSet(130)
	addBitmap(s, bits, 130)
	if got := slices.Collect(s.All()); !slices.Equal(got, want) {
		t.Errorf("pages %v, want %v", got, want)
	}
}

// TestKVMTrackersWithoutKVM: a file that is no VM gives an error, not a tracker.
func TestKVMTrackersWithoutKVM(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := NewDirtyLog(f, 0, 100); err == nil {
		t.Error("a dirty log of", os.DevNull)
	} else {
		t.Log(err)
	}
	if _, err := NewDirtyLog(f, 0, 0); err == nil {
		t.Error("a dirty log of no pages")
	}
	for _, bytes := range []uint64{0, 1, PageSize} {
		if _, err := NewDirtyRing(f, f, 0, 100, bytes); err == nil {
			t.Errorf("a dirty ring of %d bytes of %s", bytes, os.DevNull)
		} else {
			t.Log(err)
		}
	}
}
