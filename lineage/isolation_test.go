package lineage

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"seuss/lineage/nodefile"
	"seuss/lineage/sealed"
)

// One test an anomaly of the isolation literature (Berenson et al., "A Critique of
// ANSI SQL Isolation Levels", 1995), for the catalogue as readers and writers of a
// Store see it.
func TestCatalogueIsolation(t *testing.T) {
	setup := func(t *testing.T) (*Store, []*Node) {
		s := openStore(t, t.TempDir())
		nodes, _ := testTree(t, s)
		return s, nodes
	}
	closed := func(ch <-chan struct{}) bool {
		select {
		case <-ch:
			return true
		case <-time.After(time.Minute):
			return false
		}
	}
	open := func(ch <-chan struct{}) bool {
		select {
		case <-ch:
			return false
		default:
			return true
		}
	}

	// What a writer has not finished is not seen, also if it never finishes.
	t.Run("dirty read", func(t *testing.T) {
		s, nodes := setup(t)
		g := newGuest(testGuestPages)
		g.reset(nodes[0].View())
		g.fill(1, 77)
		looked := 0
		look := func() {
			looked++
			if n := s.catalogue().Len(); n != len(nodes) {
				t.Errorf("%d nodes are seen", n)
			}
		}
		s.fs = sealed.FS{
			Create: func(dir string) (sealed.File, error) { look(); return sealed.OS().Create(dir) },
			Rename: func(string, string) error { look(); return syscall.EIO },
			Remove: sealed.OS().Remove, SyncDir: sealed.OS().SyncDir,
		}
		if _, err := s.Capture(NodeSpec{Kind: nodefile.KindBase}, nodes[0], g.dirty, g.page); !errors.Is(err, syscall.EIO) || looked < 2 {
			t.Errorf("%v after %d looks", err, looked)
		}
		s.fs = sealed.OS()
		look()
	})

	// A reader's answers do not change while it reads.
	t.Run("non-repeatable read", func(t *testing.T) {
		s, nodes := setup(t)
		c := s.Catalogue()
		leaf := nodes[5]
		if err := s.Remove(leaf.ID, false); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Get(leaf.ID); err != nil || n != leaf {
			t.Errorf("it is gone from the reader's state: %v", err)
		}
		if _, err := s.Get(leaf.ID); !errors.Is(err, ErrNotFound) {
			t.Errorf("it is still there: %v", err)
		}
	})

	// Nor do new rows come into a range that it has read.
	t.Run("phantom", func(t *testing.T) {
		s, nodes := setup(t)
		c := s.Catalogue()
		before := len(c.Children(nodes[0].ID))
		g := newGuest(testGuestPages)
		g.reset(nodes[0].View())
		g.fill(1, 78)
		capture(t, s, NodeSpec{Kind: nodefile.KindBase}, nodes[0], g)
		if len(c.Children(nodes[0].ID)) != before || c.Len() != len(nodes) || len(c.Kind(nodefile.KindBase)) != 1 {
			t.Error("a node appeared in the reader's state")
		}
		if len(s.Children(nodes[0].ID)) != before+1 {
			t.Error("the node is not there")
		}
	})

	// What it reads through different indexes is of one moment.
	t.Run("read skew", func(t *testing.T) {
		s, nodes := setup(t)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			g := newGuest(testGuestPages)
			for i := uint64(0); ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				g.reset(nodes[0].View())
				g.fill(2, i+100)
				n, err := s.Capture(NodeSpec{Kind: nodefile.KindFunction, Key: nodefile.Key{Function: "skew"}}, nodes[0], g.dirty, g.page)
				if err == nil {
					err = s.Remove(n.ID, false)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
		for range 2000 {
			c := s.Catalogue()
			children, function := len(c.Children(nodes[0].ID)), len(c.Function("skew"))
			if children != 1+function || c.Len() != len(nodes)+function {
				t.Fatalf("%d children, %d of the function, %d nodes", children, function, c.Len())
			}
		}
		close(stop)
		wg.Wait()
	})

	// Two writers do not undo each other.
	t.Run("lost update", func(t *testing.T) {
		s, nodes := setup(t)
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				if err := (Marks{s}).SetTag(fmt.Sprintf("tag-%d", i), nodes[3].ID); err != nil {
					t.Error(err)
				}
				nodes[3].Hit()
			})
		}
		wg.Wait()
		if n := len(s.Catalogue().Marks()); n != 20 || nodes[3].Hits() != 20 {
			t.Errorf("%d tags, %d hits, want 20", n, nodes[3].Hits())
		}
		dir := s.Dir()
		s.Close()
		if n := len(openStore(t, dir).Catalogue().Marks()); n != 20 {
			t.Errorf("%d tags on disk", n)
		}
	})

	// A change that is checked against the state is checked against the state that
	// it changes: a parent does not go while a child is captured below it.
	t.Run("write skew", func(t *testing.T) {
		s, nodes := setup(t)
		g := newGuest(testGuestPages)
		leaf := nodes[5]
		g.reset(leaf.View())
		g.fill(3, 5)
		fs := sealed.OS()
		s.fs.Create = func(dir string) (sealed.File, error) {
			s.fs = sealed.OS()
			if err := s.Remove(leaf.ID, false); err != nil { // in the middle of the capture
				t.Error(err)
			}
			return fs.Create(dir)
		}
		if _, err := s.Capture(NodeSpec{Kind: nodefile.KindArgument}, leaf, g.dirty, g.page); !errors.Is(err, ErrNotFound) {
			t.Errorf("below a removed parent: %v", err)
		}
		noTemps(t, s)
		s.Close()
		if d := openStore(t, s.Dir()).Damaged(); len(d) != 0 {
			t.Errorf("orphans: %v", d)
		}
	})

	// What a writer has done, it sees at once, and so does the disk.
	t.Run("read your writes", func(t *testing.T) {
		s, nodes := setup(t)
		if err := (Marks{s}).SetTag("now", nodes[4].ID); err != nil {
			t.Fatal(err)
		}
		ro := openStoreAs(t, s.Dir(), Options{ReadOnly: true})
		for _, c := range []Catalogue{s.Catalogue(), ro.Catalogue()} {
			if n, err := c.Get("now"); err != nil || n.ID != nodes[4].ID {
				t.Errorf("%v, %v", n, err)
			}
		}
	})

	// A watcher that takes the channel first misses nothing, and is not woken for
	// nothing.
	t.Run("lost wake-up", func(t *testing.T) {
		s, nodes := setup(t)
		c := s.Catalogue()
		all, hello, children, marks := c.Watch(), c.WatchFunction("hello"), c.WatchChildren(nodes[3].ID), c.WatchMarks()
		g := newGuest(testGuestPages)
		g.reset(nodes[0].View())
		g.fill(1, 79)
		capture(t, s, NodeSpec{Kind: nodefile.KindBase}, nodes[0], g)
		if !closed(all) || !open(marks) {
			t.Error("a new node: the watch of nodes must end, that of marks must not")
		}
		g.reset(nodes[3].View())
		g.fill(1, 80)
		key := nodes[3].Key
		capture(t, s, NodeSpec{Kind: nodefile.KindArgument, Key: key}, nodes[3], g)
		if !closed(hello) || !closed(children) {
			t.Error("a new argument node of the function: its watches must end")
		}
		if err := (Marks{s}).SetTag("x", nodes[3].ID); err != nil || !closed(marks) {
			t.Errorf("a new tag: %v", err)
		}
	})
}

func TestArgumentIndex(t *testing.T) {
	s := openStore(t, t.TempDir())
	nodes, _ := testTree(t, s)
	c := s.Catalogue()
	one := []nodefile.Binding{{Key: "a", Digest: digestOf([]byte("1"))}}
	for _, q := range []struct {
		function string
		args     []nodefile.Binding
		want     int
	}{{"hello", nil, 2}, {"hello", one, 1}, {"hell", nil, 0}, {"hello", []nodefile.Binding{{Key: "b", Digest: one[0].Digest}}, 0}, {"hello", append(one, one[0]), 0}} {
		if got := c.Arguments(q.function, q.args); len(got) != q.want {
			t.Errorf("%s %v: %d nodes, want %d", q.function, q.args, len(got), q.want)
		}
	}
	if got := c.Arguments("hello", one); got[0] != nodes[4] {
		t.Errorf("got %v", got[0].ID)
	}
}
