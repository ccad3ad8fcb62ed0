package instance

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"seuss/lineage"
	"seuss/lineage/nodefile"
	"seuss/lineage/pages"
	"seuss/vmm"
)

// pagedBlob makes a blob of pages that all differ and that are read, and checked, when
// they are needed. One of them is damaged.
func pagedBlob(t *testing.T, count, damaged uint64) *pages.Blob {
	t.Helper()
	data := make([]byte, count*nodefile.PageSize)
	x := &nodefile.Index{GuestPages: count, DataPages: count, Runs: []nodefile.IndexRun{{Count: count}}}
	for p := range count {
		page := data[p*nodefile.PageSize : (p+1)*nodefile.PageSize]
		copy(page, fmt.Sprintf("page %d", p))
		x.Sums = append(x.Sums, nodefile.Checksum(page))
	}
	data[damaged*nodefile.PageSize] ^= 1
	path := filepath.Join(t.TempDir(), "blob")
	if err := os.WriteFile(path, data, 0o444); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := pages.Open(lineage.VerifyDemand, false, "of the test", f, 0, x)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// planOf is a plan of memory that is laid as a view says, and its process spares what room
// does.
func planOf(t *testing.T, view *lineage.View, room Room) (*memoryPlan, *vmm.Memory) {
	t.Helper()
	mem, err := vmm.NewMemory(view.Pages()*lineage.PageSize, 0)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newMemoryPlan(mem, room)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(p.tracker.Close(), mem.Close()); err != nil {
			t.Error(err)
		}
	})
	l, err := lineage.Lay(view, layoutPieces)
	if err == nil {
		err = p.lay(l, true)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &p, mem
}

const testPages = 64 << 20 / lineage.PageSize

// TestNoRoomForADamagedPage: a long run that was to be checked as the guest touches it, and
// is copied for want of mappings, is checked all the same.
func TestNoRoomForADamagedPage(t *testing.T) {
	const runs, each = 60, mapRun
	blob := pagedBlob(t, 2*runs*each, 2*(runs-1)*each+7)
	var list []lineage.Run
	for n := range uint64(runs) {
		list = append(list, lineage.Run{First: 4096 + 2*n*each, Count: each, Blob: blob, Page: 2 * n * each})
	}
	p, mem := planOf(t, lineage.NewView(testPages), stingy{})
	_, err := p.deploy(lineage.NewView(testPages).With(list))
	if !errors.Is(err, lineage.ErrChecksum) {
		t.Errorf("a damaged page is shown as %.20q: %v", mem.Page(4096+2*(runs-1)*each+7), err)
	}
}
