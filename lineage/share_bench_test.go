package lineage

import (
	"fmt"
	"syscall"
	"testing"

	"seuss/lineage/nodefile"
	"seuss/lineage/pages"
)

// BenchmarkSiblingCapture captures a node of 3,473 pages of which a sibling has 3,420,
// the figures of two deployments of one program that loads NumPy: with donors, and
// where the file system has no links. BenchmarkSiblingLoad loads it again.
func BenchmarkSiblingCapture(b *testing.B) {
	siblingBench(b, func(b *testing.B, s *Store, again func() *Node) {
		for range b.N {
			n := again()
			b.StopTimer() // again starts it
			if err := s.Remove(n.ID, false); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkSiblingLoad(b *testing.B) {
	siblingBench(b, func(b *testing.B, s *Store, again func() *Node) {
		n := again()
		for b.Loop() {
			s.Unload(n.ID)
			if _, err := s.Load(n.ID); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(n.StoredBytes()), "file-bytes")
	})
}

func siblingBench(b *testing.B, run func(b *testing.B, s *Store, again func() *Node)) {
	const count, same = 3473, 3420
	for _, links := range []bool{true, false} {
		b.Run(map[bool]string{true: "shared", false: "whole"}[links], func(b *testing.B) {
			s := openStoreAs(b, b.TempDir(), Options{Verify: pages.VerifyLazy})
			if !links {
				s.fs.Link = func(string, string) error { return syscall.EPERM }
			}
			image := addTestImageOf(b, s, 2*count)
			i := uint64(0)
			again := func() *Node {
				b.StopTimer()
				g := newGuest(2 * count)
				for p := range uint64(count) {
					seed := p + 1
					if p%64 == 63 && p/64 < count-same {
						seed += 1e6 * (i + 1)
					}
					g.fill(p*2, seed)
				}
				i++
				b.StartTimer()
				return capture(b, s, NodeSpec{Kind: nodefile.KindImport, State: fmt.Append(nil, i)}, image, g)
			}
			again()
			run(b, s, again)
		})
	}
}
