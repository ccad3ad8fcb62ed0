package bench

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"seuss/dirtytrack"
	"seuss/lineage"
)

// loads measures bringing a node back: reading its file, expanding, checking.
func (b *storeBench) loads() error {
	nodes := b.functions()
	r := rand.New(rand.NewPCG(6, 6))
	if _, err := b.s.Snapshot(b.baseID); err != nil {
		return err
	}
	took := make([]time.Duration, min(2000, len(nodes)))
	for i, k := range r.Perm(len(nodes))[:len(took)] {
		start := time.Now()
		if _, err := b.s.Snapshot(nodes[k].ID); err != nil {
			return err
		}
		took[i] = time.Since(start)
	}
	b.report.Rows = append(b.report.Rows, NewRow("load and expand", took))
	return nil
}

// deployer stands for a machine: private pages that show one view, and are brought
// to the next one by copying what differs.
type deployer struct {
	ram  []byte
	view *lineage.View
}

func newDeployer(v *lineage.View) *deployer {
	d := &deployer{ram: make([]byte, v.Pages()*lineage.PageSize), view: v}
	for run := range v.Runs(0, v.Pages()) {
		for p := run.First; run.Blob != nil && p < run.First+run.Count; p++ {
			copy(d.ram[p*lineage.PageSize:], v.Bytes(p))
		}
	}
	return d
}

func (d *deployer) deploy(v *lineage.View) error {
	for first, count := range lineage.Diff(d.view, v) {
		if err := v.Check(first, count); err != nil {
			return err
		}
		for p := first; p < first+count; p++ {
			if err := v.CopyPage(d.ram[p*lineage.PageSize:(p+1)*lineage.PageSize], p); err != nil {
				return err
			}
		}
	}
	d.view = v
	return nil
}

// reset looks at all pages that the deployment has copied, as a machine's reset does
// after its run.
func (d *deployer) reset(from *lineage.View) error {
	for first, count := range lineage.Diff(from, d.view) {
		for p := first; p < first+count; p++ {
			src := d.view.Bytes(p)
			if src != nil && !bytes.Equal(src, d.ram[p*lineage.PageSize:(p+1)*lineage.PageSize]) {
				return fmt.Errorf("page %#x is not what was deployed", p)
			}
		}
	}
	return nil
}

// deploys compares switching a machine to a node that is loaded with switching it
// to one that has to be expanded first, in turns.
func (b *storeBench) deploys() error {
	nodes := b.functions()
	nodes = nodes[:min(400, len(nodes))]
	var hot []*lineage.View
	for _, n := range nodes {
		b.s.Unload(n.ID)
		s, err := b.s.Snapshot(n.ID)
		if err != nil {
			return err
		}
		hot = append(hot, s.View)
	}
	d := newDeployer(hot[0])
	var hotTook, coldTook []time.Duration
	batch := max(1, min(40, len(nodes)/3)) // the hot ones are of another
	for turn := range 3 {
		for lo := 0; lo+batch <= len(nodes); lo += batch {
			// Of these nothing is left in memory.
			for k := lo; k < lo+batch; k++ {
				hot[k] = nil
				b.s.Unload(nodes[k].ID)
			}
			if err := d.deploy(hot[(lo+batch)%len(nodes)]); err != nil {
				return err
			}
			runtime.GC()
			runtime.GC()
			for k := lo; k < lo+batch; k++ {
				start := time.Now()
				if err := d.deploy(hot[(k+len(nodes)/2)%len(nodes)]); err != nil {
					return err
				}
				hotDone := time.Since(start)
				from := d.view
				start = time.Now()
				s, err := b.s.Snapshot(nodes[k].ID)
				if err != nil {
					return err
				}
				if err := d.deploy(s.View); err != nil {
					return err
				}
				if coldDone := time.Since(start); turn > 0 { // the first turn warms up
					hotTook, coldTook = append(hotTook, hotDone), append(coldTook, coldDone)
				}
				hot[k] = s.View
				if err := d.reset(from); err != nil {
					return err
				}
			}
		}
	}
	b.report.Deploys = []Row{NewRow("hot", hotTook), NewRow("expand and deploy", coldTook)}
	return nil
}

// depths measures chains below the base whose nodes differ in depth only.
func (b *storeBench) depths() error {
	if len(b.o.Depths) == 0 {
		return nil
	}
	deepest := slices.Max(b.o.Depths)
	parent, err := b.s.Snapshot(b.baseID)
	if err != nil {
		return err
	}
	base := parent.View
	dirty, pages := dirtytrack.NewPageSet(storeGuestPages), map[uint64][]byte{}
	chain := map[int]lineage.Snapshot{}
	// One more than is measured: a node with a child has its whole pages, as any has
	// that a machine was reset to.
	for depth := 1; depth <= deepest+1; depth++ {
		b.o.Progress("making a deep chain", float64(depth)/float64(deepest+1))
		b.functionDelta(1_000_000+depth, base, dirty, pages)
		n, err := b.s.Capture(lineage.NodeSpec{Kind: lineage.KindFunction, Key: lineage.Key{Function: "deep"}, State: parent.State, CPUFeatures: parent.Node.CPUFeatures, ABIVersion: 1},
			parent.Node, dirty, func(p uint64) []byte { return pages[p] })
		if err != nil {
			return err
		}
		if parent, err = b.s.Snapshot(n.ID); err != nil {
			return err
		}
		chain[depth] = parent
	}
	other := b.functions()[0]
	from, err := b.s.Snapshot(other.ID)
	if err != nil {
		return err
	}
	d := newDeployer(from.View)
	const rounds = 300
	deploys, loads := map[int][]time.Duration{}, map[int][]time.Duration{}
	for range rounds {
		for _, depth := range b.o.Depths {
			if err := d.deploy(from.View); err != nil {
				return err
			}
			start := time.Now()
			if err := d.deploy(chain[depth].View); err != nil {
				return err
			}
			deploys[depth] = append(deploys[depth], time.Since(start))
		}
	}
	for range 30 {
		for _, depth := range b.o.Depths {
			id := chain[depth].Node.ID
			chain[depth] = lineage.Snapshot{}
			b.s.Unload(id)
			runtime.GC()
			start := time.Now()
			s, err := b.s.Snapshot(id)
			if err != nil {
				return err
			}
			loads[depth] = append(loads[depth], time.Since(start))
			chain[depth] = s
		}
	}
	for _, depth := range b.o.Depths {
		b.report.Depth = append(b.report.Depth, StoreDepth{depth, micros(Percentile(deploys[depth], 50)), micros(Percentile(loads[depth], 50))})
	}
	return nil
}
