package lineage

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"seuss/lineage/nodefile"
	"seuss/lineage/pages"
	"seuss/lineage/sealed/sealedtest"
)

// The form of a file has no influence on ids and memory, and each can be turned
// into the other, also below nodes that hang on it.
func TestFormsAreEqual(t *testing.T) {
	stores := map[nodefile.Form]*Store{}
	var want [][]byte
	var wantIDs []string
	inOrder := func(nodes []*Node) (ids []string) {
		for _, n := range nodes {
			ids = append(ids, n.ID)
		}
		return ids
	}
	for _, form := range bothForms {
		s := openStoreAs(t, t.TempDir(), Options{Form: form})
		nodes, mem := testTree(t, s)
		stores[form] = s
		if wantIDs == nil {
			want, wantIDs = mem, inOrder(nodes)
		} else if got := inOrder(nodes); strings.Join(got, " ") != strings.Join(wantIDs, " ") {
			t.Fatalf("as %v the ids are %v, want %v", form, got, wantIDs)
		}
	}
	for _, form := range bothForms {
		s := stores[form]
		other := nodefile.FormPages + nodefile.FormDifferences - form
		for i, id := range wantIDs {
			if i == 0 {
				if _, _, err := s.Reform(id, nodefile.FormDifferences); !errors.Is(err, nodefile.ErrInvalid) {
					t.Errorf("an image node as differences: %v", err)
				}
				continue
			}
			before, after, err := s.Reform(id, other)
			if err != nil {
				t.Fatal(err)
			}
			if fi, err := os.Stat(s.nodePath(id)); err != nil || uint64(fi.Size()) != after || (after < before) != (other == nodefile.FormDifferences) {
				t.Errorf("node %d from %v to %v: %d bytes, then %d; %v", i, form, other, before, after, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		again := openStore(t, s.Dir())
		if len(again.Damaged()) != 0 {
			t.Fatal(again.Damaged())
		}
		for i, id := range wantIDs {
			n, err := again.Load(id)
			if err != nil {
				t.Fatal(err)
			}
			checkView(t, n.View(), want[i])
			if err := (Inspection{again}).Verify(id); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A machine that has done much before may have many candidates of which few differ:
// the node is small all the same.
func TestManyCandidatesFewDiffer(t *testing.T) {
	dir := t.TempDir()
	s := openStoreAs(t, dir, Options{Form: nodefile.FormAuto})
	image := addTestImage(t, s)
	g := newGuest(testGuestPages)
	g.reset(image.View())
	for p := range uint64(autoDeltaPages + 1) {
		g.dirty.Add(p)
	}
	g.fill(3, 5)
	small := capture(t, s, NodeSpec{Kind: nodefile.KindFunction, State: []byte("state")}, image, g)
	if small.StoredBytes() > nodefile.PageSize*2 || small.DeltaPages != 1 {
		t.Errorf("%d pages take %d bytes", small.DeltaPages, small.StoredBytes())
	}
	checkView(t, small.View(), g.mem)
	for p := range uint64(autoDeltaPages + 1) {
		g.fill(p, p+9)
	}
	if large := capture(t, s, NodeSpec{Kind: nodefile.KindFunction, State: []byte("state")}, image, g); large.StoredBytes() < large.DeltaBytes {
		t.Errorf("%d pages take %d bytes", large.DeltaPages, large.StoredBytes())
	}
	s.Unload(small.ID)
	g.reset(image.View())
	g.fill(3, 5)
	again, err := s.Load(small.ID)
	if err != nil {
		t.Fatal(err)
	}
	checkView(t, again.View(), g.mem)
	if err := (Inspection{s}).Verify(small.ID); err != nil {
		t.Error(err)
	}
}

func TestFlatten(t *testing.T) {
	for _, form := range []nodefile.Form{nodefile.FormAuto, nodefile.FormPages, nodefile.FormDifferences} {
		s := openStoreAs(t, t.TempDir(), Options{Form: form})
		nodes, mem := testTree(t, s)
		for i := 2; i < len(nodes); i++ {
			for above := range 2 {
				n, err := s.Flatten(nodes[i].ID, nodes[above].ID)
				if err != nil {
					t.Fatal(err)
				}
				if n.Parent != nodes[above].ID || n.Kind != nodes[i].Kind || n.Key.Function != nodes[i].Key.Function {
					t.Fatalf("flattened to %+v", n.Info)
				}
				checkView(t, n.View(), mem[i])
				if !bytes.Equal(n.State(), nodes[i].State()) {
					t.Fatal("another machine state")
				}
				if err := (Inspection{s}).Verify(n.ID); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, err := s.Flatten(nodes[4].ID, nodes[5].ID); !errors.Is(err, nodefile.ErrInvalid) {
			t.Errorf("onto a sibling: %v", err)
		}
		if _, err := s.Flatten(nodes[4].ID, nodes[4].ID); !errors.Is(err, nodefile.ErrInvalid) {
			t.Errorf("onto itself: %v", err)
		}
		if _, err := s.Flatten(nodes[0].ID, ""); !errors.Is(err, nodefile.ErrInvalid) {
			t.Errorf("an image node: %v", err)
		}
	}
}

// Damage in a page that is not used does not hinder a lazy reader; where it is
// used, it is found and named, and every other page is usable.
func TestLazyVerify(t *testing.T) {
	dir, n, path, file := sealedNode(t, nodefile.FormPages)
	h, err := nodefile.ReadHeader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	const bad = 5 // data page
	sealedtest.Damage(t, path, func([]byte) []byte {
		b := bytes.Clone(file)
		b[h.Sections[nodefile.SectionData].Offset+bad*nodefile.PageSize+77] ^= 0x10
		return b
	})
	eager := openStoreAs(t, dir, Options{ReadOnly: true})
	if _, err := eager.Load(n.ID); !errors.Is(err, nodefile.ErrChecksum) {
		t.Fatalf("eager: %v", err)
	}
	s := openStoreAs(t, dir, Options{Verify: pages.VerifyLazy})
	got, err := s.Load(n.ID)
	if err != nil {
		t.Fatal(err)
	}
	view := got.View()
	found := 0
	for page := range view.Pages() {
		err := view.Check(page, 1)
		run := view.Lookup(page)
		if isBad := run.Blob == got.Blob() && run.Page == bad; isBad != (err != nil) {
			t.Fatalf("page %#x: %v", page, err)
		} else if isBad {
			found++
			var e *pages.PageError
			if !errors.As(err, &e) || e.Page != bad || !strings.Contains(err.Error(), n.ID) || e.Guest != fmt.Sprintf("guest page %#x", page) {
				t.Fatalf("page %#x: %v", page, err)
			}
		}
	}
	if found == 0 {
		t.Fatal("the damaged page is not in the view")
	}
	if err := view.Check(0, view.Pages()); !errors.Is(err, nodefile.ErrChecksum) {
		t.Errorf("everything: %v", err)
	}
	// What hangs on the node is stored as differences: it fails if it needs the
	// page, and never is wrong.
	for _, child := range s.Children(n.ID) {
		c, err := s.Load(child.ID)
		if err != nil && !errors.Is(err, nodefile.ErrChecksum) {
			t.Fatal(err)
		}
		if err == nil {
			err = c.View().Check(0, c.View().Pages())
			shows := false
			for run := range c.View().Runs(0, c.View().Pages()) {
				shows = shows || run.Blob == got.Blob() && run.Page <= bad && bad < run.Page+run.Count
			}
			if shows != (err != nil) {
				t.Errorf("child shows the page: %v, %v", shows, err)
			}
		}
	}
	// A capture that compares with the page fails.
	g := newGuest(testGuestPages)
	for p := range view.Pages() {
		g.dirty.Add(p)
	}
	if _, err := s.Capture(NodeSpec{Kind: nodefile.KindArgument}, got, g.dirty, g.page); !errors.Is(err, nodefile.ErrChecksum) {
		t.Errorf("capture below: %v", err)
	}
}

// A checked page costs nothing to check again.
func TestCheckAllocatesNothing(t *testing.T) {
	s := openStore(t, t.TempDir())
	nodes, _ := testTree(t, s)
	view := nodes[4].View()
	if n := testing.AllocsPerRun(100, func() {
		if err := view.Check(0, view.Pages()); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// The store keeps only so much of expanded nodes, and so many; what is in use stays valid.
func TestHotSet(t *testing.T) {
	t.Run("bytes", func(t *testing.T) { testHotSet(t, Options{HotBytes: 40 * nodefile.PageSize}) })
	t.Run("nodes", func(t *testing.T) { testHotSet(t, Options{HotNodes: 4}) })
}

func testHotSet(t *testing.T, o Options) {
	s := openStoreAs(t, t.TempDir(), o)
	image := addTestImage(t, s)
	g := newGuest(testGuestPages)
	var nodes []*Node
	var views []*pages.View
	for i := range uint64(8) {
		g.reset(image.View())
		for p := range uint64(10) {
			g.fill(100+p, 1000*i+p+1)
		}
		n := capture(t, s, NodeSpec{}, image, g)
		nodes, views = append(nodes, n), append(views, n.View())
	}
	loaded := 0
	for i, n := range nodes {
		if n.Loaded() {
			loaded++
		}
		g.reset(views[i])
		if want := 1000*uint64(i) + 1; !bytes.Equal(g.page(100), pageOfSeed(want)) {
			t.Errorf("view %d is wrong", i)
		}
	}
	if loaded != 4 || !nodes[7].Loaded() || nodes[0].Loaded() {
		t.Errorf("%d nodes of 10 pages are loaded, 4 fit", loaded)
	}
	for i, n := range nodes {
		snapshot, err := s.Snapshot(n.ID)
		if err != nil {
			t.Fatal(err)
		}
		if snapshot.View.Lookup(100).Blob != views[i].Lookup(100).Blob {
			t.Error("a blob in use was expanded a second time")
		}
	}
}

func pageOfSeed(seed uint64) []byte {
	g := newGuest(1)
	g.fill(0, seed)
	return g.page(0)
}

// Stores of earlier formats are refused by name, and lose nothing.
func TestGoldenFormat1(t *testing.T) {
	dir := copyTree(t, "testdata/format-1")
	s := openStore(t, dir)
	if len(s.List()) != 0 || len(s.Damaged()) != 3 {
		t.Fatalf("%d nodes, damaged %v", len(s.List()), s.Damaged())
	}
	for _, d := range s.Damaged() {
		if !errors.Is(d.Err, nodefile.ErrVersion) || !strings.Contains(d.Err.Error(), "version is 1, this program reads 2") {
			t.Error(d.Err)
		}
		if _, err := os.Stat(d.Path); err != nil {
			t.Error(err)
		}
	}
}

// Audit names every damaged node and page, and what the directory holds besides.
func TestAudit(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	nodes, _ := testTree(t, s)
	done := 0
	faults, err := Inspection{s}.Audit(t.Context(), nil, func(n, total int) { done = n })
	if err != nil || len(faults) != 0 || done != len(nodes) {
		t.Fatalf("%v, %v, %d nodes", faults, err, done)
	}
	// Damage under the open store: two pages of the base node, a node file gone,
	// one that came from nowhere, and something else.
	base, gone := nodes[1], nodes[5]
	sealedtest.Damage(t, s.nodePath(base.ID), func(b []byte) []byte {
		b[nodefile.PagesHeaderBytes+3*nodefile.PageSize] ^= 1
		b[nodefile.PagesHeaderBytes+9*nodefile.PageSize+100] ^= 1
		return b
	})
	file, err := os.ReadFile(s.nodePath(gone.ID))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(s.nodePath(gone.ID)); err != nil {
		t.Fatal(err)
	}
	stranger := s.nodePath(strings.Repeat("0", 64))
	for _, path := range []string{stranger, filepath.Join(dir, nodesDir, "notes")} {
		if err := os.WriteFile(path, file, 0o444); err != nil {
			t.Fatal(err)
		}
	}
	faults, err = Inspection{s}.Audit(t.Context(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var pages, missing, unknown int
	for _, f := range faults {
		switch {
		case f.Node == base.ID && f.Guest != "" && errors.Is(f, nodefile.ErrChecksum):
			pages++
		case f.Node == gone.ID && errors.Is(f, fs.ErrNotExist):
			missing++
		case f.Path == stranger || strings.HasSuffix(f.Path, "notes"):
			unknown++
		default:
			t.Errorf("%+v", f)
		}
	}
	if pages != 2 || missing != 1 || unknown != 2 {
		t.Errorf("%d pages, %d missing, %d unknown: %v", pages, missing, unknown, faults)
	}
	if faults, err := (Inspection{s}).Audit(t.Context(), []string{nodes[2].ID[:10]}, nil); err != nil || len(faults) != 0 {
		t.Errorf("a whole node: %v, %v", faults, err)
	}
}
