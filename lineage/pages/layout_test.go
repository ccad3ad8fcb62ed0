package pages

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"seuss/guest"
	"seuss/lineage/nodefile"
)

// TestLayoutShowsTheView: whatever the View and however few mappings there may be, a
// layout keeps to them and shows each page as the View does, wherever its copy is filled.
func TestLayoutShowsTheView(t *testing.T) {
	blobs := []*Blob{testBlob(t, "a", 400), testBlob(t, "b", 90)}
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 7))
		model := make([]backing, 1+r.IntN(6000))
		v := NewView(uint64(len(model)))
		for range r.IntN(30) {
			v = v.With(randomRuns(r, model, blobs))
		}
		most := 1 + r.IntN(40)
		l, err := Lay(v, most)
		if err != nil {
			t.Fatal(err)
		}
		if len(l.Pieces) > most {
			t.Fatalf("seed %d: %d pieces, at most %d", seed, len(l.Pieces), most)
		}
		var page [nodefile.PageSize]byte
		next := uint64(0)
		for _, p := range l.Pieces {
			if p.First != next || p.Count == 0 {
				t.Fatalf("seed %d: %+v follows page %d", seed, p, next)
			}
			next += p.Count
			for i := range p.Count {
				if !p.Flat {
					if at := v.Lookup(p.First + i); at.Blob != p.Blob || p.Blob != nil && at.Page != p.Page+i {
						t.Fatalf("seed %d, page %d: %+v, want %+v", seed, p.First+i, p, at)
					}
					continue
				}
				if r.IntN(3) == 0 {
					err = l.Flat.FillGuest(p.First+i, min(3, p.Count-i))
				} else {
					err = l.Flat.Fill(p.Page+i, 1)
				}
				if err != nil || !l.Flat.Filled(p.Page+i, 1) || !l.Flat.filledGuest(p.First+i, 1) {
					t.Fatalf("seed %d, page %d: not filled: %v", seed, p.First+i, err)
				}
				if _, err := l.Flat.File().ReadAt(page[:], int64((p.Page+i)*nodefile.PageSize)); err != nil {
					t.Fatal(err)
				}
				want := v.Bytes(p.First + i)
				if want == nil {
					want = guest.ZeroPage[:]
				}
				if !bytes.Equal(page[:], want) {
					t.Fatalf("seed %d: page %d of the copy is another one", seed, p.First+i)
				}
			}
		}
		if next != v.Pages() {
			t.Fatalf("seed %d: %d pages of %d", seed, next, v.Pages())
		}
	}
}

// TestLayoutOfTenThousandRuns: a View of one page here and one there takes few mappings.
func TestLayoutOfTenThousandRuns(t *testing.T) {
	b := testBlob(t, "a", 10000)
	var runs []Run
	for n := range uint64(10000) {
		runs = append(runs, Run{First: 3 * n, Count: 1, Blob: b, Page: n})
	}
	l, err := Lay(NewView(1<<20).With(runs), 32)
	if err != nil || len(l.Pieces) > 32 {
		t.Fatalf("%d pieces, %v", len(l.Pieces), err)
	}
	if l.Flat.pages < 10000 || l.Flat.pages > 30000 {
		t.Errorf("%d pages are copied", l.Flat.pages)
	}
}

// TestFlatIsChecked: a page that is damaged in its file is not shown by a copy.
func TestFlatIsChecked(t *testing.T) {
	b := testBlob(t, "a", 64)
	b.index.Sums[7] ^= 1
	var runs []Run
	for n := range uint64(64) {
		runs = append(runs, Run{First: 2 * n, Count: 1, Blob: b, Page: n})
	}
	l, err := Lay(NewView(128).With(runs), 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Flat.Fill(0, 128); !errors.Is(err, nodefile.ErrChecksum) || l.Flat.Filled(14, 1) {
		t.Errorf("%v", err)
	}
	if err := l.Flat.Fill(64, 64); err != nil {
		t.Error(err)
	}
}

// TestFlatBound: what copies may take of a process is bounded; beyond it there is none,
// which is no error.
func TestFlatBound(t *testing.T) {
	before := FlatBytes()
	flatBytes.Store(maxFlatBytes)
	defer flatBytes.Store(int64(before))
	b := testBlob(t, "a", 2)
	v := NewView(4).With([]Run{{First: 0, Count: 1, Blob: b}, {First: 2, Count: 1, Blob: b, Page: 1}})
	if l, err := Lay(v, 1); l != nil || err != nil {
		t.Errorf("%+v, %v", l, err)
	}
	if l, err := Lay(v, 4); l == nil || err != nil || l.Flat != nil {
		t.Errorf("one that needs no copy: %+v, %v", l, err)
	}
}
