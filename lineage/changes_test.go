package lineage

import (
	"testing"
	"time"

	"seuss/lineage/changes"
)

// A cache that follows the feeds learns of every change of what it has, and most others
// do not disturb it.
func TestChanges(t *testing.T) {
	s := openStore(t, t.TempDir())
	nodes, _ := testTree(t, s)
	function, leaf := nodes[3], nodes[5]
	c := s.Changes()
	type since struct{ functions, nodes, images, marks changes.Generation }
	now := func() since { return since{c.Functions.Now(), c.Nodes.Now(), c.Images.Now(), c.Marks.Now()} }
	for _, step := range []struct {
		what                            string
		change                          func() error
		function, parent, image, marked bool
	}{
		{"load", func() error { _, err := s.Load(leaf.ID); return err }, false, false, false, false},
		{"unload", func() error { s.Unload(leaf.ID); return nil }, false, false, false, false},
		{"form", func() error { _, _, err := s.Reform(function.ID, FormPages); return err }, false, false, false, false},
		{"pin", func() error { return s.Marks().Pin(leaf.ID, time.Time{}) }, false, false, false, true},
		{"unpin", func() error { return s.Marks().Unpin(leaf.ID) }, false, false, false, true},
		{"remove", func() error { return s.Remove(leaf.ID, false) }, true, true, true, false},
		{"capture", func() error {
			g := newGuest(testGuestPages)
			g.reset(nodes[3].View())
			g.fill(9, 9)
			_, err := s.Capture(NodeSpec{Kind: KindArgument, Key: function.Key}, function, g.dirty, g.page)
			return err
		}, true, true, true, false},
	} {
		if _, err := s.Load(function.ID); err != nil {
			t.Fatal(err)
		}
		before := now()
		if err := step.change(); err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		for name, got := range map[string][2]bool{
			"function": {c.Functions.Since(function.Key.Function, before.functions), step.function},
			"parent":   {c.Nodes.Since(function.ID, before.nodes), step.parent},
			"image":    {c.Images.Since(function.ImageDigest, before.images), step.image},
			"mark":     {c.Marks.Since(leaf.ID, before.marks), step.marked},
		} {
			if got[0] != got[1] {
				t.Errorf("%s: %s has changed: %v", step.what, name, got[0])
			}
		}
	}
}
