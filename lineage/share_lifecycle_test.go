package lineage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"seuss/lineage/nodefile"
)

// TestSharedReform: a node with donors takes every form and comes back, and its links
// go and come with it; a donor that others need stays as it is.
func TestSharedReform(t *testing.T) {
	h := newSharing(t, openStore(t, t.TempDir()), 3)
	a, b := h.nodes[0], h.nodes[1]
	for range 2 {
		if _, after, err := h.s.Reform(b.ID, nodefile.FormDifferences); err != nil || after != b.StoredBytes() || len(b.file.Load().links) != 0 {
			t.Fatalf("%d bytes, %v", after, err)
		}
		h.check(t, 1)
		if _, after, err := h.s.Reform(b.ID, nodefile.FormPages); err != nil || after > b.DeltaBytes-sharedBytes+32<<10 {
			t.Fatalf("%d bytes, %v", after, err)
		}
		h.check(t, 1)
		h.reopen(t, Options{})
		a, b = h.nodes[0], h.nodes[1]
	}
	if before, after, err := h.s.Reform(a.ID, nodefile.FormPages); err != nil || before != after {
		t.Errorf("a donor was written anew: %d to %d bytes, %v", before, after, err)
	}
	if _, _, err := h.s.Reform(a.ID, nodefile.FormDifferences); err != nil {
		t.Fatal(err)
	}
	for i := range h.nodes {
		h.check(t, i)
	}
	// Its old file is there for the others, and what they need of it serves the node too.
	if _, after, err := h.s.Reform(a.ID, nodefile.FormPages); err != nil || after > a.DeltaBytes-sharedBytes+32<<10 {
		t.Errorf("%d bytes, %v", after, err)
	}
	for i := range h.nodes {
		h.check(t, i)
	}
}

// TestSharedExport: a node with donors leaves the store as if it had none, and finds
// donors where it arrives.
func TestSharedExport(t *testing.T) {
	const pages = nodefile.MaxDeltaPages + 600 // too many for differences
	big := func(s *Store, image *Node, own uint64) (*Node, []byte) {
		g := newGuest(pages + 100)
		g.reset(image.View())
		for p := range uint64(pages) {
			g.fill(p, p+1)
		}
		for p := range uint64(50) {
			g.fill(p*7, own+p)
		}
		spec := NodeSpec{Kind: nodefile.KindImport, State: fmt.Append(nil, own), Created: image.Created}
		return capture(t, s, spec, image, g), g.mem
	}
	bigStore := func() (*Store, *Node) {
		s := openStore(t, t.TempDir())
		data := bytes.Repeat([]byte{7}, nodefile.PageSize)
		digest := digestOf(data)
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
		p, r := exported(t, s, id)
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
	if h, err := nodefile.ReadHeader(bytes.NewReader(shared), int64(len(shared))); err != nil || h.Version != nodefile.VersionPages {
		t.Fatalf("%+v, %v", h, err)
	}
	empty, root := bigStore()
	if root.ID != image.ID {
		t.Fatal("another image")
	}
	n, err := Transfer{empty}.Adopt(bytes.NewReader(shared), int64(len(shared)), nil)
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
	n, err = Transfer{beside}.Adopt(bytes.NewReader(shared), int64(len(shared)), nil)
	if err != nil || n.StoredBytes() > n.DeltaBytes/8 {
		t.Fatalf("%v, %v", n, err)
	}
	if err := (Inspection{beside}).Verify(n.ID); err != nil {
		t.Fatal(err)
	}
	// The file as it lies there is of no use elsewhere.
	raw, err := os.ReadFile(beside.nodePath(n.ID))
	if err != nil {
		t.Fatal(err)
	}
	third, _ := bigStore()
	if _, err := (Transfer{third}).Adopt(bytes.NewReader(raw), int64(len(raw)), nil); !errors.Is(err, nodefile.ErrFormat) || !strings.Contains(err.Error(), "export it there") {
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
	child := capture(t, h.s, NodeSpec{Kind: nodefile.KindFunction, State: []byte("child")}, h.nodes[1], g)
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
	if err := (Inspection{h.s}).Verify(flat.ID); err != nil {
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
	if err := (Marks{h.s}).Pin(last.ID, h.image.Created.AddDate(9, 0, 0)); err != nil {
		t.Fatal(err)
	}
	if r, err = h.s.GC(GCOptions{Budget: 1}); err != nil || len(r.Removed) != 0 || r.WithinBudget {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := (Marks{h.s}).Unpin(last.ID); err != nil {
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
	d, err := Inspection{h.s}.FindDuplicates(t.Context(), nil)
	if err != nil || d.SharedPages != 300 || d.Pages != 800 || d.DistinctPages != 500 {
		t.Errorf("%+v, %v", d, err)
	}
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
	if n := len(scanner{h.s}.readCache()); n != len(h.nodes)+1 {
		t.Errorf("%d entries of %d nodes", n, len(h.nodes)+1)
	}
}

// TestSharedExportAsDifferences: a node with donors that is small enough travels as any
// other.
func TestSharedExportAsDifferences(t *testing.T) {
	h := newSharing(t, openStore(t, t.TempDir()), 2)
	p, r := exported(t, h.s, h.nodes[1].ID)
	there := openStore(t, t.TempDir())
	addTestImage(t, there)
	n, err := Transfer{there}.Adopt(r, p.Size, nil)
	if err != nil || n.ID != h.nodes[1].ID {
		t.Fatal(n, err)
	}
	if _, err := there.Load(n.ID); err != nil {
		t.Fatal(err)
	}
	checkView(t, n.View(), h.mem[1])
}

// exported opens a node as it travels.
func exported(t *testing.T, s *Store, id string) (*Portable, io.ReadSeekCloser) {
	t.Helper()
	p, err := Transfer{s}.Export(id)
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return p, r
}
