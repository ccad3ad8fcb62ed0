package lineage

import (
	"testing"

	"seuss/lineage/nodefile"
)

// TestFindDuplicates: two siblings that wrote the same page and one of their own each.
func TestFindDuplicates(t *testing.T) {
	for _, form := range bothForms {
		s := openStoreAs(t, t.TempDir(), Options{Form: form})
		image := addTestImage(t, s)
		g := newGuest(testGuestPages)
		for p := range uint64(20) {
			g.fill(p, p+1)
		}
		base := capture(t, s, NodeSpec{Kind: nodefile.KindBase}, image, g)
		for i := range uint64(2) {
			g.dirty.Clear()
			g.fill(3, 1000)
			g.fill(4+i, 2000+i)
			capture(t, s, NodeSpec{Kind: nodefile.KindFunction, Key: nodefile.Key{Function: string('a' + rune(i))}}, base, g)
		}
		total := 0
		d, err := Inspection{s}.FindDuplicates(t.Context(), func(int, int) { total++ })
		if err != nil || d.Pages < 24 || d.Pages-d.DistinctPages < 1 || d.Blocks <= d.DistinctBlocks || total != 3 {
			t.Errorf("%v: %+v, %v, %d nodes", form, d, err, total)
		}
	}
}
