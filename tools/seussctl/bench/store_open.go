package bench

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	"seuss/lineage"
)

// reopen measures opening the directory, and the memory of the catalogue.
func (b *storeBench) reopen() error {
	if err := b.s.Close(); err != nil {
		return err
	}
	b.s = nil
	heap := func() uint64 {
		runtime.GC()
		debug.FreeOSMemory()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	const turns = 5
	var took, cpu []time.Duration
	for turn := range turns {
		b.o.Progress("reopening the store", float64(turn)/turns)
		if b.s != nil {
			if err := b.s.Close(); err != nil {
				return err
			}
			b.s = nil
			runtime.GC()
		}
		if turn == 0 { // as after a crash, or before a writer has closed
			if err := os.Remove(filepath.Join(b.dir, "catalogue")); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
		start, used := time.Now(), processorTime()
		if err := b.open(); err != nil {
			return err
		}
		took, cpu = append(took, time.Since(start)), append(cpu, processorTime()-used)
		if n := b.s.Catalogue().Len(); n != b.o.Nodes+2 {
			return fmt.Errorf("%d nodes after reopening, want %d", n, b.o.Nodes+2)
		}
	}
	b.report.ReopenScanMS = millis(took[0])
	b.report.ReopenMS = millis(Percentile(took[1:], 50))
	b.report.ReopenCPUMS = millis(Percentile(cpu[1:], 50))
	b.report.MemoryBytes = float64(heap()-before) / float64(b.o.Nodes)
	var err error
	if b.report.RSSBytes, err = residentBytes(); err != nil {
		return err
	}
	if !dropPageCache() {
		return nil
	}
	if err := b.s.Close(); err != nil {
		return err
	}
	dropPageCache()
	start := time.Now()
	if err := b.open(); err != nil {
		return err
	}
	b.report.ReopenColdMS = millis(time.Since(start))
	return nil
}

func millis(d time.Duration) float64 { return math.Round(float64(d)/1e5) / 10 }

func (b *storeBench) lookUp() error {
	nodes := b.functions()
	r := rand.New(rand.NewPCG(5, 5))
	const samples = 50_000
	for _, way := range []struct {
		name string
		find func(n *lineage.Node) (*lineage.Node, error)
	}{
		{"look up by id", func(n *lineage.Node) (*lineage.Node, error) { return b.s.Get(n.ID) }},
		{"look up by 12 digits", func(n *lineage.Node) (*lineage.Node, error) { return b.s.Get(n.ID[:12]) }},
		{"look up by function", func(n *lineage.Node) (*lineage.Node, error) { return b.s.Function(n.Key.Function)[0], nil }},
	} {
		took := make([]time.Duration, samples)
		for i := range took {
			want := nodes[r.IntN(len(nodes))]
			start := time.Now()
			got, err := way.find(want)
			took[i] = time.Since(start)
			if err != nil || got != want {
				return fmt.Errorf("%s: %v, %w", way.name, got, err)
			}
		}
		b.report.Rows = append(b.report.Rows, NewRow(way.name, took))
	}
	return nil
}
