package app

import (
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"seuss/tools/seussctl/bench"
)

// Bars of a store, from SPECIFICATION.md.
const (
	storeNodeBytes   = 24 << 10
	storeReopenMS    = 2000
	storeReopenNodes = 50_000
	storeDeployRatio = 3
	million          = 1_000_000
)

func (e *env) benchStore() *cli.Command {
	return e.command(spec{
		name:  "store",
		usage: "measure a store with many function snapshots",
		description: `
Captures --nodes function snapshots of different content on one base into a
directory of its own, which it removes afterwards, and measures: rate of captures,
bytes for each on disk and in memory, reopening, look-ups, loading one that is
stored as differences, a switch to a loaded one against a switch to one that has to
be expanded, and both by depth of the lineage. The guest is synthetic, in the shape
that Python functions have; no machine is needed. 50,000 take some minutes.`,
		examples: []string{"seussctl bench store", "seussctl bench store --nodes 50000 --json"},
		flags: []cli.Flag{
			&cli.IntFlag{Name: "nodes", Value: 2000, Usage: "`N` function snapshots"},
			&cli.StringFlag{Name: "depths", Value: "1,10,50,200", Usage: "lineage `DEPTHS` to measure at, comma-separated; none leaves it out"},
		},
		action: func(c *cli.Context, e *env) error {
			depths, err := parseDepths(c.String("depths"))
			if err != nil {
				return usagef(c.Command.HelpName, "--depths %q: %w", c.String("depths"), err)
			}
			if n := c.Int("nodes"); n < 2 || n > 10*million {
				return usagef(c.Command.HelpName, "--nodes %d: want 2 to %d", n, 10*million)
			}
			if err := os.MkdirAll(e.stateDir, 0o755); err != nil {
				return err
			}
			r, err := bench.MeasureStore(c.Context, bench.StoreOptions{Dir: e.stateDir, Nodes: c.Int("nodes"), Depths: depths, Progress: e.progress.step})
			if err != nil {
				return err
			}
			e.progress.clear()
			if e.json {
				return e.printJSON(r)
			}
			return printStoreBench(e.stdout, r)
		},
	})
}

func printStoreBench(w io.Writer, r *bench.StoreReport) error {
	t := newTable("WHAT", ">FIGURE", ">A MILLION")
	perMillion := func(v float64) string { return formatBytes(uint64(v * million)) }
	bytes := func(v float64) string { return formatBytes(uint64(v)) }
	t.row("function snapshots", formatPages(uint64(r.Nodes)), "")
	t.row(fmt.Sprintf("captures a second, %d at a time", r.Workers), fmt.Sprintf("%.0f", r.CapturesSecond), fmt.Sprintf("%.1f h", million/r.CapturesSecond/3600))
	t.row("file, each", bytes(r.FileBytes), perMillion(r.FileBytes))
	t.row("blocks on disk, each", bytes(r.DiskBytes), perMillion(r.DiskBytes))
	t.row("whole pages, each", bytes(r.WholePagesBytes), perMillion(r.WholePagesBytes))
	t.row("ratio of whole pages to file", formatRatio(r.WholePagesBytes/r.FileBytes), "")
	t.row("memory of the catalogue, each", bytes(r.MemoryBytes), perMillion(r.MemoryBytes))
	t.row("resident, nothing loaded", formatBytes(r.RSSBytes), "")
	t.row("reopen", fmt.Sprintf("%.0f ms", r.ReopenMS), fmt.Sprintf("%.0f s", r.ReopenMS/float64(r.Nodes)*million/1000))
	t.row("the same, processor time", fmt.Sprintf("%.0f ms", r.ReopenCPUMS), fmt.Sprintf("%.0f s", r.ReopenCPUMS/float64(r.Nodes)*million/1000))
	t.row("reopen from the node files", fmt.Sprintf("%.0f ms", r.ReopenScanMS), fmt.Sprintf("%.0f s", r.ReopenScanMS/float64(r.Nodes)*million/1000))
	if r.ReopenColdMS > 0 {
		t.row("reopen, empty page cache", fmt.Sprintf("%.0f ms", r.ReopenColdMS), fmt.Sprintf("%.0f s", r.ReopenColdMS/float64(r.Nodes)*million/1000))
	}
	if err := t.print(w); err != nil {
		return err
	}
	fmt.Fprintln(w)
	t = newTable("STEP", ">N", ">P50", ">P99")
	for _, row := range append(append([]bench.Row{r.Capture}, r.Rows...), r.Deploys...) {
		t.row(row.Path, formatPages(uint64(row.N)), formatMicros(row.P50), formatMicros(row.P99))
	}
	if err := t.print(w); err != nil {
		return err
	}
	if len(r.Depth) > 0 {
		fmt.Fprintln(w)
		t = newTable(">DEPTH", ">DEPLOY P50", ">RATIO", ">LOAD P50", ">RATIO")
		for _, d := range r.Depth {
			t.row(fmt.Sprint(d.Depth), formatMicros(d.Deploy), formatRatio(d.Deploy/r.Depth[0].Deploy), formatMicros(d.Load), formatRatio(d.Load/r.Depth[0].Load))
		}
		if err := t.print(w); err != nil {
			return err
		}
	}
	fmt.Fprintln(w)
	t = newTable("BAR", ">LIMIT", ">MEASURED", "MET")
	bar := func(name string, limit, measured float64, format func(float64) string) {
		met := "yes"
		if measured > limit {
			met = "no"
		}
		t.row(name, format(limit), format(measured), met)
	}
	bar("file of a small function", storeNodeBytes, r.FileBytes, bytes)
	if len(r.Deploys) == 2 && r.Deploys[0].P50 > 0 {
		bar("expand and deploy / hot deploy", storeDeployRatio, r.Deploys[1].P50/r.Deploys[0].P50, formatRatio)
	}
	if r.Nodes >= storeReopenNodes {
		bar("reopen", storeReopenMS, r.ReopenMS, func(v float64) string { return fmt.Sprintf("%.0f ms", v) })
	}
	return t.print(w)
}
