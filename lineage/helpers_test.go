package lineage

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"seuss/dirtytrack"
	"seuss/lineage/nodefile"
	"seuss/lineage/pages"
)

// memory is a guest's as a machine would have it, with the pages written since the
// last capture.
type memory struct {
	mem   []byte
	dirty *dirtytrack.PageSet
}

func newGuest(pages uint64) *memory {
	return &memory{make([]byte, pages*nodefile.PageSize), dirtytrack.NewPageSet(pages)}
}

func (g *memory) page(p uint64) []byte { return g.mem[p*nodefile.PageSize : (p+1)*nodefile.PageSize] }
func (g *memory) pages() uint64        { return uint64(len(g.mem)) / nodefile.PageSize }

// fill writes a page whose content depends on seed only; seed 0 is zero.
func (g *memory) fill(p, seed uint64) {
	page := g.page(p)
	clear(page)
	if seed != 0 {
		for i := 0; i < nodefile.PageSize; i += 64 {
			binary.LittleEndian.PutUint64(page[i:], seed*0x9e3779b97f4a7c15+uint64(i))
		}
	}
	g.dirty.Add(p)
}

// scribble changes about n pages: new content, content seen before, zero, or
// the same again.
func (g *memory) scribble(r *rand.Rand, n int) {
	for range n {
		p := r.Uint64N(g.pages())
		switch r.IntN(5) {
		case 0, 1:
			g.fill(p, 1+r.Uint64())
		case 2:
			g.fill(p, 1+r.Uint64N(4))
		case 3:
			g.fill(p, 0)
		case 4:
			g.dirty.Add(p)
		}
	}
}

func (g *memory) reset(v *pages.View) {
	for p := range g.pages() {
		copy(g.page(p), nodefile.OrZero(v.Bytes(p)))
	}
	g.dirty.Clear()
}

// checkView compares a view with what the guest had, first as a machine copies it.
func checkView(t testing.TB, v *pages.View, want []byte) {
	t.Helper()
	if v == nil {
		t.Fatal("no view")
	}
	if v.Pages() != uint64(len(want))/nodefile.PageSize {
		t.Fatalf("view of %d pages, want %d", v.Pages(), len(want)/nodefile.PageSize)
	}
	page := make([]byte, nodefile.PageSize)
	for p := range v.Pages() {
		if err := v.CopyPage(page, p); err != nil || !bytes.Equal(page, want[p*nodefile.PageSize:(p+1)*nodefile.PageSize]) {
			t.Fatalf("page %d differs where it is copied: %v", p, err)
		}
	}
	for p := range v.Pages() {
		if !bytes.Equal(nodefile.OrZero(v.Bytes(p)), want[p*nodefile.PageSize:(p+1)*nodefile.PageSize]) {
			t.Fatalf("page %d differs", p)
		}
	}
}

// digestOf is the digest of something as a text.
func digestOf(b []byte) string { return nodefile.Digest(sha256.Sum256(b)).String() }

func openStore(t testing.TB, dir string) *Store {
	t.Helper()
	return openStoreAs(t, dir, Options{})
}

func openStoreAs(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

const testGuestPages = 1200 // three chunks, the last one partial

// addTestImage adds an image of 40 pages, of which 30 are placed.
func addTestImage(t testing.TB, s *Store) *Node {
	t.Helper()
	return addTestImageOf(t, s, testGuestPages)
}

// addTestImageOf is addTestImage for a guest of so many pages.
func addTestImageOf(t testing.TB, s *Store, pages uint64) *Node {
	t.Helper()
	data := make([]byte, 40*nodefile.PageSize)
	for p := range 40 {
		copy(data[p*nodefile.PageSize:], fmt.Sprintf("image page %d", p))
	}
	digest := fmt.Sprintf("%x", sha256.Sum256(data))
	path := s.ImagePath(digest)
	if _, err := os.Stat(path); err != nil {
		if err := os.WriteFile(path, data, 0o444); err != nil {
			t.Fatal(err)
		}
	}
	n, err := s.AddImage(digest, path, pages, []ImageRun{
		{First: 32, Count: 10, FilePage: 1}, {First: 505, Count: 20, FilePage: 15},
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func capture(t testing.TB, s *Store, spec NodeSpec, parent *Node, g *memory) *Node {
	t.Helper()
	if spec.Kind == "" {
		spec.Kind = nodefile.KindFunction
	}
	n, err := s.Capture(spec, parent, g.dirty, g.page)
	if err != nil {
		t.Fatal(err)
	}
	g.dirty.Clear()
	return n
}

// testTree makes image - base - import - function - two arguments, and returns
// the nodes from the root on with what each one's guest held.
func testTree(t testing.TB, s *Store) (nodes []*Node, mem [][]byte) {
	t.Helper()
	r := rand.New(rand.NewPCG(42, 42))
	image := addTestImage(t, s)
	g := newGuest(testGuestPages)
	g.reset(image.View())
	keep := func(n *Node) {
		nodes = append(nodes, n)
		mem = append(mem, bytes.Clone(g.mem))
	}
	keep(image)
	next := func(parent *Node, spec NodeSpec, writes int) *Node {
		g.scribble(r, writes)
		spec.State = fmt.Appendf(nil, "state of %s", spec.Kind)
		n := capture(t, s, spec, parent, g)
		keep(n)
		return n
	}
	base := next(image, NodeSpec{Kind: nodefile.KindBase, ABIVersion: 1}, 300)
	imports := next(base, NodeSpec{Kind: nodefile.KindImport, Key: nodefile.Key{Imports: []string{"json", "re"}}}, 200)
	function := next(imports, NodeSpec{Kind: nodefile.KindFunction, Key: nodefile.Key{Function: "hello", Handler: "main.run", CodeDigest: digestOf([]byte("x")), Lazy: true}}, 100)
	key := function.Key
	key.Args, key.NextKey = []nodefile.Binding{{Key: "a", Digest: digestOf([]byte("1")), Preview: "1"}}, "b"
	next(function, NodeSpec{Kind: nodefile.KindArgument, Key: key, Purity: nodefile.Purity{Clock: 2, Reasons: []string{"clock_gettime"}}}, 60)
	g.reset(function.View())
	key.Args = []nodefile.Binding{{Key: "a", Digest: digestOf([]byte("2")), Preview: nodefile.Preview([]byte("2ß"))}}
	next(function, NodeSpec{Kind: nodefile.KindArgument, Key: key}, 60)
	return nodes, mem
}
