package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/tools/seussctl/bench"
)

const (
	defaultRounds = 20
	depthSamples  = 100 // restores at each depth
)

func (e *env) benchStart() *cli.Command {
	return e.command(spec{
		name:  "start",
		usage: "measure start to result on every start path, and beside it what else could be done",
		description: `
Runs one small JSON function from a cold boot, base, function and argument
snapshots, each in a new machine; on a pooled shell; and on a shell that
switches between two functions; the same function in the other runtimes that there
are. Beside them: python3 started anew, a Python
zygote that forks per request, and fork+exec of a static C program. Samples are
taken in turns. Uses a state directory of its own below the default, or the
one given with --state.`,
		examples: []string{"seussctl bench start", "seussctl bench start --rounds 5 --json"},
		flags: []cli.Flag{
			&cli.IntFlag{Name: "rounds", Value: defaultRounds, Usage: "`N` turns over all paths"},
			&cli.StringFlag{Name: "depths", Value: "1,10,25,50", Usage: "lineage `DEPTHS` at which to measure a restore, comma-separated; none leaves it out"},
		},
		action: func(c *cli.Context, e *env) error {
			rounds := c.Int("rounds")
			if rounds < 1 {
				return usagef(c.Command.HelpName, "--rounds %d: want 1 or more", rounds)
			}
			depths, err := parseDepths(c.String("depths"))
			if err != nil {
				return usagef(c.Command.HelpName, "--depths %q: %w", c.String("depths"), err)
			}
			report, err := e.measure(c.Context, rounds, depths)
			if err != nil {
				return err
			}
			e.progress.clear()
			if e.json {
				return e.printJSON(report)
			}
			return printBench(e.stdout, report)
		},
	})
}

func parseDepths(text string) ([]int, error) {
	if text == "none" {
		return nil, nil
	}
	items, err := splitList(text)
	if err != nil {
		return nil, err
	}
	var depths []int
	for _, item := range items {
		n, err := strconv.Atoi(item)
		if err != nil || n < 1 || n > 1000 {
			return nil, fmt.Errorf("%q is not a depth from 1 to 1000", item)
		}
		depths = append(depths, n)
	}
	return depths, nil
}

// measure deploys what is measured, measures it, and sums it up.
func (e *env) measure(ctx context.Context, rounds int, depths []int) (report *bench.Report, err error) {
	e.ownState("bench")
	if err := e.freshImages(ctx, e.otherRuntimes()...); err != nil {
		return nil, err
	}
	report = &bench.Report{Rows: []bench.Row{}, Depth: []bench.Depth{}}
	err = e.withEngine(dispatcher.Options{HugePages: e.hugePages}, func(d service) error {
		w, err := e.deployBench(ctx, d)
		if err != nil {
			return err
		}
		report.Platform, report.FunctionNodeBytes = w.platform, w.functionBytes
		return e.withSwitcher(func(switcher service) error {
			if report.Rows, err = e.measurePaths(ctx, d, switcher, w, rounds); err != nil {
				return err
			}
			report.Depth, err = e.measureDepth(ctx, d, depths)
			return err
		})
	})
	return report, err
}

// withSwitcher opens a second dispatcher on the same directory with one shell,
// which two functions then have to share.
func (e *env) withSwitcher(f func(service) error) error {
	return e.withEngine(dispatcher.Options{ReadOnly: true, PoolSize: 1, HugePages: e.hugePages}, f)
}

func (e *env) measurePaths(ctx context.Context, d, switcher service, w *benchWork, rounds int) (rows []bench.Row, err error) {
	baselines, err := e.startBaselines(ctx, w)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, b := range baselines {
			err = errors.Join(err, b.Close())
		}
	}()
	paths := w.paths(d, switcher)
	for _, b := range baselines {
		paths = append(paths, baselinePath(b))
	}
	return bench.Measure(ctx, paths, rounds, func(f float64) { e.progress.step("measuring start paths", f) })
}

func (e *env) measureDepth(ctx context.Context, d service, depths []int) ([]bench.Depth, error) {
	out := []bench.Depth{}
	if len(depths) == 0 {
		return out, nil
	}
	e.progress.step("measuring restores by depth", -1)
	local, ok := d.(interface {
		BenchDepth(ctx context.Context, depths []int, n int) (map[int][]time.Duration, error)
	})
	if !ok {
		return nil, errServed
	}
	samples, err := local.BenchDepth(ctx, depths, depthSamples)
	if err != nil {
		return nil, err
	}
	for _, depth := range slices.Sorted(slices.Values(depths)) {
		if len(samples[depth]) == 0 {
			return nil, fmt.Errorf("measure restores: no samples at depth %d", depth)
		}
		out = append(out, bench.NewDepth(depth, samples[depth]))
	}
	return out, nil
}

// printBench prints the rows with their ratios, then how the bars were met.
func printBench(w io.Writer, r *bench.Report) error {
	zygote, hasZygote := r.Row("zygote")
	t := newTable("PATH", ">N", ">P50", ">P99", ">P50 / ZYGOTE P50")
	for _, row := range r.Rows {
		ratio := "-"
		if hasZygote && zygote.P50 > 0 {
			ratio = formatRatio(row.P50 / zygote.P50)
		}
		t.row(row.Path, fmt.Sprint(row.N), formatMicros(row.P50), formatMicros(row.P99), ratio)
	}
	if err := t.print(w); err != nil {
		return err
	}
	if len(r.Depth) > 0 {
		t = newTable(">LINEAGE DEPTH", ">RESTORE P50", ">RATIO TO DEPTH "+fmt.Sprint(r.Depth[0].Depth))
		for _, d := range r.Depth {
			t.row(fmt.Sprint(d.Depth), formatMicros(d.P50), fmt.Sprintf("%.2f", d.P50/r.Depth[0].P50))
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
		if err := t.print(w); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return printBars(w, bench.Bars(r))
}

func printBars(w io.Writer, bars []bench.Bar) error {
	t := newTable("BAR", ">MEASURED", ">LIMIT", "MET")
	for _, b := range bars {
		met := "yes"
		if !b.Met() {
			met = "no"
		}
		t.row(b.Name, b.Format(b.Measured), "≤ "+b.Format(b.Limit), met)
	}
	return t.print(w)
}

// formatRatio shows three digits, but of a large ratio no fraction.
func formatRatio(r float64) string {
	if r >= 100 {
		return fmt.Sprintf("%.0f", r)
	}
	return fmt.Sprintf("%.3g", r)
}

func formatMicros(us float64) string {
	switch {
	case us < 1000:
		return fmt.Sprintf("%.1f µs", us)
	case us < 1e6:
		return fmt.Sprintf("%.2f ms", us/1e3)
	}
	return fmt.Sprintf("%.2f s", us/1e6)
}

// checkAnswer insists that all paths do the same work.
func checkAnswer(path string, got, want json.RawMessage) error {
	same, err := bench.SameJSON(got, want)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if !same {
		return fmt.Errorf("%s answers %s, other paths %s", path, strings.TrimSpace(string(got)), want)
	}
	return nil
}
