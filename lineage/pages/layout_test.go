package pages

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

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
	allFlats.bytes.Store(maxFlatBytes)
	defer allFlats.bytes.Store(int64(before))
	b := testBlob(t, "a", 2)
	v := NewView(4).With([]Run{{First: 0, Count: 1, Blob: b}, {First: 2, Count: 1, Blob: b, Page: 1}})
	if l, err := Lay(v, 1); l != nil || err != nil {
		t.Errorf("%+v, %v", l, err)
	}
	if l, err := Lay(v, 4); l == nil || err != nil || l.Flat != nil {
		t.Errorf("one that needs no copy: %+v, %v", l, err)
	}
}

// TestStretches: stretches are shown in full, the last as far as one layout may go, and what
// all of them take is half of what copies may, in bytes and in number: an image is laid all
// the same.
func TestStretches(t *testing.T) {
	b := testBlob(t, "a", 64)
	const size = maxStretchBytes / nodefile.PageSize
	var runs []Run
	for n := range uint64(64) {
		runs = append(runs, Run{First: 63 - n, Count: 1, Blob: b, Page: n}, Run{First: 100 + size + 2*n, Count: 1, Blob: b, Page: n})
	}
	v := NewView(100 + 2*size).With(runs)
	l, err := LayStretches(v, []Stretch{{0, 64}, {200, size}, {100 + size, 128}})
	if err != nil || len(l.Pieces) != 2 || l.Pieces[0].Count != 64 || l.Pieces[1].Count != size-64 {
		t.Fatalf("%+v, %v", l, err)
	}
	var page [nodefile.PageSize]byte
	for n := range uint64(64) {
		if err := l.Flat.Fill(n, 1); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Flat.File().ReadAt(page[:], int64(n*nodefile.PageSize)); err != nil || !bytes.Equal(page[:], v.Bytes(n)) {
			t.Errorf("page %d is another one: %v", n, err)
		}
	}
	var all []*Layout
	for i := 0; ; i++ {
		more, err := LayStretches(v, []Stretch{{0, 1}})
		if err != nil {
			t.Fatal(err)
		}
		if more == nil {
			break
		}
		if all = append(all, more); len(all) > maxFlats/2 {
			t.Fatal("as many as one likes")
		}
	}
	if len(all) < maxFlats/2-64 { // those of other tests may not be collected yet
		t.Errorf("%d copies", len(all))
	}
	if l, err := Lay(v, 1); l == nil || err != nil {
		t.Errorf("an image is not laid: %v", err)
	}
	runtime.KeepAlive(l)
	runtime.KeepAlive(all)
	all = nil
	for limit := time.Now().Add(10 * time.Second); stretchFlats.count.Load() > maxFlats/4; time.Sleep(time.Millisecond) {
		if runtime.GC(); time.Now().After(limit) {
			t.Fatal("copies that nobody maps keep their room")
		}
	}
}

// TestFlatCloses: a copy that is full can be written to no more, and is there.
func TestFlatCloses(t *testing.T) {
	b := testBlob(t, "a", 70)
	v := NewView(70).With([]Run{{Count: 70, Blob: b}})
	l, err := LayStretches(v, []Stretch{{0, 70}})
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for n := range uint64(7) {
		wait.Go(func() {
			if err := l.Flat.Fill(10*n, 10); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if _, err := l.Flat.into.WriteAt([]byte{1}, 0); !errors.Is(err, os.ErrClosed) {
		t.Errorf("written to: %v", err)
	}
	if err := l.Flat.Fill(0, 70); err != nil || !l.Flat.Filled(0, 70) {
		t.Error(err)
	}
}
