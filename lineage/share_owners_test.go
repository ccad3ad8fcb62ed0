package lineage

import (
	"fmt"
	"testing"

	"seuss/lineage/nodefile"
)

// addOwned captures what add does as a function's node.
func (h *sharing) addOwned(t testing.TB, function string, private uint64) *Node {
	t.Helper()
	image, err := h.s.Snapshot(h.image.ID)
	if err != nil {
		t.Fatal(err)
	}
	g := newGuest(testGuestPages)
	g.reset(image.View)
	fillShared(g, private)
	n := capture(t, h.s, NodeSpec{Kind: nodefile.KindFunction, Key: nodefile.Key{Function: function, Handler: "main.handler", CodeDigest: "c"}, State: []byte("state")}, h.image, g)
	h.nodes, h.mem = append(h.nodes, n), append(h.mem, g.mem)
	return n
}

func (h *sharing) donors(t testing.TB, n *Node) (ids []string) {
	t.Helper()
	list, err := h.s.Inspect().Donors(n)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range list {
		ids = append(ids, d.ID)
	}
	return ids
}

// TestOwnersShareNothing: nodes of two owners that are the same byte for byte are two
// nodes with files of their own, which are as large as if the other one were not there.
// What came from the image is shared by all, and within an owner pages are.
func TestOwnersShareNothing(t *testing.T) {
	alone := newSharing(t, openStoreAs(t, t.TempDir(), Options{Form: nodefile.FormPages}), 0)
	want := alone.addOwned(t, "bob/hello", 7).StoredBytes()

	h := newSharing(t, openStoreAs(t, t.TempDir(), Options{Form: nodefile.FormPages}), 0)
	owner := map[string]string{}
	add := func(function string, private uint64, donors int) *Node {
		t.Helper()
		n := h.addOwned(t, function, private)
		if owner[n.ID] != "" {
			t.Fatalf("%s has the node of %s", function, owner[n.ID])
		}
		owner[n.ID] = n.Key.Owner() + "."
		got := h.donors(t, n)
		if len(got) != donors {
			t.Errorf("%s has pages in %v", function, got)
		}
		for _, id := range got {
			if o := owner[id]; o != owner[n.ID] {
				t.Errorf("%s has pages in a file of %q", function, o)
			}
		}
		return n
	}
	add("alice/hello", 7, 0)
	// Times in a file's head take a digit more or less; a page that is shared takes a page less.
	if n := add("bob/hello", 7, 0); n.StoredBytes() > want+PageSize/2 || n.StoredBytes()+PageSize/2 < want {
		t.Errorf("a node takes %d bytes beside another owner's, %d alone", n.StoredBytes(), want)
	}
	add("hello", 7, 0)
	add("alice/other", 8, 1)
	add("alicee/hello", 8, 0)
	add("other", 8, 1)
	// What holds no function's content has no pages with one, but all have with it.
	shared := h.add(t)
	if got := h.donors(t, shared); len(got) != 0 {
		t.Errorf("a shared node has pages in files of %v", got)
	}
	for _, function := range []string{"carol/hello", "dave/hello"} {
		n := h.addOwned(t, function, 9)
		if got := h.donors(t, n); len(got) != 1 || got[0] != shared.ID {
			t.Errorf("%s has pages in files of %v, not of the shared node", function, got)
		}
	}
	for i := range h.nodes {
		h.check(t, i)
	}
}

// TestManyOwners: each owner finds his own pages again however many there are, and the
// tables stay within their bound.
func TestManyOwners(t *testing.T) {
	if testing.Short() {
		t.Skip("hundreds of nodes")
	}
	h := newSharing(t, openStoreAs(t, t.TempDir(), Options{Form: nodefile.FormPages}), 0)
	const owners = 100
	for round := range uint64(2) {
		for i := range uint64(owners) {
			n := h.addOwned(t, fmt.Sprintf("owner%d/f%d", i, round), 2*i+round)
			if got := h.donors(t, n); len(got) != int(round) {
				t.Fatalf("%s has pages in %v", n.Key.Function, got)
			}
		}
	}
	if len(h.s.siblings.tables) > maxSiblingTables {
		t.Errorf("%d tables", len(h.s.siblings.tables))
	}
}
