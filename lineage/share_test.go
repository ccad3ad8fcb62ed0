package lineage

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"seuss/lineage/nodefile"
	"seuss/lineage/pages"
)

// sharing is a store with an image and siblings below it that hold the same pages.
type sharing struct {
	s     *Store
	image *Node
	nodes []*Node
	mem   [][]byte
}

// fillShared writes what all siblings have, 300 pages, of which every fifth lies
// elsewhere in the second, then zeroes, and 100 pages of the sibling's own.
func fillShared(g *memory, sibling uint64) {
	for p := range uint64(300) {
		at := 100 + p
		if sibling%2 == 1 && p%5 == 0 {
			at = 700 + p
		}
		g.fill(at, 1+p)
	}
	for p := range uint64(20) {
		g.fill(35+p, 0)
	}
	for p := range uint64(100) {
		g.fill(500+p, 1_000_000*(sibling+1)+p)
	}
}

func newSharing(t testing.TB, s *Store, siblings int) *sharing {
	t.Helper()
	h := &sharing{s: s, image: addTestImage(t, s)}
	for range siblings {
		h.add(t)
	}
	return h
}

// add captures one more sibling.
func (h *sharing) add(t testing.TB) *Node {
	t.Helper()
	image, err := h.s.Snapshot(h.image.ID)
	if err != nil {
		t.Fatal(err)
	}
	g := newGuest(testGuestPages)
	g.reset(image.View)
	i := len(h.nodes)
	fillShared(g, uint64(i))
	n := capture(t, h.s, NodeSpec{Kind: nodefile.KindImport, State: fmt.Appendf(nil, "sibling %d", i)}, h.image, g)
	h.nodes, h.mem = append(h.nodes, n), append(h.mem, bytes.Clone(g.mem))
	return n
}

// check loads the i-th sibling anew, compares its memory and verifies its files.
func (h *sharing) check(t testing.TB, i int) {
	t.Helper()
	h.s.Unload(h.nodes[i].ID)
	snapshot, err := h.s.Snapshot(h.nodes[i].ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := snapshot.View.Check(0, snapshot.View.Pages()); err != nil {
		t.Fatal(err)
	}
	checkView(t, snapshot.View, h.mem[i])
	if err := (Inspection{h.s}).Verify(h.nodes[i].ID); err != nil {
		t.Fatal(err)
	}
}

// reopen closes the store and opens it again.
func (h *sharing) reopen(t testing.TB, o Options) {
	t.Helper()
	dir := h.s.Dir()
	if err := h.s.Close(); err != nil {
		t.Fatal(err)
	}
	h.s = openStoreAs(t, dir, o)
	if d := h.s.Damaged(); len(d) > 0 {
		t.Fatal(d)
	}
	h.image = h.s.lookup(h.image.ID)
	for i, n := range h.nodes {
		h.nodes[i] = h.s.lookup(n.ID)
	}
}

// onDisk is what the files of nodes take, each inode counted once.
func onDisk(t testing.TB, s *Store) (bytes uint64, files int) {
	t.Helper()
	entries, err := os.ReadDir(s.path(nodesDir))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[uint64]bool{}
	for _, e := range entries {
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(s.path(nodesDir), e.Name()), &st); err != nil {
			t.Fatal(err)
		}
		if !seen[st.Ino] {
			seen[st.Ino] = true
			bytes += uint64(st.Blocks) * 512
		}
	}
	return bytes, len(entries)
}

// links counts the names of links in the directory.
func links(t testing.TB, s *Store) (n int) {
	t.Helper()
	entries, err := os.ReadDir(s.path(nodesDir))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if isLink(e.Name()) {
			n++
		}
	}
	return n
}

const sharedBytes = 300 * nodefile.PageSize

// TestSiblingsShare: pages that siblings have are on the disk once, and in memory.
func TestSiblingsShare(t *testing.T) {
	for _, verify := range []pages.Verify{pages.VerifyEager, pages.VerifyLazy, pages.VerifyDemand} {
		s := openStoreAs(t, t.TempDir(), Options{Verify: verify})
		h := newSharing(t, s, 1)
		first, _ := onDisk(t, s)
		h.add(t)
		both, files := onDisk(t, s)
		if more := both - first; more > 100*nodefile.PageSize+64<<10 || files != 4 {
			t.Errorf("a sibling with 100 pages of its own takes %d bytes, %d files", more, files)
		}
		a, b := h.nodes[0], h.nodes[1]
		if b.StoredBytes()+sharedBytes > a.StoredBytes()+32<<10 || b.DeltaBytes != a.DeltaBytes {
			t.Errorf("files of %d and %d bytes", a.StoredBytes(), b.StoredBytes())
		}
		if got, want := s.DiskBytes(), h.image.StoredBytes()+a.StoredBytes()+b.StoredBytes(); got != want {
			t.Errorf("%d bytes of files, want %d", got, want)
		}
		h.reopen(t, Options{Verify: verify})
		for i := range h.nodes {
			h.check(t, i)
		}
		if faults, err := (Inspection{h.s}).Audit(t.Context(), nil, nil); err != nil || len(faults) > 0 {
			t.Errorf("%v, %v", faults, err)
		}
		// One page of memory, so nothing to copy from the one to the other.
		va, vb := h.nodes[0].View(), h.nodes[1].View()
		x, y := va.Lookup(101), vb.Lookup(101)
		if x.Blob != y.Blob || x.Page != y.Page || x.Blob.Paged() != (verify == pages.VerifyDemand) {
			t.Errorf("page 101 of the siblings lies in %s, %d, and %s, %d", x.Blob.Name(), x.Page, y.Blob.Name(), y.Page)
		}
		if x, y := va.Lookup(105), vb.Lookup(705); x.Blob != y.Blob || x.Page != y.Page {
			t.Error("a page that lies elsewhere in the sibling is another one")
		}
		for first, count := range pages.Diff(va, vb) {
			if first <= 101 && 101 < first+count {
				t.Error("a page that is the same differs")
			}
		}
	}
}

// TestDonorGoes: whichever sibling goes, the others are whole, and what nobody needs
// is freed.
func TestDonorGoes(t *testing.T) {
	for order := range 6 {
		h := newSharing(t, openStore(t, t.TempDir()), 3)
		empty := h.image.StoredBytes()
		perm := rand.New(rand.NewPCG(uint64(order), 1)).Perm(3)
		left := map[int]bool{0: true, 1: true, 2: true}
		for k, gone := range perm {
			usage, err := Inspection{h.s}.Stats()
			if err != nil {
				t.Fatal(err)
			}
			before, _ := onDisk(t, h.s)
			says := h.s.DiskBytes()
			if err := h.s.Remove(h.nodes[gone].ID, false); err != nil {
				t.Fatal(err)
			}
			after, _ := onDisk(t, h.s)
			// The file system counts blocks.
			if want, got := usage[h.nodes[gone].ID].FreedBytes, before-after; got+8*nodefile.PageSize < want || got > want+8*nodefile.PageSize || says-h.s.DiskBytes() != want {
				t.Errorf("%v, %d: removing node %d freed %d bytes, %d by the catalogue; it was said to free %d", perm, k, gone, got, says-h.s.DiskBytes(), want)
			}
			delete(left, gone)
			if k == 1 {
				dir := h.s.Dir()
				h.s.Close()
				h.s = openStore(t, dir)
			}
			for i := range left {
				h.check(t, i)
			}
			if faults, err := (Inspection{h.s}).Audit(t.Context(), nil, nil); err != nil || len(faults) > 0 {
				t.Errorf("%v, %v", faults, err)
			}
		}
		if links(t, h.s) != 0 || h.s.DiskBytes() != empty {
			t.Errorf("%d links and %d bytes are left", links(t, h.s), h.s.DiskBytes()-empty)
		}
	}
}

// TestDonorOfDonor: a node refers to the file in which a page lies, not to the node
// that refers to it; nor does it need that file's node.
func TestDonorOfDonor(t *testing.T) {
	h := newSharing(t, openStore(t, t.TempDir()), 2)
	if err := h.s.Remove(h.nodes[0].ID, false); err != nil {
		t.Fatal(err)
	}
	h.reopenWithout(t)
	c := h.add(t)
	if got := c.file.Load().links; len(got) != 1 || got[0].inode != h.nodes[1].file.Load().links[0].inode {
		t.Errorf("links %+v, those of the sibling are %+v", got, h.nodes[1].file.Load().links)
	}
	if err := h.s.Remove(h.nodes[1].ID, false); err != nil {
		t.Fatal(err)
	}
	h.check(t, 2)
}

// reopenWithout is reopen where nodes may be gone.
func (h *sharing) reopenWithout(t testing.TB) {
	t.Helper()
	dir := h.s.Dir()
	if err := h.s.Close(); err != nil {
		t.Fatal(err)
	}
	h.s = openStore(t, dir)
	h.image = h.s.lookup(h.image.ID)
	for i, n := range h.nodes {
		if known := h.s.lookup(n.ID); known != nil {
			h.nodes[i] = known
		}
	}
}
