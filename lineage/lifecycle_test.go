package lineage

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"seuss/lineage/nodefile"
	"seuss/lineage/pages"
	"seuss/lineage/sealed/sealedtest"
)

func TestMarks(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	nodes, _ := testTree(t, s)
	function, argument := nodes[3], nodes[4]
	now := time.Now()
	for _, err := range []error{
		Marks{s}.SetTag("json-fn@v3", function.ID), Marks{s}.SetTag("latest", argument.ID), Marks{s}.SetTag("latest", function.ID),
		Marks{s}.Pin(argument.ID, time.Time{}), Marks{s}.Pin(nodes[5].ID, now.Add(-time.Second)), Marks{s}.SetExpiry(nodes[5].ID, now.Add(time.Hour)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	check := func(s *Store) {
		t.Helper()
		for _, name := range []string{"json-fn@v3", "latest", function.ID, function.ID[:9]} {
			if n, err := s.Get(name); err != nil || n.ID != function.ID {
				t.Errorf("%s: %v, %v", name, n, err)
			}
		}
		if len(s.Catalogue().Marks()) != 5 || len(s.Catalogue().NodeMarks(nodes[5].ID)) != 2 {
			t.Errorf("marks %+v", s.Catalogue().Marks())
		}
	}
	check(s)
	for name, id := range map[string]string{"abc123": function.ID, "a b": function.ID, "x@": function.ID, "@v1": function.ID, "../x": function.ID, "x@y@z": function.ID, "x@../y": function.ID, "": function.ID, "fine": strings.Repeat("0", 64)} {
		if err := (Marks{s}).SetTag(name, id); !errors.Is(err, nodefile.ErrInvalid) && !errors.Is(err, ErrNotFound) {
			t.Errorf("tag %q: %v", name, err)
		}
	}
	if err := s.Remove(function.ID, true); !errors.Is(err, ErrPinned) {
		t.Errorf("removing a tagged node: %v", err)
	}
	if err := s.Remove(nodes[5].ID, false); err != nil {
		t.Errorf("a pin that is over: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir)
	if len(s.Catalogue().Marks()) != 3 { // the removed node's are gone
		t.Errorf("marks %+v", s.Catalogue().Marks())
	}
	for _, err := range []error{(Marks{s}).RemoveTag("latest"), (Marks{s}).RemoveTag("json-fn@v3"), (Marks{s}).Unpin(argument.ID)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := (Marks{s}).Unpin(argument.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("unpinned twice: %v", err)
	}
	if err := (Marks{s}).RemoveTag("none"); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown tag: %v", err)
	}
	if err := s.Remove(function.ID, true); err != nil {
		t.Error(err)
	}
}

// A damaged file of marks is shown, and does not keep the store from working.
func TestMarksDamage(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	nodes, _ := testTree(t, s)
	if err := (Marks{s}).Pin(nodes[3].ID, time.Time{}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	sealedtest.Damage(t, s.path(marksName), func(b []byte) []byte { return b[:len(b)/2] })
	s = openStore(t, dir)
	if d := s.Damaged(); len(d) != 1 || d[0].Path != s.path(marksName) || !errors.Is(d[0].Err, nodefile.ErrFormat) || len(s.List()) != 6 {
		t.Errorf("damaged: %v", d)
	}
	if err := (Marks{s}).Pin(nodes[4].ID, time.Time{}); err != nil {
		t.Error(err)
	}
	s.Close()
	if s = openStore(t, dir); len(s.Damaged()) != 0 || len(s.Catalogue().Marks()) != 1 {
		t.Errorf("%v, %v", s.Damaged(), s.Catalogue().Marks())
	}
	s.Close()
	sealedtest.Damage(t, s.path(marksName), func(b []byte) []byte {
		return bytes.Replace(b, []byte(`"version":1`), []byte(`"version":9`), 1)
	})
	if s = openStore(t, dir); len(s.Damaged()) != 1 || !errors.Is(s.Damaged()[0].Err, nodefile.ErrVersion) {
		t.Errorf("another version: %v", s.Damaged())
	}
}

func FuzzMarks(f *testing.F) {
	id := strings.Repeat("a", 64)
	f.Add([]byte(`{"version":1,"marks":[{"kind":"tag","name":"x@v1","node":"` + id + `"},{"kind":"pin","node":"` + id + `","expires":"2030-01-01T00:00:00Z"}]}`))
	f.Add([]byte(`{"version":2}`))
	f.Add([]byte(`{"version":1,"marks":[null]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		marks, err := decodeMarks(b)
		if err != nil {
			if !errors.Is(err, nodefile.ErrFormat) && !errors.Is(err, nodefile.ErrVersion) {
				t.Fatal(err)
			}
			return
		}
		for _, m := range marks {
			if !nodefile.ValidDigest(m.Node) || m.Kind == MarkTag && !ValidTag(m.Name) {
				t.Fatalf("accepted %+v", m)
			}
		}
	})
}

// gcStore makes a base node with functions f0, f1, ... that save 10 ms each; f<i>
// was hit i times; and an argument node below f2.
func gcStore(t *testing.T, functions int) (*Store, *Node, []*Node) {
	s := openStore(t, t.TempDir())
	image := addTestImage(t, s)
	g := newGuest(testGuestPages)
	g.reset(image.View())
	g.fill(900, 1)
	made := time.Now().Add(-10 * time.Hour)
	base := capture(t, s, NodeSpec{Kind: nodefile.KindBase, Created: made}, image, g)
	var nodes []*Node
	for i := range functions {
		g.fill(1000, uint64(i)+10)
		n := capture(t, s, NodeSpec{Kind: nodefile.KindFunction, Key: nodefile.Key{Function: "f"}, SavedTime: 10 * time.Millisecond, Created: made.Add(time.Duration(i) * time.Second)}, base, g)
		for range i {
			n.Hit()
		}
		nodes = append(nodes, n)
	}
	return s, base, nodes
}

func removed(r GCReport) (ids []string) {
	for _, e := range r.Removed {
		ids = append(ids, e.ID)
	}
	return ids
}

func TestGCBudget(t *testing.T) {
	s, base, nodes := gcStore(t, 6)
	g := newGuest(testGuestPages)
	g.reset(nodes[0].View())
	g.fill(5, 5)
	child := capture(t, s, NodeSpec{Kind: nodefile.KindArgument}, nodes[0], g) // no hits, and hides f0 from collection
	if err := (Marks{s}).SetTag("keep@v1", nodes[1].ID); err != nil {
		t.Fatal(err)
	}
	total := uint64(0)
	for _, n := range s.List() {
		total += n.StoredBytes()
	}
	budget := total - child.StoredBytes() - nodes[0].StoredBytes() - nodes[2].StoredBytes() - 1
	options := GCOptions{Budget: budget, DryRun: true, Running: func(id string) bool { return id == nodes[4].ID }}
	dry, err := s.GC(options)
	if err != nil {
		t.Fatal(err)
	}
	// f1 is tagged, f4 runs; of the others the least used first, leaves first.
	want := []string{child.ID, nodes[0].ID, nodes[2].ID, nodes[3].ID}
	if got := removed(dry); !slices.Equal(got, want) {
		t.Errorf("removes %v, want %v", got, want)
	}
	if !dry.WithinBudget || dry.BytesBefore != total || dry.BytesAfter > budget || dry.BytesFreed != total-dry.BytesAfter || dry.Kept["tagged"] != 1 || dry.Kept["running"] != 1 {
		t.Errorf("%+v", dry)
	}
	if len(s.List()) != 9 {
		t.Fatal("a dry run removed something")
	}
	options.DryRun = false
	wet, err := s.GC(options)
	if err != nil || !slices.Equal(removed(wet), want) || wet.BytesFreed != dry.BytesFreed {
		t.Errorf("%+v, %v", wet, err)
	}
	if left := s.List(); len(left) != 5 {
		t.Errorf("%d nodes are left", len(left))
	}
	// What is protected may take more than the budget.
	r, err := s.GC(GCOptions{Budget: 1})
	if err != nil || r.WithinBudget || s.lookup(base.ID) == nil || s.lookup(nodes[1].ID) == nil || len(s.List()) != 3 {
		t.Errorf("%+v, %v, %d left", r, err, len(s.List()))
	}
	if faults, err := (Inspection{s}).Audit(t.Context(), nil, nil); err != nil || len(faults) > 0 {
		t.Error(faults, err)
	}
}

func TestGCTime(t *testing.T) {
	s, base, nodes := gcStore(t, 4)
	if err := s.FlushHits(); err != nil { // f1 to f3 are used now
		t.Fatal(err)
	}
	if err := (Marks{s}).SetExpiry(nodes[3].ID, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	r, err := s.GC(GCOptions{Unused: 5 * time.Hour})
	if err != nil || !slices.Equal(removed(r), []string{nodes[0].ID}) || r.Removed[0].Reason != "unused" {
		t.Errorf("%+v, %v", r, err)
	}
	r, err = s.GC(GCOptions{Now: time.Now().Add(2 * time.Hour)})
	if err != nil || !slices.Equal(removed(r), []string{nodes[3].ID}) || r.Removed[0].Reason != "expired" {
		t.Errorf("%+v, %v", r, err)
	}
	// An expiry takes what hangs on the node along, unless that is kept.
	if err := (Marks{s}).SetExpiry(base.ID, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := (Marks{s}).Pin(nodes[1].ID, time.Time{}); err != nil {
		t.Fatal(err)
	}
	r, err = s.GC(GCOptions{Now: time.Now().Add(time.Second)})
	if err != nil || !slices.Equal(removed(r), []string{nodes[2].ID}) || len(s.List()) != 3 {
		t.Errorf("%+v, %v", r, err)
	}
	if err := (Marks{s}).Unpin(nodes[1].ID); err != nil {
		t.Fatal(err)
	}
	r, err = s.GC(GCOptions{Now: time.Now().Add(time.Second)})
	if err != nil || len(r.Removed) != 2 || len(s.List()) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestGCDamaged(t *testing.T) {
	s := openStore(t, copyTree(t, "testdata/format-1"))
	if r, err := s.GC(GCOptions{}); err != nil || len(r.Removed) != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	damaged := s.Damaged()
	if r, err := s.GC(GCOptions{Damaged: true, DryRun: true}); err != nil || len(r.Removed) != 3 || r.BytesFreed == 0 || len(s.Damaged()) != 3 {
		t.Fatalf("%+v, %v", r, err)
	}
	if r, err := s.GC(GCOptions{Damaged: true}); err != nil || len(r.Removed) != 3 || len(s.Damaged()) != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	if _, err := os.Stat(damaged[0].Path); err == nil {
		t.Error("the file is still there")
	}
}

// Stats agrees with counting every page of every view.
func TestStats(t *testing.T) {
	s := openStore(t, t.TempDir())
	nodes, _ := testTree(t, s)
	r := rand.New(rand.NewPCG(6, 6))
	for range 12 { // more of a tree
		parent := nodes[r.IntN(len(nodes))]
		g := newGuest(testGuestPages)
		snapshot, err := s.Snapshot(parent.ID)
		if err != nil {
			t.Fatal(err)
		}
		g.reset(snapshot.View)
		g.scribble(r, 80)
		nodes = append(nodes, capture(t, s, NodeSpec{Kind: []nodefile.Kind{nodefile.KindBase, nodefile.KindFunction}[r.IntN(2)], State: []byte{1}}, parent, g))
	}
	// Siblings that have pages in one file, and nodes below them that hide some.
	for i := range uint64(3) {
		image, err := s.Snapshot(nodes[0].ID)
		if err != nil {
			t.Fatal(err)
		}
		g := newGuest(testGuestPages)
		g.reset(image.View)
		fillShared(g, i)
		sibling := capture(t, s, NodeSpec{Kind: nodefile.KindImport, State: []byte{byte(i)}}, nodes[0], g)
		for p := range uint64(50) {
			g.fill(120+p, 9000+p)
		}
		nodes = append(nodes, sibling, capture(t, s, NodeSpec{Kind: nodefile.KindFunction, State: []byte{1}}, sibling, g))
	}
	if links(t, s) != 2 {
		t.Errorf("%d links", links(t, s))
	}
	// The file's own node goes.
	if err := s.Remove(nodes[len(nodes)-5].ID, false); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(nodes[len(nodes)-6].ID, false); err != nil {
		t.Fatal(err)
	}
	nodes = slices.Delete(nodes, len(nodes)-6, len(nodes)-4)
	type page struct {
		blob *pages.Blob
		page uint64
	}
	shows := map[string]map[page]bool{}
	users := map[page]int{}
	for _, n := range nodes {
		snapshot, err := s.Snapshot(n.ID)
		if err != nil {
			t.Fatal(err)
		}
		own := map[page]bool{}
		for run := range snapshot.View.Runs(0, snapshot.View.Pages()) {
			for i := uint64(0); run.Blob != nil && i < run.Count; i++ {
				own[page{run.Blob, run.Page + i}] = true
			}
		}
		shows[n.ID] = own
		for p := range own {
			users[p]++
		}
	}
	got, err := Inspection{s}.Stats()
	if err != nil || len(got) != len(s.List()) {
		t.Fatalf("%d of %d nodes, %v", len(got), len(nodes), err)
	}
	for _, n := range nodes {
		var want Usage
		for p := range shows[n.ID] {
			want.ResidentBytes += nodefile.PageSize
			if users[p] == 1 {
				want.UniqueBytes += nodefile.PageSize
			}
			want.ProportionalBytes += nodefile.PageSize / float64(users[p])
		}
		g := got[n.ID]
		if g.ResidentBytes != want.ResidentBytes || g.UniqueBytes != want.UniqueBytes || g.SharedBytes != want.ResidentBytes-want.UniqueBytes ||
			math.Abs(g.ProportionalBytes-want.ProportionalBytes) > 1e-3 || g.FileBytes < n.StoredBytes() {
			t.Errorf("%s node %.12s: %+v, want %+v", n.Kind, n.ID, g, want)
		}
	}
}

func TestCompareAndRebase(t *testing.T) {
	s := openStore(t, t.TempDir())
	nodes, mem := testTree(t, s)
	a, b := 3, 5
	want := map[uint64]bool{}
	for p := range uint64(testGuestPages) {
		if lo := p * nodefile.PageSize; !bytes.Equal(mem[a][lo:lo+nodefile.PageSize], mem[b][lo:lo+nodefile.PageSize]) {
			want[p] = true
		}
	}
	for d, err := range (Inspection{s}).Compare(nodes[a].ID, nodes[b].ID) {
		if err != nil {
			t.Fatal(err)
		}
		if !want[d.Page] || d.Bytes == 0 || d.A[d.First] == d.B[d.First] || d.A[d.Last] == d.B[d.Last] || d.Last-d.First+1 < d.Bytes {
			t.Fatalf("page %#x: %d bytes in %d to %d", d.Page, d.Bytes, d.First, d.Last)
		}
		delete(want, d.Page)
	}
	if len(want) > 0 {
		t.Errorf("%d pages were not found to differ", len(want))
	}
	// A base node with the same memory in another lineage, and one with another.
	g := newGuest(testGuestPages)
	g.reset(nodes[2].View())
	same, err := s.Flatten(nodes[2].ID, "")
	if err != nil {
		t.Fatal(err)
	}
	r, err := Inspection{s}.RebaseCheck(nodes[3].ID, same.ID)
	if err != nil || !r.Possible || r.DiffPages != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	r, err = Inspection{s}.RebaseCheck(nodes[3].ID, nodes[1].ID)
	if err != nil || r.Possible || r.DiffPages == 0 || r.Overlap > r.DiffPages || len(r.Why) == 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := (Inspection{s}).RebaseCheck(nodes[1].ID, nodes[4].ID); !errors.Is(err, nodefile.ErrInvalid) {
		t.Errorf("onto a descendant: %v", err)
	}
	if _, err := (Inspection{s}).RebaseCheck(nodes[0].ID, nodes[4].ID); !errors.Is(err, nodefile.ErrInvalid) {
		t.Errorf("an image: %v", err)
	}
}
