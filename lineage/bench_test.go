package lineage

import (
	"encoding/binary"
	"testing"
	"weak"

	"seuss/lineage/nodefile"
	"seuss/lineage/pages"
)

// benchStore makes an image and nodes small nodes of 102 dirty pages below it,
// as many as one json.dumps in CPython dirties.
func benchStore(b *testing.B, dir string, nodes int) (*Store, []*Node) {
	s := openStore(b, dir)
	image := addTestImage(b, s)
	g := newGuest(testGuestPages)
	var all []*Node
	for i := range nodes {
		for p := range uint64(102) {
			g.fill(p*11, p+1)
		}
		all = append(all, capture(b, s, NodeSpec{State: binary.LittleEndian.AppendUint32(nil, uint32(i))}, image, g))
	}
	return s, all
}

func BenchmarkCapture(b *testing.B) {
	s, _ := benchStore(b, b.TempDir(), 0)
	image := s.List()[0]
	g := newGuest(testGuestPages)
	for p := range uint64(102) {
		g.fill(p*11, p+1)
	}
	i := uint32(0)
	for b.Loop() {
		i++
		if _, err := s.Capture(NodeSpec{Kind: nodefile.KindFunction, State: binary.LittleEndian.AppendUint32(nil, i)}, image, g.dirty, g.page); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen reports the cost of opening a directory for each node in it.
func BenchmarkOpen(b *testing.B) {
	const nodes = 500
	dir := b.TempDir()
	benchStore(b, dir, nodes)
	for b.Loop() {
		s, err := Open(dir, Options{ReadOnly: true})
		if err != nil || len(s.List()) != nodes+1 {
			b.Fatal(err)
		}
		s.Close()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/nodes, "ns/node")
}

// BenchmarkLoad loads one node of 102 pages whose ancestors are loaded.
func BenchmarkLoad(b *testing.B) {
	s, nodes := benchStore(b, b.TempDir(), 1)
	for b.Loop() {
		n := nodes[0]
		n.loaded.Store(nil)
		n.blob = weak.Pointer[pages.Blob]{} // as if nobody used it
		if _, err := s.Load(n.ID); err != nil {
			b.Fatal(err)
		}
	}
}
