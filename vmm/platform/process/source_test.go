package process

import (
	"math/rand/v2"
	"os"
	"testing"
)

// TestRunsAgainstTable: runs say of each page what a plain table says, stay in
// order and count references right, whatever is put over what.
func TestRunsAgainstTable(t *testing.T) {
	const pages = 64
	type place struct {
		s   *source
		off int64
	}
	files := []*source{{}, {}, {}}
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		var rs runs
		var table [pages]place
		refs := map[*source]int{}
		for range 40 {
			n := run{first: r.Uint64N(pages), off: int64(r.IntN(100)) * pageSize}
			n.count = 1 + r.Uint64N(min(pages-n.first, 12))
			if r.IntN(4) > 0 {
				n.source = files[r.IntN(len(files))]
				refs[n.source]++
			}
			for page := n.first; page < n.end(); page++ {
				table[page] = place{n.source, n.off + int64((page-n.first)*pageSize)}
			}
			var lost, won []*source
			rs, lost, won = rs.replace(n)
			for _, s := range lost {
				refs[s]--
			}
			for _, s := range won {
				refs[s]++
			}
		}
		count := map[*source]int{}
		for i, x := range rs {
			count[x.source]++
			if i > 0 && rs[i-1].end() > x.first || x.count == 0 {
				t.Fatalf("round %d: runs %+v", round, rs)
			}
		}
		for _, s := range files {
			if count[s] != refs[s] {
				t.Fatalf("round %d: %d runs of a source with %d references", round, count[s], refs[s])
			}
		}
		for page := range uint64(pages) {
			x := rs.find(page)
			switch {
			case x == nil && table[page].s != nil, x != nil && x.source != table[page].s:
				t.Fatalf("round %d: page %d: %+v, want %+v", round, page, x, table[page])
			case x != nil && x.off+int64((page-x.first)*pageSize) != table[page].off:
				t.Fatalf("round %d: page %d: offset of %+v, want %d", round, page, x, table[page].off)
			}
		}
	}
}

// TestSourcesAreShared: a file is opened and mapped once, and closed with its
// last user.
func TestSourcesAreShared(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/blob")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, 3*pageSize)); err != nil {
		t.Fatal(err)
	}
	var s sources
	a, err := s.get(f)
	if err != nil {
		t.Fatal(err)
	}
	again, err := os.Open(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	b, err := s.get(again)
	if err != nil || a != b || len(a.data) != 3*pageSize {
		t.Fatalf("%p and %p, %v", a, b, err)
	}
	if err := s.release(a, 1); err != nil || len(s.open) != 1 {
		t.Errorf("%v, %d open", err, len(s.open))
	}
	if err := s.release(b, 1); err != nil || len(s.open) != 0 {
		t.Errorf("%v, %d open", err, len(s.open))
	}
}
