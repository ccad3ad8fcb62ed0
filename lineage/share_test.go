package lineage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
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
func fillShared(g *guest, sibling uint64) {
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
	n := capture(t, h.s, NodeSpec{Kind: KindImport, State: fmt.Appendf(nil, "sibling %d", i)}, h.image, g)
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
	if err := h.s.Verify(h.nodes[i].ID); err != nil {
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

const sharedBytes = 300 * PageSize

// TestSiblingsShare: pages that siblings have are on the disk once, and in memory.
func TestSiblingsShare(t *testing.T) {
	for _, verify := range []Verify{VerifyEager, VerifyLazy, VerifyDemand} {
		s := openStoreAs(t, t.TempDir(), Options{Verify: verify})
		h := newSharing(t, s, 1)
		first, _ := onDisk(t, s)
		h.add(t)
		both, files := onDisk(t, s)
		if more := both - first; more > 100*PageSize+64<<10 || files != 4 {
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
		if faults, err := h.s.Audit(t.Context(), nil, nil); err != nil || len(faults) > 0 {
			t.Errorf("%v, %v", faults, err)
		}
		// One page of memory, so nothing to copy from the one to the other.
		va, vb := h.nodes[0].View(), h.nodes[1].View()
		x, y := va.Lookup(101), vb.Lookup(101)
		if x.Blob != y.Blob || x.Page != y.Page || x.Blob.Paged() != (verify == VerifyDemand) {
			t.Errorf("page 101 of the siblings lies in %s, %d, and %s, %d", x.Blob.Name(), x.Page, y.Blob.Name(), y.Page)
		}
		if x, y := va.Lookup(105), vb.Lookup(705); x.Blob != y.Blob || x.Page != y.Page {
			t.Error("a page that lies elsewhere in the sibling is another one")
		}
		for first, count := range Diff(va, vb) {
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
			usage, err := h.s.Stats()
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
			if want, got := usage[h.nodes[gone].ID].FreedBytes, before-after; got+8*PageSize < want || got > want+8*PageSize || says-h.s.DiskBytes() != want {
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
			if faults, err := h.s.Audit(t.Context(), nil, nil); err != nil || len(faults) > 0 {
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

// TestNoLinks: where the file system gives no link, a node is stored whole.
func TestNoLinks(t *testing.T) {
	for _, cause := range []error{syscall.EPERM, syscall.EMLINK, syscall.EXDEV, syscall.EOPNOTSUPP} {
		s := openStore(t, t.TempDir())
		s.fs.link = func(string, string) error { return cause }
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
				f := &failAt{n: step, err: cause, forever: forever}
				h.s.fs = f.wrap(osSealFS())
				n, err := h.s.Capture(NodeSpec{Kind: KindImport, State: fmt.Append(nil, step)}, h.image, g.dirty, g.page)
				h.s.fs = osSealFS()
				if f.seen <= step {
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
				if err := h.s.Verify(n.ID); err != nil {
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
	damage(t, h.s.nodePath(b.ID), func(b []byte) []byte { b[8] = 9; return b })
	h.s.Close()
	s := openStore(t, h.s.Dir())
	if len(s.Damaged()) != 1 || links(t, s) != have {
		t.Fatalf("damaged %v, %d links", s.Damaged(), links(t, s))
	}
	if r, err := s.GC(GCOptions{Damaged: true}); err != nil || len(r.Removed) != 1 || links(t, s) != 0 {
		t.Errorf("%+v, %v, %d links", r, err, links(t, s))
	}
}

// TestSharedReform: a node with donors takes every form and comes back, and its links
// go and come with it; a donor that others need stays as it is.
func TestSharedReform(t *testing.T) {
	h := newSharing(t, openStore(t, t.TempDir()), 3)
	a, b := h.nodes[0], h.nodes[1]
	for range 2 {
		if _, after, err := h.s.Reform(b.ID, FormDifferences); err != nil || after != b.StoredBytes() || len(b.file.Load().links) != 0 {
			t.Fatalf("%d bytes, %v", after, err)
		}
		h.check(t, 1)
		if _, after, err := h.s.Reform(b.ID, FormPages); err != nil || after > b.DeltaBytes-sharedBytes+32<<10 {
			t.Fatalf("%d bytes, %v", after, err)
		}
		h.check(t, 1)
		h.reopen(t, Options{})
		a, b = h.nodes[0], h.nodes[1]
	}
	if before, after, err := h.s.Reform(a.ID, FormPages); err != nil || before != after {
		t.Errorf("a donor was written anew: %d to %d bytes, %v", before, after, err)
	}
	if _, _, err := h.s.Reform(a.ID, FormDifferences); err != nil {
		t.Fatal(err)
	}
	for i := range h.nodes {
		h.check(t, i)
	}
	// Its old file is there for the others, and what they need of it serves the node too.
	if _, after, err := h.s.Reform(a.ID, FormPages); err != nil || after > a.DeltaBytes-sharedBytes+32<<10 {
		t.Errorf("%d bytes, %v", after, err)
	}
	for i := range h.nodes {
		h.check(t, i)
	}
}

// TestSharedExport: a node with donors leaves the store as if it had none, and finds
// donors where it arrives.
func TestSharedExport(t *testing.T) {
	const pages = maxDeltaPages + 600 // too many for differences
	big := func(s *Store, image *Node, own uint64) (*Node, []byte) {
		g := newGuest(pages + 100)
		g.reset(image.View())
		for p := range uint64(pages) {
			g.fill(p, p+1)
		}
		for p := range uint64(50) {
			g.fill(p*7, own+p)
		}
		spec := NodeSpec{Kind: KindImport, State: fmt.Append(nil, own), Created: image.Created}
		return capture(t, s, spec, image, g), g.mem
	}
	bigStore := func() (*Store, *Node) {
		s := openStore(t, t.TempDir())
		data := bytes.Repeat([]byte{7}, PageSize)
		digest := CodeDigest(data)
		if err := os.WriteFile(s.ImagePath(digest), data, 0o444); err != nil {
			t.Fatal(err)
		}
		image, err := s.AddImage(digest, s.ImagePath(digest), pages+100, []ImageRun{{First: pages + 1, Count: 1}})
		if err != nil {
			t.Fatal(err)
		}
		return s, image
	}
	s, image := bigStore()
	a, _ := big(s, image, 1<<40)
	b, mem := big(s, image, 2<<40)
	if len(b.file.Load().links) != 1 || b.StoredBytes() > b.DeltaBytes/8 {
		t.Fatalf("%d of %d bytes, links %+v", b.StoredBytes(), b.DeltaBytes, b.file.Load().links)
	}
	read := func(s *Store, id string) []byte {
		p, err := s.Export(id)
		if err != nil {
			t.Fatal(err)
		}
		r, err := p.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		out, err := io.ReadAll(r)
		if err != nil || int64(len(out)) != p.Size {
			t.Fatalf("%d of %d bytes, %v", len(out), p.Size, err)
		}
		if end, err := r.Seek(-8, io.SeekEnd); err != nil || end != p.Size-8 {
			t.Fatal(end, err)
		}
		last := make([]byte, 8)
		if _, err := io.ReadFull(r, last); err != nil || !bytes.Equal(last, out[len(out)-8:]) {
			t.Fatalf("read again: %x, %v", last, err)
		}
		return out
	}
	shared := read(s, b.ID)
	// Without its sibling the node is the same, byte for byte.
	if err := s.Remove(a.ID, false); err != nil {
		t.Fatal(err)
	}
	if again := read(s, b.ID); !bytes.Equal(shared, again) {
		t.Error("another file without the sibling")
	}
	if h, err := readHeader(bytes.NewReader(shared), int64(len(shared))); err != nil || h.version != nodeVersion {
		t.Fatalf("%+v, %v", h, err)
	}
	empty, root := bigStore()
	if root.ID != image.ID {
		t.Fatal("another image")
	}
	n, err := empty.Adopt(bytes.NewReader(shared), int64(len(shared)), nil)
	if err != nil || n.ID != b.ID {
		t.Fatal(n, err)
	}
	onDiskFile, err := os.ReadFile(empty.nodePath(n.ID))
	if err != nil || !bytes.Equal(onDiskFile, shared) {
		t.Errorf("what arrived in an empty store is another file, %v", err)
	}
	if _, err := empty.Load(n.ID); err != nil {
		t.Fatal(err)
	}
	checkView(t, n.View(), mem)
	// Beside a sibling it is stored as it was here.
	beside, root := bigStore()
	big(beside, root, 1<<40)
	n, err = beside.Adopt(bytes.NewReader(shared), int64(len(shared)), nil)
	if err != nil || n.StoredBytes() > n.DeltaBytes/8 {
		t.Fatalf("%v, %v", n, err)
	}
	if err := beside.Verify(n.ID); err != nil {
		t.Fatal(err)
	}
	// The file as it lies there is of no use elsewhere.
	raw, err := os.ReadFile(beside.nodePath(n.ID))
	if err != nil {
		t.Fatal(err)
	}
	third, _ := bigStore()
	if _, err := third.Adopt(bytes.NewReader(raw), int64(len(raw)), nil); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "export it there") {
		t.Errorf("a file without its donors was adopted: %v", err)
	}
}

// TestSharedFlatten: a node below one with donors, flattened, is the same.
func TestSharedFlatten(t *testing.T) {
	h := newSharing(t, openStore(t, t.TempDir()), 2)
	g := newGuest(testGuestPages)
	g.reset(h.nodes[1].View())
	g.fill(100, 77)
	g.fill(900, 78)
	child := capture(t, h.s, NodeSpec{Kind: KindFunction, State: []byte("child")}, h.nodes[1], g)
	flat, err := h.s.Flatten(child.ID, "")
	if err != nil {
		t.Fatal(err)
	}
	if flat.Parent != h.image.ID {
		t.Fatalf("hangs on %s", flat.Parent)
	}
	for _, n := range h.nodes {
		if err := h.s.Remove(n.ID, true); err != nil {
			t.Fatal(err)
		}
	}
	h.s.Unload(flat.ID)
	if _, err := h.s.Load(flat.ID); err != nil {
		t.Fatal(err)
	}
	checkView(t, flat.View(), g.mem)
	if err := h.s.Verify(flat.ID); err != nil {
		t.Error(err)
	}
}

// TestSharedGC: a budget takes what frees bytes, and a donor only after those that
// need it.
func TestSharedGC(t *testing.T) {
	h := newSharing(t, openStore(t, t.TempDir()), 3)
	full := h.s.DiskBytes()
	// The donor is worth least; one dependent has to go, then it is within the budget.
	h.nodes[1].Hit()
	h.nodes[2].Hit()
	r, err := h.s.GC(GCOptions{Budget: full - 1})
	if err != nil || len(r.Removed) != 1 || r.Removed[0].ID == h.nodes[0].ID || r.BytesFreed == 0 || !r.WithinBudget || r.BytesAfter != h.s.DiskBytes() {
		t.Fatalf("%+v, %v", r, err)
	}
	// With the last dependent pinned nothing can be freed, and nothing is removed.
	last := h.nodes[1]
	if h.s.lookup(last.ID) == nil {
		last = h.nodes[2]
	}
	if err := h.s.Pin(last.ID, h.image.Created.AddDate(9, 0, 0)); err != nil {
		t.Fatal(err)
	}
	if r, err = h.s.GC(GCOptions{Budget: 1}); err != nil || len(r.Removed) != 0 || r.WithinBudget {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := h.s.Unpin(last.ID); err != nil {
		t.Fatal(err)
	}
	if r, err = h.s.GC(GCOptions{Budget: 1}); err != nil || len(r.Removed) != 2 || r.Removed[0].ID != last.ID || r.BytesAfter != h.s.DiskBytes() || r.BytesAfter != h.image.StoredBytes() {
		t.Fatalf("%+v, %v", r, err)
	}
	if links(t, h.s) != 0 {
		t.Errorf("%d links are left", links(t, h.s))
	}
}

// TestSharedDuplicates: what is shared is said, and what is the same all the same.
func TestSharedDuplicates(t *testing.T) {
	h := newSharing(t, openStore(t, t.TempDir()), 2)
	d, err := h.s.FindDuplicates(t.Context(), nil)
	if err != nil || d.SharedPages != 300 || d.Pages != 800 || d.DistinctPages != 500 {
		t.Errorf("%+v, %v", d, err)
	}
}

// TestSiblingTableIsBounded: with no room for all, the latest nodes are known.
func TestSiblingTableIsBounded(t *testing.T) {
	h := newSharing(t, openStore(t, t.TempDir()), 2)
	table := h.s.siblings.table(h.image.ID)
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
		h.s.siblings.table(fmt.Sprint(i))
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
	s := openStoreAs(t, t.TempDir(), Options{Verify: VerifyDemand})
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
				n, err := s.Capture(NodeSpec{Kind: KindImport, State: fmt.Append(nil, w/2, i)}, h.image, g.dirty, g.page)
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
		if err := s.Verify(n.ID); err != nil {
			t.Error(err)
		}
	}
	if links(t, s) != named || named == 0 {
		t.Errorf("%d links, nodes name %d", links(t, s), named)
	}
	noTemps(t, s)
}

// TestSharedCatalogueCache: a link changes its file's times, so the donor is read anew,
// and nodes that the cache knows have their links.
func TestSharedCatalogueCache(t *testing.T) {
	dir := t.TempDir()
	o := Options{cacheMisses: 1}
	h := newSharing(t, openStoreAs(t, dir, o), 2)
	for range 2 {
		h.reopen(t, o)
		if got := h.nodes[1].file.Load(); len(got.links) != 1 || got.links[0].inode != h.nodes[0].file.Load().inode || got.bytes != h.nodes[1].StoredBytes() {
			t.Fatalf("%+v", got)
		}
		if n := h.s.uncached.Load(); n != 0 {
			t.Errorf("%d files were read and not cached", n)
		}
		h.add(t)
	}
	h.reopen(t, o)
	for i := range h.nodes {
		h.check(t, i)
	}
	if n := len(h.s.readCache()); n != len(h.nodes)+1 {
		t.Errorf("%d entries of %d nodes", n, len(h.nodes)+1)
	}
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
		nodes = append(nodes, capture(t, s, NodeSpec{Kind: KindImport}, image, g))
	}
	g := newGuest(testGuestPages)
	g.reset(view)
	for i := range uint64(donors) {
		for p := range each + i { // in turns, and in another order
			g.fill(50+p*donors+(i*3)%donors, 1000*(i+1)+p)
		}
	}
	n := capture(t, s, NodeSpec{Kind: KindImport, State: []byte("all")}, image, g)
	links := n.file.Load().links
	if len(links) != maxDonors {
		t.Fatalf("%d donors, want %d", len(links), maxDonors)
	}
	for i, donor := range nodes {
		if got := slices.ContainsFunc(links, func(l link) bool { return l.inode == donor.file.Load().inode }); got != (i >= donors-maxDonors) {
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
	if err := s.Verify(n.ID); err != nil {
		t.Error(err)
	}
	if got, want := n.file.Load().freed(holders(s.List())), s.DiskBytes()-image.StoredBytes(); got != want {
		t.Errorf("removing it frees %d bytes of %d", got, want)
	}
}

// TestSharedExportAsDifferences: a node with donors that is small enough travels as any
// other.
func TestSharedExportAsDifferences(t *testing.T) {
	h := newSharing(t, openStore(t, t.TempDir()), 2)
	p, err := h.s.Export(h.nodes[1].ID)
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	there := openStore(t, t.TempDir())
	addTestImage(t, there)
	n, err := there.Adopt(r, p.Size, nil)
	if err != nil || n.ID != h.nodes[1].ID {
		t.Fatal(n, err)
	}
	if _, err := there.Load(n.ID); err != nil {
		t.Fatal(err)
	}
	checkView(t, n.View(), h.mem[1])
}
