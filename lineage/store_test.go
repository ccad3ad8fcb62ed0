package lineage

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"seuss/dirtytrack"
	"seuss/lineage/nodefile"
	"seuss/lineage/pages"
	"seuss/lineage/sealed"
)

func ids(nodes []*Node) (s []string) {
	for _, n := range nodes {
		s = append(s, n.ID)
	}
	slices.Sort(s)
	return s
}

// What was captured is what every view shows, in this process and after opening
// the directory again, writable and read-only.
func TestReopenEquality(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	nodes, mem := testTree(t, s)
	for i, n := range nodes {
		checkView(t, n.View(), mem[i])
	}
	nodes[3].Hit()
	nodes[3].Hit()
	var views []*pages.View
	var states [][]byte
	for _, n := range nodes {
		views, states = append(views, n.View()), append(states, n.State())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for i, v := range views { // a closed store takes no memory away
		checkView(t, v, mem[i])
	}
	for _, readOnly := range []bool{false, true} {
		again, err := Open(dir, Options{ReadOnly: readOnly})
		if err != nil {
			t.Fatal(err)
		}
		if d := again.Damaged(); len(d) != 0 {
			t.Fatalf("damaged: %v", d)
		}
		if got := ids(again.List()); !slices.Equal(got, ids(nodes)) {
			t.Fatalf("nodes %v, want %v", got, ids(nodes))
		}
		for i := len(nodes) - 1; i >= 0; i-- {
			want := nodes[i]
			got, err := again.Get(want.ID)
			if err != nil {
				t.Fatal(err)
			}
			if got.Loaded() || got.View() != nil || got.State() != nil || got.Blob() != nil {
				if i == len(nodes)-1 {
					t.Fatal("loaded by opening the store")
				}
			}
			if fmt.Sprintf("%+v", got.Info) != fmt.Sprintf("%+v", want.Info) {
				t.Fatalf("info %+v, want %+v", got.Info, want.Info)
			}
			if _, err := again.Load(got.ID); err != nil {
				t.Fatal(err)
			}
			checkView(t, got.View(), mem[i])
			if !bytes.Equal(got.State(), states[i]) {
				t.Fatalf("state %q, want %q", got.State(), states[i])
			}
			if err := (Inspection{again}).Verify(got.ID); err != nil {
				t.Fatal(err)
			}
			if err := got.Blob().Verify(); err != nil {
				t.Fatal(err)
			}
		}
		if n, _ := again.Get(nodes[3].ID); n.Hits() != 2 {
			t.Errorf("%d hits after opening again, want 2", n.Hits())
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDeltaStoresOnlyWhatDiffers(t *testing.T) {
	s := openStore(t, t.TempDir())
	image := addTestImage(t, s)
	g := newGuest(testGuestPages)
	g.reset(image.View())
	g.fill(100, 7)
	g.fill(101, 7) // the same content
	g.fill(102, 8)
	g.fill(103, 9)
	g.fill(32, 0)    // backed by the image, now zero
	g.dirty.Add(33)  // written, not changed
	g.dirty.Add(500) // zero and stays zero
	base := capture(t, s, NodeSpec{Kind: nodefile.KindBase}, image, g)
	if base.DeltaPages != 5 || base.DeltaBytes != 3*nodefile.PageSize || base.SharedPages != 29 {
		t.Errorf("%d delta pages, %d bytes, %d shared; want 5, %d, 29", base.DeltaPages, base.DeltaBytes, base.SharedPages, 3*nodefile.PageSize)
	}
	if a, b := base.View().Lookup(100), base.View().Lookup(101); a.Blob != b.Blob || a.Page != b.Page {
		t.Error("equal pages are stored twice")
	}
	if base.View().Lookup(32).Blob != nil {
		t.Error("a page that became zero is not a zero page")
	}
	if base.View().Lookup(33).Blob != image.Blob() {
		t.Error("an unchanged page is not the image's")
	}
	var diff []uint64
	for first, count := range pages.Diff(image.View(), base.View()) {
		diff = append(diff, first, count)
	}
	if !slices.Equal(diff, []uint64{32, 1, 100, 4}) {
		t.Errorf("diff %v", diff)
	}
	// Back to what the parent's parent had is a change as well.
	g.reset(image.View())
	for p := range uint64(testGuestPages) {
		g.dirty.Add(p)
	}
	undo := capture(t, s, NodeSpec{Kind: nodefile.KindImport}, base, g)
	checkView(t, undo.View(), g.mem)
	if undo.DeltaPages != 5 || undo.DeltaBytes != nodefile.PageSize {
		t.Errorf("undoing: %d pages, %d bytes", undo.DeltaPages, undo.DeltaBytes)
	}
	// An empty delta is a node too.
	empty := capture(t, s, NodeSpec{Kind: nodefile.KindFunction, State: []byte{1}}, undo, g)
	checkView(t, empty.View(), g.mem)
	if empty.DeltaPages != 0 || empty.Blob().Pages() != 0 {
		t.Errorf("empty delta has %d pages", empty.DeltaPages)
	}
	for _, n := range s.List() {
		if err := (Inspection{s}).Verify(n.ID); err != nil {
			t.Error(err)
		}
	}
}

func TestDeepLineage(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	r := rand.New(rand.NewPCG(3, 3))
	n := addTestImage(t, s)
	g := newGuest(testGuestPages)
	g.reset(n.View())
	for depth := range 50 {
		g.scribble(r, 10)
		n = capture(t, s, NodeSpec{Kind: nodefile.KindImport, State: []byte{byte(depth)}}, n, g)
	}
	checkView(t, n.View(), g.mem)
	path, err := s.Lineage(n)
	if err != nil || len(path) != 51 || path[0].Kind != nodefile.KindImage || path[50] != n {
		t.Fatalf("lineage of %d nodes: %v", len(path), err)
	}
	for _, n := range path {
		s.Unload(n.ID)
	}
	if _, err := s.Load(n.ID); err != nil {
		t.Fatal(err)
	}
	checkView(t, n.View(), g.mem)
}

func TestCaptureIsIdempotent(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	nodes, mem := testTree(t, s)
	again, _ := testTree(t, s)
	for i := range nodes {
		if nodes[i] != again[i] {
			t.Errorf("node %d was stored again", i)
		}
	}
	checkView(t, again[4].View(), mem[4])
	entries, err := os.ReadDir(filepath.Join(dir, nodesDir))
	if err != nil || len(entries) != len(nodes) {
		t.Errorf("%d files for %d nodes: %v", len(entries), len(nodes), err)
	}
	// Whatever the id stands for changes it.
	g := newGuest(testGuestPages)
	g.reset(nodes[0].View())
	seen := map[string]bool{}
	for _, spec := range []NodeSpec{
		{Kind: nodefile.KindBase},
		{Kind: nodefile.KindImport},
		{Kind: nodefile.KindBase, State: []byte("s")},
		{Kind: nodefile.KindBase, Key: nodefile.Key{Function: "ab", Handler: "c"}},
		{Kind: nodefile.KindBase, Key: nodefile.Key{Function: "a", Handler: "bc"}},
		{Kind: nodefile.KindBase, Key: nodefile.Key{Imports: []string{"ab"}}},
		{Kind: nodefile.KindBase, Key: nodefile.Key{Imports: []string{"a", "b"}}},
		{Kind: nodefile.KindBase, Key: nodefile.Key{Lazy: true}},
	} {
		n := capture(t, s, spec, nodes[0], g)
		if seen[n.ID] {
			t.Errorf("%+v has the id of another node", spec)
		}
		seen[n.ID] = true
	}
}

func TestCatalogue(t *testing.T) {
	s := openStore(t, t.TempDir())
	watch := s.catalogue().Watch()
	nodes, _ := testTree(t, s)
	select {
	case <-watch:
	default:
		t.Error("adding nodes did not wake the watcher")
	}
	function := nodes[3]
	if got := s.Children(function.ID); !slices.Equal(ids(got), ids(nodes[4:])) {
		t.Errorf("children %v", ids(got))
	}
	if got := s.Function("hello"); !slices.Equal(ids(got), ids(nodes[3:])) {
		t.Errorf("nodes of the function: %v", ids(got))
	}
	if got := s.FunctionPrefix("hell"); len(got) != len(nodes[3:]) {
		t.Errorf("begins with hell: %v", ids(got))
	}
	if len(s.Function("hell")) != 0 || len(s.Function("")) != 0 {
		t.Error("a function is found by a prefix of its name")
	}
	if got := s.Kind(nodefile.KindArgument); len(got) != 2 {
		t.Errorf("%d argument nodes", len(got))
	}
	for n := 1; n <= 64; n++ {
		got, err := s.Get(function.ID[:n])
		if err == nil && got != function || err != nil && !errors.Is(err, ErrAmbiguous) {
			t.Errorf("prefix of %d: %v", n, err)
		}
		if n > 20 && err != nil {
			t.Errorf("prefix of %d: %v", n, err)
		}
	}
	for _, bad := range []string{"", "zz", function.ID + "0"} {
		if _, err := s.Get(bad); !errors.Is(err, ErrNotFound) {
			t.Errorf("get %q: %v", bad, err)
		}
	}
}

func TestRemove(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	nodes, mem := testTree(t, s)
	function, leaf := nodes[3], nodes[4]
	leaf.Hit()
	if err := s.FlushHits(); err != nil {
		t.Fatal(err)
	}
	err := s.Remove(function.ID, false)
	if !errors.Is(err, ErrHasChildren) || !strings.Contains(err.Error(), leaf.ID[:12]) {
		t.Fatalf("removing a node with dependents: %v", err)
	}
	watch := s.catalogue().Watch()
	if err := s.Remove(leaf.ID, false); err != nil {
		t.Fatal(err)
	}
	<-watch
	if err := s.FlushHits(); err != nil {
		t.Fatal(err)
	}
	if counts := (useCounts{s}).readHits(); len(counts) != 0 {
		t.Errorf("a node of the same id would begin with the uses of one that is gone: %v", counts)
	}
	if err := s.Remove(leaf.ID, false); !errors.Is(err, ErrNotFound) {
		t.Errorf("removing twice: %v", err)
	}
	if err := s.Remove(nodes[1].ID, true); err != nil {
		t.Fatal(err)
	}
	if got := s.List(); len(got) != 1 || got[0] != nodes[0] {
		t.Errorf("left: %v", ids(got))
	}
	for i, n := range nodes { // removed nodes that a machine still uses
		checkView(t, n.View(), mem[i])
	}
	g := newGuest(testGuestPages)
	if _, err := s.Capture(NodeSpec{Kind: nodefile.KindArgument}, function, g.dirty, g.page); !errors.Is(err, ErrNotFound) {
		t.Errorf("capture below a removed node: %v", err)
	}
	if _, err := s.Load(function.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("load of a removed node: %v", err)
	}
	if err := s.Remove(nodes[0].ID, false); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.ImagePath(nodes[0].ImageDigest)); err != nil {
		t.Errorf("image file: %v", err)
	}
}

func TestCaptureBadInput(t *testing.T) {
	s := openStore(t, t.TempDir())
	image := addTestImage(t, s)
	g := newGuest(testGuestPages)
	big := dirtytrack.NewPageSet(testGuestPages + 1)
	big.Add(testGuestPages)
	one := dirtytrack.NewPageSet(1)
	one.Add(0)
	digest := digestOf(nil)
	for name, f := range map[string]func() (*Node, error){
		"no parent":    func() (*Node, error) { return s.Capture(NodeSpec{Kind: nodefile.KindBase}, nil, g.dirty, g.page) },
		"unknown kind": func() (*Node, error) { return s.Capture(NodeSpec{Kind: "x"}, image, g.dirty, g.page) },
		"image kind":   func() (*Node, error) { return s.Capture(NodeSpec{Kind: nodefile.KindImage}, image, g.dirty, g.page) },
		"page outside": func() (*Node, error) { return s.Capture(NodeSpec{Kind: nodefile.KindBase}, image, big, g.page) },
		"short read": func() (*Node, error) {
			return s.Capture(NodeSpec{Kind: nodefile.KindBase}, image, one, func(uint64) []byte { return make([]byte, 100) })
		},
		"state": func() (*Node, error) {
			return s.Capture(NodeSpec{Kind: nodefile.KindBase, State: make([]byte, nodefile.MaxStateBytes+1)}, image, g.dirty, g.page)
		},
		"negative cost": func() (*Node, error) {
			return s.Capture(NodeSpec{Kind: nodefile.KindBase, SavedTime: -1}, image, g.dirty, g.page)
		},
		"binary key": func() (*Node, error) {
			return s.Capture(NodeSpec{Kind: nodefile.KindBase, Key: nodefile.Key{Function: "\xff"}}, image, g.dirty, g.page)
		},
		"binding": func() (*Node, error) {
			return s.Capture(NodeSpec{Kind: nodefile.KindBase, Key: nodefile.Key{Args: []nodefile.Binding{{Key: "a"}}}}, image, g.dirty, g.page)
		},
		"preview": func() (*Node, error) {
			return s.Capture(NodeSpec{Kind: nodefile.KindBase, Key: nodefile.Key{Args: []nodefile.Binding{{Key: "a", Digest: digest, Preview: strings.Repeat("x", 65)}}}}, image, g.dirty, g.page)
		},
		"image digest":  func() (*Node, error) { return s.AddImage("../x", s.ImagePath(image.ImageDigest), 10, nil) },
		"image missing": func() (*Node, error) { return s.AddImage(digest, s.ImagePath(digest), 10, nil) },
		"image run": func() (*Node, error) {
			return s.AddImage(image.ImageDigest, s.ImagePath(image.ImageDigest), 10, []ImageRun{{First: 5, Count: 6}})
		},
		"image page": func() (*Node, error) {
			return s.AddImage(image.ImageDigest, s.ImagePath(image.ImageDigest), 100, []ImageRun{{Count: 41}})
		},
		"image zero": func() (*Node, error) {
			return s.AddImage(image.ImageDigest, s.ImagePath(image.ImageDigest), 100, []ImageRun{{Count: 1, FilePage: nodefile.ZeroRun}})
		},
		"image order": func() (*Node, error) {
			return s.AddImage(image.ImageDigest, s.ImagePath(image.ImageDigest), 100, []ImageRun{{First: 5, Count: 6}, {First: 10, Count: 1}})
		},
	} {
		n, err := f()
		if err == nil {
			t.Errorf("%s: accepted as %s", name, n.ID)
		} else if !errors.Is(err, nodefile.ErrInvalid) && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := s.List(); len(got) != 1 {
		t.Errorf("%d nodes are visible, want the image only", len(got))
	}
	noTemps(t, s)
}

// noTemps checks that nothing half-written is left.
func noTemps(t testing.TB, s *Store) {
	t.Helper()
	for _, d := range []string{imagesDir, nodesDir} {
		found, err := filepath.Glob(filepath.Join(s.Dir(), d, sealed.TempPrefix+"*"))
		if err != nil || len(found) > 0 {
			t.Errorf("left in %s: %v, %v", d, found, err)
		}
	}
}

func TestImageIsImported(t *testing.T) {
	s := openStore(t, t.TempDir())
	elsewhere := filepath.Join(t.TempDir(), "my.img")
	if err := os.WriteFile(elsewhere, bytes.Repeat([]byte("x"), 3*nodefile.PageSize), 0o600); err != nil {
		t.Fatal(err)
	}
	digest := digestOf([]byte("any"))
	n, err := s.AddImage(digest, elsewhere, 8, []ImageRun{{First: 1, Count: 3}})
	if err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(s.ImagePath(digest)); err != nil || fi.Mode().Perm() != sealed.Mode {
		t.Errorf("imported image: %v, %v", fi, err)
	}
	if b := n.View().Bytes(3); len(b) != nodefile.PageSize || b[0] != 'x' {
		t.Errorf("page 3 begins with %q", b[:1])
	}
	if n.View().Bytes(4) != nil || n.View().Bytes(0) != nil {
		t.Error("pages without a run are not zero")
	}
	if err := os.WriteFile(elsewhere, make([]byte, nodefile.PageSize+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddImage(digestOf(nil), elsewhere, 8, nil); !errors.Is(err, nodefile.ErrInvalid) {
		t.Errorf("an image of a page and a byte: %v", err)
	}
}

func TestPreview(t *testing.T) {
	for in, want := range map[string]string{
		"":                             "",
		"abc":                          "abc",
		strings.Repeat("x", 100):       strings.Repeat("x", 64),
		strings.Repeat("x", 63) + "ß":  strings.Repeat("x", 63),
		strings.Repeat("x", 62) + "ßß": strings.Repeat("x", 62) + "ß",
		"a\xffb":                       "a?b",
	} {
		if got := nodefile.Preview([]byte(in)); got != want {
			t.Errorf("Preview(%q) = %q, want %q", in, got, want)
		}
	}
}
