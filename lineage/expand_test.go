package lineage

import (
	"bytes"
	"errors"
	"runtime"
	"sync"
	"testing"

	"seuss/guest"
	"seuss/lineage/nodefile"
	"seuss/lineage/pages"
	"seuss/lineage/sealed/sealedtest"
)

// coldNode is a small node below one of the same kind, both stored as differences and
// not in memory, with what their guests held. All slabs that could be used again hold
// something else.
func coldNode(t *testing.T, verify pages.Verify) (s *Store, parent, n *Node, above, mem []byte) {
	t.Helper()
	dir := t.TempDir()
	s = openStore(t, dir)
	image := addTestImage(t, s)
	g := newGuest(testGuestPages)
	g.reset(image.View())
	for p := range uint64(40) {
		g.fill(30+p, 100+p)
	}
	parent = capture(t, s, NodeSpec{State: []byte("parent")}, image, g)
	above = bytes.Clone(g.mem)
	for p := range uint64(30) {
		copy(g.page(20 + p)[p*100:], "changed here")
		g.dirty.Add(20 + p)
	}
	g.fill(41, 0)
	g.fill(900, 9)
	n = capture(t, s, NodeSpec{State: []byte("node")}, parent, g)
	mem = g.mem
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStoreAs(t, dir, Options{Verify: verify})
	if err := pages.Poison(); err != nil {
		t.Fatal(err)
	}
	return s, parent, n, above, mem
}

var allVerify = []pages.Verify{pages.VerifyEager, pages.VerifyLazy, pages.VerifyDemand}

// The pages of a cold node are what they were, whichever way they are asked for first.
func TestExpandedWhenAsked(t *testing.T) {
	for _, verify := range allVerify {
		for name, ask := range map[string]func(v *pages.View, page uint64) []byte{
			"bytes": func(v *pages.View, page uint64) []byte { return nodefile.OrZero(v.Bytes(page)) },
			"copy": func(v *pages.View, page uint64) []byte {
				b := bytes.Repeat([]byte{0xdd}, nodefile.PageSize)
				if err := v.CopyPage(b, page); err != nil {
					t.Error(err)
				}
				return b
			},
			"file": func(v *pages.View, page uint64) []byte {
				r := v.Lookup(page)
				if r.Blob == nil {
					return guest.ZeroPage[:]
				}
				b := make([]byte, nodefile.PageSize)
				if err := r.Blob.Check(r.Page, 1); err != nil {
					t.Fatal(err)
				}
				if _, err := r.Blob.File().ReadAt(b, r.Blob.DataOffset()+int64(r.Page)*nodefile.PageSize); err != nil {
					t.Fatal(err)
				}
				return b
			},
		} {
			s, parent, n, above, mem := coldNode(t, verify)
			snapshot, err := s.Snapshot(n.ID)
			if err != nil {
				t.Fatal(err)
			}
			own := snapshot.Node.Blob()
			isWhole := func() bool { return own.Whole() }
			if isWhole() {
				t.Errorf("%v: pages were made before anybody looked at them", verify)
			}
			for page := range snapshot.View.Pages() {
				if got := ask(snapshot.View, page); !bytes.Equal(got, mem[page*nodefile.PageSize:(page+1)*nodefile.PageSize]) {
					t.Fatalf("%v, %s: page %d differs", verify, name, page)
				}
			}
			if isWhole() != (name != "copy") {
				t.Errorf("%v, %s: pages are made: %v", verify, name, isWhole())
			}
			checkView(t, snapshot.View, mem)
			if p, err := s.Load(parent.ID); err != nil {
				t.Error(err)
			} else {
				checkView(t, p.View(), above)
			}
			if err := own.Verify(); err != nil {
				t.Error(err)
			}
		}
	}
}

// Many machines copy pages of a node while others look at them.
func TestExpandedByMany(t *testing.T) {
	s, _, n, _, mem := coldNode(t, pages.VerifyDemand)
	for range 20 {
		s.Unload(n.ID)
		runtime.GC()
		snapshot, err := s.Snapshot(n.ID)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				b := make([]byte, nodefile.PageSize)
				for page := range uint64(80) {
					if i == 3 && page > 40 {
						copy(b, nodefile.OrZero(snapshot.View.Bytes(page)))
					} else if err := snapshot.View.CopyPage(b, page); err != nil {
						t.Error(err)
					}
					if !bytes.Equal(b, mem[page*nodefile.PageSize:(page+1)*nodefile.PageSize]) {
						t.Errorf("page %d differs", page)
					}
				}
			})
		}
		wg.Wait()
	}
}

// A page that is not what its checksum says, though parent and differences are right,
// is found where all pages are checked.
func TestExpandedChecksum(t *testing.T) {
	s, _, n, _, _ := coldNode(t, pages.VerifyEager)
	sealedtest.Damage(t, s.nodePath(n.ID), func(b []byte) []byte {
		h, err := nodefile.ReadHeader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		index := h.Sections[nodefile.SectionIndex]
		b[index.Offset+index.Length-1] ^= 1 // of the last page's checksum
		nodefile.Reseal(b)
		return b
	})
	var bad *pages.PageError
	if _, err := s.Load(n.ID); !errors.As(err, &bad) || bad.Guest != "guest page 0x384" {
		t.Errorf("%v", err)
	}
	if err := (Inspection{s}).Verify(n.ID); !errors.As(err, &bad) {
		t.Errorf("verify: %v", err)
	}
}
