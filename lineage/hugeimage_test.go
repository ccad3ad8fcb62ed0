package lineage

import (
	"testing"
	"weak"

	"seuss/lineage/nodefile"
	"seuss/lineage/pages"
)

// TestHugeImage: a store with huge pages shows an image as one without does, and where
// the host gives none it is one without.
func TestHugeImage(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	nodes, mem := testTree(t, s)
	s.huge, s.verify = true, pages.VerifyDemand // whatever the host gives
	for i, n := range nodes {
		s.Unload(n.ID)
		n.blob = weak.Pointer[pages.Blob]{}
		if _, err := s.Load(n.ID); err != nil {
			t.Fatal(err)
		}
		if b := n.Blob(); n.Info.Kind == nodefile.KindImage && (!b.Filled(0, b.Pages()) || pages.HugeBytes() == 0) {
			t.Errorf("pages are not there, %d bytes are counted", pages.HugeBytes())
		}
		checkView(t, n.View(), mem[i])
	}
}
