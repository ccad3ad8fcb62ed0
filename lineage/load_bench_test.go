package lineage

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"weak"

	"seuss/lineage/nodefile"
	"seuss/lineage/pages"
)

// BenchmarkExpand loads one node of 121 pages, in most of which a few words differ,
// as in the delta of a small Python function.
func BenchmarkExpand(b *testing.B) {
	for _, form := range bothForms {
		b.Run(form.String(), func(b *testing.B) {
			s := openStoreAs(b, b.TempDir(), Options{Form: form})
			image := addTestImage(b, s)
			g := newGuest(testGuestPages)
			for p := range uint64(testGuestPages) {
				g.fill(p, p+1)
			}
			base := capture(b, s, NodeSpec{Kind: nodefile.KindBase}, image, g)
			r := rand.New(rand.NewPCG(1, 2))
			for i := range uint64(121) {
				page := g.page(i * 9)
				for range 35 {
					page[r.IntN(512)*8] = byte(r.Uint32())
				}
				g.dirty.Add(i * 9)
			}
			n := capture(b, s, NodeSpec{Kind: nodefile.KindFunction, State: make([]byte, 8<<10)}, base, g)
			b.ReportMetric(float64(n.StoredBytes()), "B/node")
			for i := 0; b.Loop(); i++ {
				if i%64 == 0 { // or no slab would be used again
					b.StopTimer()
					runtime.GC()
					runtime.GC()
					b.StartTimer()
				}
				n.loaded.Store(nil)
				n.blob = weak.Pointer[pages.Blob]{} // as if nobody used it
				s.blobs.Clear()
				if _, err := s.Load(n.ID); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
