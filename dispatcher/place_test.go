package dispatcher

import (
	"bytes"
	"slices"
	"testing"

	"seuss/dirtytrack"
	"seuss/guest"
	"seuss/lineage"
	"seuss/vmm"
)

func TestPartStretches(t *testing.T) {
	const s = stretchPages
	for _, c := range []struct{ run, want []programRun }{
		{[]programRun{{2 * s, 3 * s, 7}}, nil},
		{[]programRun{{2 * s, 2*s + 5, 7}}, []programRun{{4 * s, 5, 7 + 2*s}}},
		{[]programRun{{2*s - 3, 2*s + 5, 7}}, []programRun{{2*s - 3, 3, 7}, {4 * s, 2, 10 + 2*s}}},
		{[]programRun{{2*s + 1, 10, 7}}, []programRun{{2*s + 1, 10, 7}}},
		{[]programRun{{2*s + 1, s, 7}}, []programRun{{2*s + 1, s, 7}}},
	} {
		got, total := partStretches(c.run)
		var want uint64
		for _, r := range c.want {
			want += r.count
		}
		if !slices.Equal(got, c.want) || total != want {
			t.Errorf("%v: %v, %d pages, want %v", c.run, got, total, c.want)
		}
	}
}

// TestPlaceProgram: whatever way a program's pages take into memory, they are there, and
// the monitor knows that it wrote what it copied.
func TestPlaceProgram(t *testing.T) {
	const low = guest.ProgramGPA / lineage.PageSize
	content := func(p []byte, r programRun) error {
		for i := range p {
			p[i] = byte(r.filePage) + byte(i/lineage.PageSize) + 1
		}
		return nil
	}
	for what, c := range map[string]struct {
		runs   []programRun
		copied uint64
	}{
		"small":  {[]programRun{{low, 100, 0}}, 0},
		"medium": {[]programRun{{low, 600, 0}, {low + 600, 40, 900}}, 640},
		"large":  {[]programRun{{low, 5000, 0}, {low + 5000, 40, 9000}}, 5000%stretchPages + 40},
	} {
		mem, err := vmm.NewMemory(64<<20, 0)
		if err != nil {
			t.Fatal(err)
		}
		placed, err := placeProgram(mem, c.runs, content)
		if err != nil {
			t.Fatal(what, err)
		}
		if offered, _ := mem.PreferHuge(low, 1); !offered {
			c.copied = 0 // then it stays as it is mapped
		}
		var n uint64
		for _, r := range placed {
			n += r.count
			want := make([]byte, lineage.PageSize*r.count)
			content(want, r)
			if !bytes.Equal(mem.Bytes()[r.first*lineage.PageSize:][:len(want)], want) {
				t.Errorf("%s: pages %d+%d have other content", what, r.first, r.count)
			}
		}
		if n != c.copied || mem.HostWritten().Len() != n {
			t.Errorf("%s: %d pages were copied, of %d the monitor knows, want %d", what, n, mem.HostWritten().Len(), c.copied)
		}
		if err := mem.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestHugePages: images in huge pages change nothing that a machine shows. Where the
// host gives none, there are no copies.
func TestHugePages(t *testing.T) {
	b := newColdBench(t)
	before := lineage.HugeBytes()
	d := b.open(Options{HugePages: true, Verify: lineage.VerifyDemand})
	defer b.close(d)
	for range 3 {
		if err := b.invoke(d, `"1", "77"`); err != nil {
			t.Fatal(err)
		}
	}
	b.sameMemory(d)
	root := d.store.Kind(lineage.KindImage)[0]
	if copied := lineage.HugeBytes() > before; copied != lineage.HugePagesOffered() {
		t.Errorf("copied: %v, although the host offers huge pages: %v", copied, !copied)
	}
	if d.Stats().HugePageBytes != lineage.HugeBytes() {
		t.Error("the statistics say something else")
	}
	if err := root.Blob().Verify(); err != nil {
		t.Error(err)
	}
	for page := range root.Blob().Pages() {
		if err := root.Blob().Check(page, 1); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWrittenPages: the pages that the first instance in a new machine writes are private
// ahead in the next ones, which show the node all the same and answer the same.
func TestWrittenPages(t *testing.T) {
	b := newColdBench(t)
	d := b.open(Options{Verify: lineage.VerifyDemand})
	defer b.close(d)
	fresh := func(event string) *Result {
		t.Helper()
		r, err := d.Invoke(t.Context(), Request{Function: "cold", Event: []byte(event), Fresh: true})
		if err != nil || r.Error != nil {
			t.Fatal(err, r)
		}
		return r
	}
	first := fresh(`{"keys": ["1", "77"]}`)
	f, err := d.catalog.function("cold")
	if err != nil {
		t.Fatal(err)
	}
	written := f.node.written.Load()
	s, err := d.newShell(f.image, f.node.view)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if _, err := s.bring(f.node); err != nil {
		t.Fatal(err)
	}
	if shares := s.m.Memory().SharesWindow(); shares != (written != nil) {
		t.Fatalf("pages were learned: %v, and can be made private ahead: %v", written != nil, shares)
	}
	if written != nil {
		found := dirtytrack.NewPageSet(s.m.Memory().Pages())
		if err := s.layout.tracker.Collect(found); err != nil {
			t.Fatal(err)
		}
		for page := range written.All() {
			if !found.Has(page) || !s.layout.private.Has(page) {
				t.Fatalf("page %#x of %d is not private", page, written.Len())
			}
		}
		if written.Len() < 20 || written.Len() > maxWritten {
			t.Errorf("%d pages", written.Len())
		}
	}
	b.sameMemory(d)
	for range 3 {
		if again := fresh(`{"keys": ["1", "77"]}`); !bytes.Equal(again.Output, first.Output) {
			t.Errorf("answer %s, first %s", again.Output, first.Output)
		}
	}
	if f.node.written.Load() != written {
		t.Error("what was populated was taken for what was written")
	}
}
