package benchcmd

import (
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"seuss/lineage/sealed"
	"seuss/tools/seussctl/bench"
	"seuss/tools/seussctl/cmdline"
)

// Bars of a store, from SPECIFICATION.md.
const (
	storeNodeBytes   = 24 << 10
	storeReopenMS    = 2000
	storeReopenNodes = 50_000
	storeDeployRatio = 3
	million          = 1_000_000
)

func BenchStore(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:  "store",
		Usage: "measure a store with many function snapshots",
		Description: `
Captures --nodes function snapshots of different content on one base into a
directory of its own, which it removes afterwards, and measures: rate of captures,
bytes for each on disk and in memory, reopening, look-ups, loading one that is
stored as differences, a switch to a loaded one against a switch to one that has to
be expanded, and both by depth of the lineage. The guest is synthetic, in the shape
that Python functions have; no machine is needed. 50,000 take some minutes.`,
		Examples: []string{"seussctl bench store", "seussctl bench store --nodes 50000 --json"},
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "nodes", Value: 2000, Usage: "`N` function snapshots"},
			&cli.StringFlag{Name: "depths", Value: "1,10,50,200", Usage: "lineage `DEPTHS` to measure at, comma-separated; none leaves it out"},
		},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			depths, err := parseDepths(c.String("depths"))
			if err != nil {
				return cmdline.Usagef(c.Command.HelpName, "--depths %q: %w", c.String("depths"), err)
			}
			if n := c.Int("nodes"); n < 2 || n > 10*million {
				return cmdline.Usagef(c.Command.HelpName, "--nodes %d: want 2 to %d", n, 10*million)
			}
			if err := os.MkdirAll(e.StateDir, sealed.DirMode); err != nil {
				return err
			}
			r, err := bench.MeasureStore(c.Context, bench.StoreOptions{Dir: e.StateDir, Nodes: c.Int("nodes"), Depths: depths, Progress: e.Progress.Step})
			if err != nil {
				return err
			}
			e.Progress.Clear()
			if e.JSON {
				return e.PrintJSON(r)
			}
			return printStoreBench(e.Stdout, r)
		},
	})
}

func printStoreBench(w io.Writer, r *bench.StoreReport) error {
	t := cmdline.NewTable("WHAT", ">FIGURE", ">A MILLION")
	perMillion := func(v float64) string { return cmdline.FormatBytes(uint64(v * million)) }
	bytes := func(v float64) string { return cmdline.FormatBytes(uint64(v)) }
	t.Row("function snapshots", cmdline.FormatPages(uint64(r.Nodes)), "")
	t.Row(fmt.Sprintf("captures a second, %d at a time", r.Workers), fmt.Sprintf("%.0f", r.CapturesSecond), fmt.Sprintf("%.1f h", million/r.CapturesSecond/3600))
	t.Row("file, each", bytes(r.FileBytes), perMillion(r.FileBytes))
	t.Row("blocks on disk, each", bytes(r.DiskBytes), perMillion(r.DiskBytes))
	t.Row("whole pages, each", bytes(r.WholePagesBytes), perMillion(r.WholePagesBytes))
	t.Row("ratio of whole pages to file", cmdline.FormatRatio(r.WholePagesBytes/r.FileBytes), "")
	t.Row("memory of the catalogue, each", bytes(r.MemoryBytes), perMillion(r.MemoryBytes))
	t.Row("resident, nothing loaded", cmdline.FormatBytes(r.RSSBytes), "")
	t.Row("reopen", fmt.Sprintf("%.0f ms", r.ReopenMS), fmt.Sprintf("%.0f s", r.ReopenMS/float64(r.Nodes)*million/1000))
	t.Row("the same, processor time", fmt.Sprintf("%.0f ms", r.ReopenCPUMS), fmt.Sprintf("%.0f s", r.ReopenCPUMS/float64(r.Nodes)*million/1000))
	t.Row("reopen from the node files", fmt.Sprintf("%.0f ms", r.ReopenScanMS), fmt.Sprintf("%.0f s", r.ReopenScanMS/float64(r.Nodes)*million/1000))
	if r.ReopenColdMS > 0 {
		t.Row("reopen, empty page cache", fmt.Sprintf("%.0f ms", r.ReopenColdMS), fmt.Sprintf("%.0f s", r.ReopenColdMS/float64(r.Nodes)*million/1000))
	}
	if err := t.Print(w); err != nil {
		return err
	}
	fmt.Fprintln(w)
	t = cmdline.NewTable("STEP", ">N", ">P50", ">P99")
	for _, row := range append(append([]bench.Row{r.Capture}, r.Rows...), r.Deploys...) {
		t.Row(row.Path, cmdline.FormatPages(uint64(row.N)), FormatMicros(row.P50), FormatMicros(row.P99))
	}
	if err := t.Print(w); err != nil {
		return err
	}
	if len(r.Depth) > 0 {
		fmt.Fprintln(w)
		t = cmdline.NewTable(">DEPTH", ">DEPLOY P50", ">RATIO", ">LOAD P50", ">RATIO")
		for _, d := range r.Depth {
			t.Row(fmt.Sprint(d.Depth), FormatMicros(d.Deploy), cmdline.FormatRatio(d.Deploy/r.Depth[0].Deploy), FormatMicros(d.Load), cmdline.FormatRatio(d.Load/r.Depth[0].Load))
		}
		if err := t.Print(w); err != nil {
			return err
		}
	}
	fmt.Fprintln(w)
	t = cmdline.NewTable("BAR", ">LIMIT", ">MEASURED", "MET")
	bar := func(name string, limit, measured float64, format func(float64) string) {
		met := "yes"
		if measured > limit {
			met = "no"
		}
		t.Row(name, format(limit), format(measured), met)
	}
	bar("file of a small function", storeNodeBytes, r.FileBytes, bytes)
	if len(r.Deploys) == 2 && r.Deploys[0].P50 > 0 {
		bar("expand and deploy / hot deploy", storeDeployRatio, r.Deploys[1].P50/r.Deploys[0].P50, cmdline.FormatRatio)
	}
	if r.Nodes >= storeReopenNodes {
		bar("reopen", storeReopenMS, r.ReopenMS, func(v float64) string { return fmt.Sprintf("%.0f ms", v) })
	}
	return t.Print(w)
}
