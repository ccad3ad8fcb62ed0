package lineage

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"seuss/lineage/nodefile"
	"seuss/lineage/pages"
	"seuss/lineage/sealed"
	"seuss/lineage/sealed/sealedtest"
)

// TestNoLinks: where the file system gives no link, a node is stored whole.
func TestNoLinks(t *testing.T) {
	for _, cause := range []error{syscall.EPERM, syscall.EMLINK, syscall.EXDEV, syscall.EOPNOTSUPP} {
		s := openStore(t, t.TempDir())
		s.fs.Link = func(string, string) error { return cause }
		h := newSharing(t, s, 2)
		if b := h.nodes[1]; b.StoredBytes() < b.DeltaBytes || len(b.file.Load().links) != 0 {
			t.Errorf("%v: %d of %d bytes", cause, b.StoredBytes(), b.DeltaBytes)
		}
		h.check(t, 1)
		noTemps(t, s)
	}
}

// Whatever step of a capture with a donor fails, the node is stored, whole or not, or
// nothing of it is left.
func TestSharedCaptureFailsAtEveryStep(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EIO} {
		for _, forever := range []bool{false, true} {
			h := newSharing(t, openStore(t, t.TempDir()), 1)
			image := h.image.View()
			g := newGuest(testGuestPages)
			shared, failed := 0, 0
			for step, quiet := 0, 0; quiet < 3; step++ {
				g.reset(image)
				fillShared(g, uint64(2+step))
				f := &sealedtest.FailAt{N: step, Err: cause, Forever: forever}
				h.s.fs = f.Wrap(sealed.OS())
				n, err := h.s.Capture(NodeSpec{Kind: nodefile.KindImport, State: fmt.Append(nil, step)}, h.image, g.dirty, g.page)
				h.s.fs = sealed.OS()
				if f.Seen <= step {
					quiet++
				}
				noTemps(t, h.s)
				if err != nil {
					failed++
					if !errors.Is(err, cause) || links(t, h.s) != 0 || len(h.s.List()) != 2 {
						t.Fatalf("step %d: %v, %d links, %d nodes", step, err, links(t, h.s), len(h.s.List()))
					}
					continue
				}
				checkView(t, n.View(), g.mem)
				if err := (Inspection{h.s}).Verify(n.ID); err != nil {
					t.Fatal(err)
				}
				if len(n.file.Load().links) > 0 {
					shared++
				}
				if err := h.s.Remove(n.ID, false); err != nil {
					t.Fatal(err)
				}
				if links(t, h.s) != 0 {
					t.Fatalf("step %d: %d links are left", step, links(t, h.s))
				}
			}
			if shared < 3 || failed < 8 {
				t.Errorf("%d captures shared, %d failed", shared, failed)
			}
			h.check(t, 0)
		}
	}
}

// TestLinksWithoutNodes: what a crash leaves is gone after the next Open, and nothing
// else.
func TestLinksWithoutNodes(t *testing.T) {
	h := newSharing(t, openStore(t, t.TempDir()), 2)
	b := h.nodes[1]
	have := links(t, h.s)
	if have != 1 {
		t.Fatalf("%d links", have)
	}
	other := h.s.path(nodesDir, "notes.from-1")
	for _, to := range []string{h.s.linkPath(strings.Repeat("a", 64), 0), h.s.linkPath(b.ID, 5), h.s.linkPath(h.nodes[0].ID, 0), other} {
		if err := os.Link(h.s.nodePath(h.nodes[0].ID), to); err != nil {
			t.Fatal(err)
		}
	}
	ro, err := Open(h.s.Dir(), Options{ReadOnly: true})
	if err != nil || links(t, ro) != have+3 {
		t.Fatalf("a reader removed links: %d, %v", links(t, ro), err)
	}
	ro.Close()
	h.reopen(t, Options{})
	if links(t, h.s) != have {
		t.Errorf("%d links, want %d", links(t, h.s), have)
	}
	if _, err := os.Stat(other); err != nil {
		t.Error(err)
	}
	h.check(t, 1)
	// The links of a file that cannot be read stay with it, and go with it.
	sealedtest.Damage(t, h.s.nodePath(b.ID), func(b []byte) []byte { b[8] = 9; return b })
	h.s.Close()
	s := openStore(t, h.s.Dir())
	if len(s.Damaged()) != 1 || links(t, s) != have {
		t.Fatalf("damaged %v, %d links", s.Damaged(), links(t, s))
	}
	if r, err := s.GC(GCOptions{Damaged: true}); err != nil || len(r.Removed) != 1 || links(t, s) != 0 {
		t.Errorf("%+v, %v, %d links", r, err, links(t, s))
	}
}

// TestSiblingTableIsBounded: with no room for all, the latest nodes are known.
func TestSiblingTableIsBounded(t *testing.T) {
	h := newSharing(t, openStore(t, t.TempDir()), 2)
	table := h.s.siblings.table(&nodefile.Info{Parent: h.image.ID, Kind: nodefile.KindImport})
	table.limit = 900
	for range 6 {
		n := h.add(t)
		if len(table.at) > table.limit {
			t.Fatalf("%d pages, at most %d", len(table.at), table.limit)
		}
		if n.StoredBytes()+sharedBytes > n.DeltaBytes+32<<10 {
			t.Errorf("%d of %d bytes", n.StoredBytes(), n.DeltaBytes)
		}
	}
	for i := range uint64(2 * maxSiblingTables) {
		h.s.siblings.table(&nodefile.Info{Parent: fmt.Sprint(i), Kind: nodefile.KindImport})
	}
	if len(h.s.siblings.tables) != maxSiblingTables {
		t.Errorf("%d tables", len(h.s.siblings.tables))
	}
	for i := range h.nodes {
		h.check(t, i)
	}
}

// Siblings are captured, loaded, rewritten and removed at the same time.
func TestSharingConcurrently(t *testing.T) {
	s := openStoreAs(t, t.TempDir(), Options{Verify: pages.VerifyDemand})
	h := newSharing(t, s, 1)
	var writers, readers sync.WaitGroup
	stop := make(chan struct{})
	for w := range uint64(3) {
		writers.Go(func() {
			for i := range uint64(6) {
				image, err := s.Snapshot(h.image.ID)
				if err != nil {
					t.Error(err)
					return
				}
				g := newGuest(testGuestPages)
				g.reset(image.View)
				fillShared(g, 10*(w/2)+i) // two of the writers capture the same
				n, err := s.Capture(NodeSpec{Kind: nodefile.KindImport, State: fmt.Append(nil, w/2, i)}, h.image, g.dirty, g.page)
				if err != nil {
					t.Error(err)
					return
				}
				// The other one may remove it.
				if snapshot, err := s.Snapshot(n.ID); err == nil {
					if err := snapshot.View.Check(0, testGuestPages); err != nil {
						t.Error(err)
					}
					checkViewSampled(t, snapshot.View, g)
				} else if s.lookup(n.ID) == n {
					t.Error(err)
				}
				if _, _, err := s.Reform(n.ID, bothForms[i%2]); err != nil && s.lookup(n.ID) == n {
					t.Error(err)
				}
				if i%3 != 0 {
					_ = s.Remove(n.ID, false)
				}
			}
		})
	}
	for range 2 {
		readers.Go(func() {
			for {
				for _, n := range s.List() {
					s.Unload(n.ID)
					snapshot, err := s.Snapshot(n.ID)
					if err == nil {
						err = snapshot.View.Check(0, testGuestPages)
					}
					if err != nil && s.lookup(n.ID) == n {
						t.Errorf("load: %v", err)
						return
					}
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	named := 0
	for _, n := range s.List() {
		named += len(n.file.Load().links)
		if err := (Inspection{s}).Verify(n.ID); err != nil {
			t.Error(err)
		}
	}
	if links(t, s) != named || named == 0 {
		t.Errorf("%d links, nodes name %d", links(t, s), named)
	}
	noTemps(t, s)
}

// TestManyDonors: a node takes the donors that save most, and no more than it may have.
func TestManyDonors(t *testing.T) {
	s := openStore(t, t.TempDir())
	image := addTestImage(t, s)
	view := image.View()
	const donors, each = 10, 40
	var nodes []*Node
	for i := range uint64(donors) {
		g := newGuest(testGuestPages)
		g.reset(view)
		for p := range each + i {
			g.fill(i*100+p, 1000*(i+1)+p)
		}
		nodes = append(nodes, capture(t, s, NodeSpec{Kind: nodefile.KindImport}, image, g))
	}
	g := newGuest(testGuestPages)
	g.reset(view)
	for i := range uint64(donors) {
		for p := range each + i { // in turns, and in another order
			g.fill(50+p*donors+(i*3)%donors, 1000*(i+1)+p)
		}
	}
	n := capture(t, s, NodeSpec{Kind: nodefile.KindImport, State: []byte("all")}, image, g)
	links := n.file.Load().links
	if len(links) != nodefile.MaxDonors {
		t.Fatalf("%d donors, want %d", len(links), nodefile.MaxDonors)
	}
	for i, donor := range nodes {
		if got := slices.ContainsFunc(links, func(l link) bool { return l.inode == donor.file.Load().inode }); got != (i >= donors-nodefile.MaxDonors) {
			t.Errorf("node %d, with %d pages, is a donor: %v", i, each+i, got)
		}
		if err := s.Remove(donor.ID, false); err != nil {
			t.Fatal(err)
		}
	}
	s.Unload(n.ID)
	if _, err := s.Load(n.ID); err != nil {
		t.Fatal(err)
	}
	checkView(t, n.View(), g.mem)
	if err := (Inspection{s}).Verify(n.ID); err != nil {
		t.Error(err)
	}
	if got, want := n.file.Load().freed(holders(s.List())), s.DiskBytes()-image.StoredBytes(); got != want {
		t.Errorf("removing it frees %d bytes of %d", got, want)
	}
}
