package instance

import (
	"bytes"
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
	p, err := newMemoryPlan(&Host{}, mem, room)
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

// counted lends mappings, and knows how many.
type counted struct {
	plenty
	lent int
}

func (c *counted) TakeMappings(n int) bool { c.lent += n; return true }
func (c *counted) GiveMappings(n int)      { c.lent -= n }

// TestStretchesAreMapped: a stretch of a few runs, none of which is worth a mapping, is mapped
// from the snapshot's copy, whichever machine asks first and whatever that one lacks.
func TestStretchesAreMapped(t *testing.T) {
	blob := pagedBlob(t, 1024, 1023)
	var runs []lineage.Run
	for n := range uint64(16) { // two stretches of eight runs of twenty pages
		runs = append(runs, lineage.Run{First: 4096 + 20*n + n/8*1000, Count: 20, Blob: blob, Page: 500 - 30*n})
	}
	base := lineage.NewView(testPages)
	view := base.With(runs)
	s := &Snapshot{View: view, stretches: stretchesApart(base, view), stretched: true}
	if len(s.stretches) != 2 || s.stretches[0].Count != 160 {
		t.Fatalf("%+v", s.stretches)
	}
	for _, c := range []struct {
		has  *lineage.View
		want uint64 // pages that are mapped
	}{{base.With(runs[:8]), 160}, {base, 320}} {
		p, mem := planOf(t, c.has, stingy{})
		p.snapshot = s
		moved, err := p.deploy(view)
		if err != nil || moved.Mapped != c.want || moved.Copied != 0 {
			t.Errorf("%+v, %v; want %d mapped", moved, err, c.want)
		}
		for page := range uint64(testPages) {
			if err := view.Check(page, 1); err != nil {
				t.Fatal(err)
			}
			if want := view.Bytes(page); want != nil && !bytes.Equal(mem.Page(page), want) {
				t.Fatalf("page %#x is another one", page)
			}
		}
		if len(p.flats) != 1 {
			t.Errorf("%d copies are kept", len(p.flats))
		}
	}
}

// TestNoRoomToLayAnew: a machine that can map nothing more gives up what it has mapped, once.
// One that needs few mappings after many gives back what it has borrowed.
func TestNoRoomToLayAnew(t *testing.T) {
	blob := pagedBlob(t, 64*mapRun, 0)
	view := func(runs, from uint64) *lineage.View {
		var list []lineage.Run
		for n := range runs {
			list = append(list, lineage.Run{First: from + 2*n*mapRun, Count: mapRun, Blob: blob, Page: (1 + n) * mapRun})
		}
		return lineage.NewView(testPages).With(list)
	}
	many, others := view(60, 4096), view(60, 4096+mapRun)
	p, mem := planOf(t, lineage.NewView(testPages), stingy{})
	for round := range 3 {
		for _, v := range []*lineage.View{many, others} {
			moved, err := p.deploy(v)
			if err != nil || mem.Mappings() > MachineMappings || moved.Mapped < 15*mapRun {
				t.Errorf("round %d: %+v, %d mappings, %v", round, moved, mem.Mappings(), err)
			}
		}
	}
	lender := new(counted)
	p, mem = planOf(t, lineage.NewView(testPages), lender)
	if _, err := p.deploy(many); err != nil || lender.lent < 60 {
		t.Fatalf("%d lent, %v", lender.lent, err)
	}
	whole := lineage.NewView(testPages).With([]lineage.Run{{First: 4096, Count: 120 * mapRun, Blob: pagedBlob(t, 120*mapRun, 0)}})
	if _, err := p.deploy(whole); err != nil {
		t.Fatal(err)
	}
	if most := max(mem.Mappings()-MachineMappings, 0) + 32; lender.lent > most {
		t.Errorf("%d lent with %d mappings", lender.lent, mem.Mappings())
	}
}
