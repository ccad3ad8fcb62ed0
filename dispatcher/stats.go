package dispatcher

import (
	"sync/atomic"
	"time"

	"seuss/dispatcher/imports"
	"seuss/dispatcher/instance"
	"seuss/dispatcher/outbound"
	"seuss/dispatcher/park"
	"seuss/dispatcher/tiers"
	"seuss/lineage"
	"seuss/lineage/pages"
	"seuss/vmm/platform"
)

// counters count what happened since Open.
type counters struct {
	crashes, timeouts atomic.Uint64
	outOfMemory       atomic.Uint64
	captures, impure  atomic.Uint64
	started           atomic.Uint64 // invocations, from their function's node or one below
	loadedBelow       atomic.Uint64 // code, below an import node, or code that imports nothing
	loadedAtBase      atomic.Uint64 // code that imports packages, where none were
	prefetched        atomic.Uint64
	dirtied, faults   atomic.Uint64
	copied, compared  atomic.Uint64
	mapped, mapCalls  atomic.Uint64
	parked, resumed   atomic.Int64 // time that it took, ns
}

// Restored counts what bringing machines to snapshots takes.
func (c *counters) Restored(m instance.Moved) {
	c.copied.Add(m.Copied)
	c.compared.Add(m.Compared)
	c.mapped.Add(m.Mapped)
	c.mapCalls.Add(m.Calls)
}

// Ran, Captured and Prefetched make the counters an instance.Observer.
func (c *counters) Ran(faults, private uint64) {
	c.faults.Add(faults)
	c.dirtied.Add(private)
}

func (c *counters) Captured() { c.captures.Add(1) }

func (c *counters) Prefetched(pages uint64) { c.prefetched.Add(pages) }

// Parked and Resumed count what it takes to park instances and to bring them back.
func (c *counters) Parked(took time.Duration)  { c.parked.Add(int64(took)) }
func (c *counters) Resumed(took time.Duration) { c.resumed.Add(int64(took)) }

// coded counts that code was loaded for a snapshot below parent.
func (c *counters) coded(parent *lineage.Node, imported *imports.Record) {
	if parent.Kind == lineage.KindImport || imported == nil || len(imported.Distributions) == 0 {
		c.loadedBelow.Add(1)
	} else {
		c.loadedAtBase.Add(1)
	}
}

func tiersOf(d *Dispatcher, bytes map[lineage.Kind]uint64) (t tiers.Tiers) {
	all, gone := d.store.Removed()
	c, budget := &d.events, d.opts.TierBytes
	below, base := c.loadedBelow.Load(), c.loadedAtBase.Load()
	t.Handler = tiers.Tier{Hits: c.started.Load(), Misses: below + base, Removed: all - gone, Bytes: bytes[lineage.KindFunction] + bytes[lineage.KindArgument], Budget: budget.Handler}
	t.Imports = tiers.Tier{Hits: below, Misses: base, Removed: gone, Bytes: bytes[lineage.KindImport], Budget: budget.Imports}
	t.Packages = d.images.packages.Tier()
	t.Packages.Budget = budget.Packages
	return t
}

// Stats are a Dispatcher's counts since Open, and what its store holds.
type Stats struct {
	Platform        string                  `json:"platform"` // that runs the machines
	CPU             platform.CPUFeatures    `json:"-"`        // that it offers
	Crashes         uint64                  `json:"crashes"`
	Timeouts        uint64                  `json:"timeouts"`
	OutOfMemory     uint64                  `json:"out_of_memory"`    // instances that outgrew their function's memory
	Captures        uint64                  `json:"captures"`         // nodes made
	PurityRefusals  uint64                  `json:"purity_refusals"`  // argument snapshots that the policy did not take
	NodesRemoved    uint64                  `json:"nodes_removed"`    // by hand, to make room, or because their code is gone
	PagesPrefetched uint64                  `json:"pages_prefetched"` // of loading sets
	PagesDirtied    uint64                  `json:"pages_dirtied"`    // that runs left private to their machines
	HostFaults      uint64                  `json:"host_faults"`      // page faults of the host while functions ran
	PagesCopied     uint64                  `json:"pages_copied"`     // to bring machines to snapshots
	PagesCompared   uint64                  `json:"pages_compared"`   // to see whether they have to be
	PagesMapped     uint64                  `json:"pages_mapped"`     // in their place
	MapCalls        uint64                  `json:"map_calls"`        // system calls that have changed how machines' memory is mapped
	Parked          park.Stats              `json:"parked"`           // instances that wait without a machine
	ParkTime        time.Duration           `json:"park_ns"`          // that parking them took, in all
	ResumeTime      time.Duration           `json:"resume_ns"`        // that bringing them back took
	Network         outbound.Stats          `json:"network"`          // connections beyond the machines
	StreamsRefused  uint64                  `json:"streams_refused"`  // because an instance, or all, had as many as they may
	LookupsRefused  uint64                  `json:"lookups_refused"`  // names that were not looked up for that
	Nodes           int                     `json:"nodes"`            // in the store
	NodeBytes       uint64                  `json:"node_bytes"`       // of their files, each counted once
	HugePageBytes   uint64                  `json:"huge_page_bytes"`  // of this process's copies of images
	FlatBytes       uint64                  `json:"flat_bytes"`       // that copies of snapshots' scattered pages may take
	BytesByKind     map[lineage.Kind]uint64 `json:"bytes_by_kind"`
	Tiers           tiers.Tiers             `json:"tiers"`
}

// Unready says why no invocation could be served, as far as that is seen without one: a
// part of the store is damaged, or the platform makes no machine. It makes one to see.
func (d *Dispatcher) Unready() (why []string) {
	if len(d.store.Damaged()) > 0 {
		why = append(why, "store damaged")
	}
	vm, err := d.platform.NewVM()
	if err == nil {
		err = vm.Close()
	}
	if err != nil {
		d.log.Warn("the platform makes no machine", "platform", d.platform.Name(), "error", err)
		why = append(why, "no platform")
	}
	return why
}

// Stats returns the counts.
func (d *Dispatcher) Stats() Stats {
	c := &d.events
	st := Stats{
		Platform: d.platform.Name(), CPU: d.platform.CPU().Features,
		Crashes: c.crashes.Load(), Timeouts: c.timeouts.Load(), OutOfMemory: c.outOfMemory.Load(), Captures: c.captures.Load(),
		PurityRefusals: c.impure.Load(), PagesPrefetched: c.prefetched.Load(), BytesByKind: map[lineage.Kind]uint64{},
	}
	st.NodesRemoved, _ = d.store.Removed()
	st.Network = d.opts.Network.Stats()
	st.Parked, st.ParkTime, st.ResumeTime = d.lot.Stats(), time.Duration(c.parked.Load()), time.Duration(c.resumed.Load())
	st.StreamsRefused, st.LookupsRefused = d.opts.Budgets.Streams.Refused(), d.opts.Budgets.Lookups.Refused()
	st.PagesDirtied, st.HostFaults = c.dirtied.Load(), c.faults.Load()
	st.PagesCopied, st.PagesCompared, st.PagesMapped, st.MapCalls = c.copied.Load(), c.compared.Load(), c.mapped.Load(), c.mapCalls.Load()
	st.HugePageBytes, st.FlatBytes = pages.HugeBytes(), pages.FlatBytes()
	for _, n := range d.store.List() {
		st.Nodes++
		st.BytesByKind[n.Info.Kind] += n.StoredBytes()
	}
	st.NodeBytes = d.store.DiskBytes()
	st.Tiers = tiersOf(d, st.BytesByKind)
	return st
}
