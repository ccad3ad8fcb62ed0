package lineage

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"seuss/lineage/nodefile"
	"seuss/lineage/sealed"
)

// Golden stores are what the first release of each version wrote: they are read for
// ever, and the same content still has the same ids. -update-golden VERSION writes
// one anew.
var updateGolden = flag.Int("update-golden", 0, "write the golden store of this `version` of the node file anew")

// openGolden opens a copy of the golden store of a version, and compares it with what
// fill makes of an empty one.
func openGolden(t *testing.T, version int, fill func(*testing.T, *Store) ([]*Node, [][]byte)) *Store {
	t.Helper()
	golden := fmt.Sprintf("testdata/format-%d", version)
	if *updateGolden == version {
		if err := os.RemoveAll(golden); err != nil {
			t.Fatal(err)
		}
		s := openStore(t, golden)
		fill(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(golden, sealed.LockName)); err != nil {
			t.Fatal(err)
		}
	}
	s := openStore(t, copyTree(t, golden))
	nodes, mem := fill(t, openStore(t, t.TempDir()))
	if len(s.Damaged()) != 0 || len(s.List()) != len(nodes)+1 {
		t.Fatalf("%d nodes, damaged %v", len(s.List()), s.Damaged())
	}
	for i, want := range nodes {
		n, err := s.Load(want.ID)
		if err != nil {
			t.Fatal(err)
		}
		checkView(t, n.View(), mem[i])
		if !sameInfo(&n.Info, &want.Info) || !bytes.Equal(n.State(), want.State()) {
			t.Errorf("%+v, want %+v", n.Info, want.Info)
		}
		if err := (Inspection{s}).Verify(n.ID); err != nil {
			t.Error(err)
		}
	}
	return s
}

// goldenTree is what testdata/format-2 holds.
func goldenTree(t *testing.T, s *Store) (nodes []*Node, mem [][]byte) {
	image := addTestImage(t, s)
	r := rand.New(rand.NewPCG(2, 2))
	g := newGuest(testGuestPages)
	g.reset(image.View())
	parent := image
	for i, kind := range []nodefile.Kind{nodefile.KindBase, nodefile.KindFunction, nodefile.KindArgument} {
		g.scribble(r, 12)
		parent = capture(t, s, NodeSpec{
			Kind: kind, State: []byte(kind + " state"), Created: time.Unix(1700000000+int64(i), 0), ABIVersion: 2,
			Key: nodefile.Key{Function: "f", Handler: "m.h"}, CPUFeatures: nodefile.CPUFeatures{Opaque: "x", Named: []string{"avx2"}},
		}, parent, g)
		nodes, mem = append(nodes, parent), append(mem, bytes.Clone(g.mem))
	}
	return nodes, mem
}

func TestGoldenFormat2(t *testing.T) { openGolden(t, 2, goldenTree) }

// goldenSiblings is what testdata/format-3 holds.
func goldenSiblings(t *testing.T, s *Store) (nodes []*Node, mem [][]byte) {
	image := addTestImage(t, s)
	for i := range uint64(2) {
		g := newGuest(testGuestPages)
		g.reset(image.View())
		for p := range uint64(leastShared + 2) {
			g.fill(100+p+i*7, 1+p)
		}
		g.fill(600+i, 50+i)
		g.fill(40, 0)
		n := capture(t, s, NodeSpec{Kind: nodefile.KindImport, State: fmt.Append(nil, i), Created: time.Unix(1700000000+int64(i), 0), Key: nodefile.Key{Imports: []string{"m"}}}, image, g)
		nodes, mem = append(nodes, n), append(mem, bytes.Clone(g.mem))
	}
	return nodes, mem
}

// The link to a sibling's file may also be a file of its own, which a copy has made.
func TestGoldenFormat3(t *testing.T) {
	if s := openGolden(t, 3, goldenSiblings); links(t, s) != 1 {
		t.Errorf("%d links", links(t, s))
	}
}

// goldenDifferences is what testdata/format-4 holds: a small node, one that is all new,
// and a large one.
func goldenDifferences(t *testing.T, s *Store) (nodes []*Node, mem [][]byte) {
	parent := addTestImage(t, s)
	g := newGuest(testGuestPages)
	for i, pages := range []uint64{1, 20, 300} {
		g.reset(parent.View())
		for p := range pages {
			if page := g.page(300 + p*3); i == 0 {
				copy(page[p*80:], "a few words")
			} else {
				g.fill(300+p*3, uint64(i)*1000+p)
			}
			g.dirty.Add(300 + p*3)
		}
		g.fill(40, 0)
		parent = capture(t, s, NodeSpec{
			Kind: nodefile.KindFunction, State: bytes.Repeat([]byte("state "), 100*i), Created: time.Unix(1700000000+int64(i), 0), Key: nodefile.Key{Function: "f"},
		}, parent, g)
		nodes, mem = append(nodes, parent), append(mem, bytes.Clone(g.mem))
	}
	return nodes, mem
}

func TestGoldenFormat4(t *testing.T) {
	s := openGolden(t, 4, goldenDifferences)
	for _, n := range s.Kind(nodefile.KindFunction) {
		if h, _ := headerOf(t, s.nodePath(n.ID)); h.Version != nodefile.VersionDifferences {
			t.Errorf("version %d", h.Version)
		}
	}
}

func copyTree(t *testing.T, from string) string {
	t.Helper()
	dir := t.TempDir()
	err := fs.WalkDir(os.DirFS(from), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path == sealed.LockName {
			return err
		}
		b, err := os.ReadFile(filepath.Join(from, path))
		if err != nil {
			return err
		}
		to := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		return os.WriteFile(to, b, sealed.Mode)
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
