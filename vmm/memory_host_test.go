package vmm

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"seuss/guest"
)

// TestOffer: of free pages those that hide nothing are dropped; what lies over a
// file stays as it is, and is told.
func TestOffer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "blob")
	if err := os.WriteFile(path, bytes.Repeat([]byte("f"), 4*pageSize), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const low = guest.LowGPA / pageSize
	type offer struct{ first, count, kept, keptCount uint64 }
	for _, o := range []offer{
		{100, 10, 103, 4}, {103, 4, 103, 4}, {104, 2, 104, 2}, {100, 3, 103, 0}, {107, 9, 116, 0}, {105, 5, 105, 2},
	} {
		m := newTestMemory(t, 4<<20, 0)
		if err := m.MapFile(103, 4, f, 0); err != nil {
			t.Fatal(err)
		}
		all, err := m.Slice(100*pageSize, 20*pageSize)
		if err != nil {
			t.Fatal(err)
		}
		for i := range all {
			all[i] = 'x'
		}
		first, count, err := m.Offer(o.first, o.count)
		if err != nil || first != o.kept || count != o.keptCount {
			t.Errorf("%+v: kept %d+%d, %v", o, first, count, err)
		}
		for page := uint64(100); page < 120; page++ {
			want := byte('x')
			if page >= o.first && page < o.first+o.count && (page < first || page >= first+count) {
				want = 0
			}
			if got := m.Page(page); got[0] != want || got[pageSize-1] != want {
				t.Errorf("%+v: page %d holds %q", o, page, got[0])
			}
			if m.GivenBack().Has(page) != (want == 0) {
				t.Errorf("%+v: page %d is not known as given back", o, page)
			}
		}
	}
	m := newTestMemory(t, 4<<20, 0)
	for _, o := range []offer{{low - 1, 2, 0, 0}, {1000, 25, 0, 0}, {low, 0, 0, 0}, {low, ^uint64(0), 0, 0}} {
		if _, _, err := m.Offer(o.first, o.count); err == nil {
			t.Errorf("%d pages from %d were taken", o.count, o.first)
		}
	}
}

// heldPager is a Pager whose pages are all there.
type heldPager struct{ f *os.File }

func (p heldPager) File() *os.File          { return p.f }
func (p heldPager) Fill(_, _ uint64) error  { return nil }
func (p heldPager) Filled(_, _ uint64) bool { return true }

// TestGiveBackOverPager: pages that show a file which is filled on demand are zeros when
// they were given back, not the file again.
func TestGiveBackOverPager(t *testing.T) {
	path := filepath.Join(t.TempDir(), "blob")
	if err := os.WriteFile(path, bytes.Repeat([]byte("f"), 4*pageSize), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m := newTestMemory(t, 4<<20, 0)
	if err := m.MapPager(300, 4, heldPager{f}, 0); err != nil {
		t.Fatal(err)
	}
	if err := m.GiveBack(298, 8); err != nil {
		t.Fatal(err)
	}
	for page := uint64(298); page < 306; page++ {
		if !bytes.Equal(m.Page(page), make([]byte, pageSize)) {
			t.Errorf("page %d is not zeros: %q", page, m.Page(page)[:4])
		}
	}
	if n := m.Mappings(); n != 3 {
		t.Errorf("%d mappings", n)
	}
}
