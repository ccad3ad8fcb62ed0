package lineage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"seuss/lineage/nodefile"
	"seuss/lineage/sealed"
	"seuss/lineage/sealed/sealedtest"
)

var bothForms = []nodefile.Form{nodefile.FormPages, nodefile.FormDifferences}

// sealedNode returns a store directory, a node's id and path, and its file, which
// is of the given form.
func sealedNode(t testing.TB, form nodefile.Form) (dir string, n *Node, path string, file []byte) {
	t.Helper()
	dir = t.TempDir()
	s := openStoreAs(t, dir, Options{Form: form})
	nodes, _ := testTree(t, s)
	n = nodes[3]
	path = s.nodePath(n.ID)
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, n, path, file
}

// One flipped bit in any section is found before anything of it is used, and
// the error names the node.
func TestSectionBitFlips(t *testing.T) {
	for _, form := range bothForms {
		t.Run(form.String(), func(t *testing.T) { testSectionBitFlips(t, form) })
	}
}

func testSectionBitFlips(t *testing.T, form nodefile.Form) {
	dir, n, path, file := sealedNode(t, form)
	h, err := nodefile.ReadHeader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(5, 5))
	for id := range nodefile.SectionCount {
		for range 8 {
			sec := h.Sections[id]
			if sec.Length == 0 {
				continue // machine state beside differences
			}
			at := sec.Offset + r.Uint64N(sec.Length)
			sealedtest.Damage(t, path, func([]byte) []byte {
				b := bytes.Clone(file)
				b[at] ^= 1 << r.IntN(8)
				return b
			})
			s, err := Open(dir, Options{ReadOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			var got error
			if id == nodefile.SectionMetadata { // found by opening, with what hangs below
				d := s.Damaged()
				if len(d) != 3 || d[0].Path != path {
					t.Fatalf("damaged: %v", d)
				}
				got = d[0].Err
				if !errors.Is(d[1].Err, ErrOrphan) || !errors.Is(d[2].Err, ErrOrphan) {
					t.Fatalf("children of a damaged node: %v, %v", d[1].Err, d[2].Err)
				}
			} else {
				var node *Node
				if node, got = s.Load(n.ID); node != nil {
					t.Fatalf("%v section: a damaged node was loaded", id)
				}
				for _, child := range s.Children(n.ID) {
					if _, err := s.Load(child.ID); !errors.Is(err, nodefile.ErrChecksum) || !strings.Contains(err.Error(), n.ID) {
						t.Fatalf("%v section: child: %v", id, err)
					}
				}
				if err := (Inspection{s}).Verify(n.ID); !errors.Is(err, nodefile.ErrChecksum) {
					t.Fatalf("%v section: verify: %v", id, err)
				}
				if _, err := s.Load(n.Parent); err != nil {
					t.Fatalf("%v section: parent: %v", id, err)
				}
			}
			if !errors.Is(got, nodefile.ErrChecksum) || !strings.Contains(got.Error(), n.ID) || !strings.Contains(got.Error(), id.String()) {
				t.Fatalf("%v section, byte %d: %v", id, at, got)
			}
			if id == nodefile.SectionData && form == nodefile.FormPages {
				page := (at - sec.Offset) / nodefile.PageSize
				if want := fmt.Sprintf("data page %d ", page); !strings.Contains(got.Error(), want) || !strings.Contains(got.Error(), "guest page 0x") {
					t.Fatalf("byte %d: %v, want %q", at, got, want)
				}
			}
			s.Close()
		}
	}
}

func TestImageFlip(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	image := addTestImage(t, s)
	path := s.ImagePath(image.ImageDigest)
	for name, c := range map[string]struct {
		change func(b []byte) []byte
		want   error
	}{
		"flip":      {func(b []byte) []byte { b[20*nodefile.PageSize+5] ^= 4; return b }, nodefile.ErrChecksum},
		"truncated": {func(b []byte) []byte { return b[:39*nodefile.PageSize] }, nodefile.ErrLength},
		"extended":  {func(b []byte) []byte { return append(b, make([]byte, nodefile.PageSize)...) }, nodefile.ErrLength},
	} {
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		sealedtest.Damage(t, path, c.change)
		ro, err := Open(dir, Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ro.Load(image.ID); !errors.Is(err, c.want) {
			t.Errorf("%s: load: %v", name, err)
		}
		if err := (Inspection{ro}).Verify(image.ID); !errors.Is(err, c.want) {
			t.Errorf("%s: verify: %v", name, err)
		}
		ro.Close()
		sealedtest.Damage(t, path, func([]byte) []byte { return good })
	}
}

// A file whose checksums are right but whose content is another node's.
func TestForgedNode(t *testing.T) {
	dir, n, path, file := sealedNode(t, nodefile.FormPages)
	h, err := nodefile.ReadHeader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	forge := func(change func(b []byte)) *Store {
		sealedtest.Damage(t, path, func([]byte) []byte {
			b := bytes.Clone(file)
			change(b)
			for id := range nodefile.SectionCount {
				if sec := h.Sections[id]; id != nodefile.SectionData {
					binary.LittleEndian.PutUint32(b[nodefile.HeaderSectionStart+int(id)*nodefile.HeaderSectionBytes+16:], nodefile.Checksum(b[sec.Offset:sec.Offset+sec.Length]))
				}
			}
			nodefile.ResealHeader(b)
			return b
		})
		s, err := Open(dir, Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := forge(func(b []byte) { b[h.Sections[nodefile.SectionState].Offset] ^= 1 })
	if _, err := s.Load(n.ID); err != nil {
		t.Errorf("load: %v", err)
	}
	if err := (Inspection{s}).Verify(n.ID); !errors.Is(err, nodefile.ErrIdentity) {
		t.Errorf("other state: %v", err)
	}
	s = forge(func(b []byte) { // a run that leaves the data section
		at := h.Sections[nodefile.SectionIndex].Offset
		b[skipVarints(b, at, 5)] = 0x7f
	})
	if _, err := s.Load(n.ID); !errors.Is(err, nodefile.ErrFormat) {
		t.Errorf("forged run: %v", err)
	}
	s = forge(func(b []byte) { // a smaller guest
		binary.PutUvarint(b[h.Sections[nodefile.SectionIndex].Offset:], testGuestPages-1)
	})
	if _, err := s.Load(n.ID); !errors.Is(err, nodefile.ErrFormat) {
		t.Errorf("forged guest size: %v", err)
	}
	// A node that is its own parent hangs on no root.
	s = forge(func(b []byte) {
		sec := h.Sections[nodefile.SectionMetadata]
		meta := b[sec.Offset : sec.Offset+sec.Length]
		copy(meta, bytes.Replace(bytes.Clone(meta), []byte(n.Parent), []byte(n.ID), 1))
	})
	if d := s.Damaged(); len(d) != 3 || !errors.Is(d[0].Err, ErrOrphan) {
		t.Errorf("circle: %v", d)
	}
	// A good file under a wrong name.
	sealedtest.Damage(t, path, func([]byte) []byte { return file })
	other := strings.Repeat("0", 64)
	if err := os.WriteFile(s.nodePath(other), file, sealed.Mode); err != nil {
		t.Fatal(err)
	}
	s, err = Open(dir, Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if d := s.Damaged(); len(d) != 1 || !errors.Is(d[0].Err, nodefile.ErrIdentity) {
		t.Errorf("wrong name: %v", d)
	}
}

// skipVarints returns where the n-th number after the one at offset at begins.
func skipVarints(b []byte, at uint64, n int) uint64 {
	for ; n > 0; n-- {
		_, size := binary.Uvarint(b[at:])
		at += uint64(size)
	}
	return at
}
