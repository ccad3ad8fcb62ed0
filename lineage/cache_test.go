package lineage

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"seuss/lineage/nodefile"
	"seuss/lineage/sealed/sealedtest"
)

// A store that is opened with the cache is the same as one without, whatever
// changed since the cache was written.
func TestCatalogueCache(t *testing.T) {
	dir := t.TempDir()
	s := openStoreAs(t, dir, Options{cacheMisses: 1})
	nodes, _ := testTree(t, s)
	s.Close() // writes it
	if _, err := os.Stat(s.path(cacheName)); err != nil {
		t.Fatal(err)
	}
	if entries := (scanner{s}).readCache(); len(entries) != 6 {
		t.Fatalf("%d entries after the first Close", len(entries))
	}
	if err := os.Remove(s.path(cacheName)); err != nil {
		t.Fatal(err)
	}
	same := func(want int) *Store {
		t.Helper()
		s := openStoreAs(t, dir, Options{cacheMisses: 1})
		if len(s.List()) != want || len(s.Damaged()) != 0 {
			t.Fatalf("%d nodes, want %d; damaged %v", len(s.List()), want, s.Damaged())
		}
		for _, n := range s.List() {
			for _, w := range nodes {
				if n.ID == w.ID && (!sameInfo(&n.Info, &w.Info) || n.StoredBytes() == 0) {
					t.Fatalf("%+v, want %+v", n.Info, w.Info)
				}
			}
		}
		if faults, err := (Inspection{s}).Audit(t.Context(), nil, nil); err != nil || len(faults) > 0 {
			t.Fatal(faults, err)
		}
		return s
	}
	s = same(6) // writes it
	s.Close()
	path := s.path(cacheName)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s = same(6) // reads it
	if _, _, err := s.Reform(nodes[3].ID, nodefile.FormPages); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(nodes[5].ID, false); err != nil {
		t.Fatal(err)
	}
	s.Close()
	sealedtest.Damage(t, path, func([]byte) []byte { return good }) // an old one
	s = same(5)
	if n := s.lookup(nodes[3].ID); n.StoredBytes() < 10*nodefile.PageSize {
		t.Error("the size is that before the file was written anew")
	}
	s.Close()
	// A node that was damaged after the cache was written is found by opening.
	node := s.nodePath(nodes[2].ID)
	file, err := os.ReadFile(node)
	if err != nil {
		t.Fatal(err)
	}
	sealedtest.Damage(t, node, func(b []byte) []byte { b[0] ^= 1; return b })
	s = openStoreAs(t, dir, Options{ReadOnly: true})
	if len(s.Damaged()) != 3 || !errors.Is(s.Damaged()[0].Err, nodefile.ErrMagic) {
		t.Errorf("damaged: %v", s.Damaged())
	}
	sealedtest.Damage(t, node, func([]byte) []byte { return file })
	// Any damage of the cache itself costs nothing but time.
	for at := 0; at < len(good); at += 1 + len(good)/97 {
		sealedtest.Damage(t, path, func([]byte) []byte {
			b := bytes.Clone(good)
			b[at] ^= 4
			return b
		})
		same(5).Close()
	}
	for _, n := range []int{0, 7, nodefile.CacheHeaderBytes, len(good) / 2} {
		sealedtest.Damage(t, path, func([]byte) []byte { return good[:n] })
		same(5).Close()
	}
}
