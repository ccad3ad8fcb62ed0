package oci

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"testing"

	"seuss/dirtytrack"
	"seuss/lineage"
)

const guestPages = 600

func openStore(t testing.TB) *lineage.Store {
	t.Helper()
	s, err := lineage.Open(t.TempDir(), lineage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

var cpu = lineage.CPUFeatures{Opaque: "test", Named: []string{"avx2", "sha_ni"}}

// testTree makes image, base and two functions, and returns the nodes and what
// each one's guest holds.
func testTree(t testing.TB, s *lineage.Store) (nodes []*lineage.Node, mem [][]byte) {
	t.Helper()
	data := make([]byte, 50*lineage.PageSize)
	for p := range 50 {
		copy(data[p*lineage.PageSize:], fmt.Sprintf("image page %d", p))
	}
	digest := fmt.Sprintf("%x", sha256.Sum256(data))
	if err := os.WriteFile(s.ImagePath(digest), data, 0o444); err != nil {
		t.Fatal(err)
	}
	image, err := s.AddImage(digest, s.ImagePath(digest), guestPages, []lineage.ImageRun{{First: 100, Count: 50}})
	if err != nil {
		t.Fatal(err)
	}
	nodes, mem = append(nodes, image), append(mem, memory(image.View()))
	add := func(parent int, kind lineage.Kind, function string, first, count uint64) {
		own := bytes.Clone(mem[parent])
		dirty := dirtytrack.NewPageSet(guestPages)
		for p := first; p < first+count; p++ {
			copy(own[p*lineage.PageSize+300:], fmt.Sprintf("%s %s page %d", kind, function, p))
			dirty.Add(p)
		}
		n, err := s.Capture(lineage.NodeSpec{
			Kind: kind, Key: lineage.Key{Function: function, Handler: "h"}, State: []byte("state of " + function), ABIVersion: 7, CPUFeatures: cpu,
		}, nodes[parent], dirty, func(p uint64) []byte { return own[p*lineage.PageSize : (p+1)*lineage.PageSize] })
		if err != nil {
			t.Fatal(err)
		}
		nodes, mem = append(nodes, n), append(mem, own)
	}
	add(0, lineage.KindBase, "", 120, 300)
	add(1, lineage.KindFunction, "one", 400, 60)
	add(1, lineage.KindFunction, "two", 410, 80)
	return nodes, mem
}

func memory(v *lineage.View) []byte {
	out := make([]byte, v.Pages()*lineage.PageSize)
	for p := range v.Pages() {
		copy(out[p*lineage.PageSize:], v.Bytes(p))
	}
	return out
}

// accept is what fits the nodes of testTree.
func accept() ImportOptions {
	return ImportOptions{ABIVersion: 7, CheckImage: func(path, digest string) error {
		b, err := os.ReadFile(path)
		if err == nil && fmt.Sprintf("%x", sha256.Sum256(b)) != digest {
			err = fmt.Errorf("image is not %s: %w", digest, lineage.ErrChecksum)
		}
		return err
	}}
}

func export(t testing.TB, s *lineage.Store, id string) *Bundle {
	t.Helper()
	b, err := Export(s, id, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// checkImported compares a node and its ancestors in another store.
func checkImported(t testing.TB, s *lineage.Store, n *lineage.Node, mem []byte) {
	t.Helper()
	got, err := s.Snapshot(n.ID)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(memory(got.View), mem) || !bytes.Equal(got.State, n.State()) {
		t.Fatalf("node %s has other memory or state", n.ID)
	}
	if faults, err := s.Inspect().Audit(t.Context(), nil, nil); err != nil || len(faults) > 0 {
		t.Fatal(faults, err)
	}
}

// noTraces checks that nothing of a refused import shows.
func noTraces(t testing.TB, s *lineage.Store) {
	t.Helper()
	if n := s.List(); len(n) != 0 {
		t.Errorf("%d nodes are left", len(n))
	}
	for _, dir := range []string{"nodes", "images"} {
		entries, err := os.ReadDir(s.Dir() + "/" + dir)
		if err != nil || len(entries) != 0 {
			t.Errorf("%s holds %v, %v", dir, entries, err)
		}
	}
}

// take imports from what open returned.
func take(s *lineage.Store, o ImportOptions) func(*Source, error) (*Imported, error) {
	return func(src *Source, err error) (*Imported, error) {
		if err != nil {
			return nil, err
		}
		done, err := Import(s, src, o)
		return done, errors.Join(err, src.Close())
	}
}
