package benchcmd

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
	"seuss/tools/seussctl/cmdline"
)

const (
	defaultRounds = 20
	depthSamples  = 100 // restores at each depth
)

func BenchStart(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:  "start",
		Usage: "measure start to result on every start path, and beside it what else could be done",
		Description: `
Runs one small JSON function from a cold boot, base, function and argument
snapshots, each in a new machine; on a pooled shell; and on a shell that
switches between two functions; the same function in the other runtimes that there
are. Beside them: python3 started anew, a Python
zygote that forks per request, and fork+exec of a static C program. Samples are
taken in turns. Uses a state directory of its own below the default, or the
one given with --state.`,
		Examples: []string{"seussctl bench start", "seussctl bench start --rounds 5 --json"},
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "rounds", Value: defaultRounds, Usage: "`N` turns over all paths"},
			&cli.StringFlag{Name: "depths", Value: "1,10,25,50", Usage: "lineage `DEPTHS` at which to measure a restore, comma-separated; none leaves it out"},
		},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			rounds := c.Int("rounds")
			if rounds < 1 {
				return cmdline.Usagef(c.Command.HelpName, "--rounds %d: want 1 or more", rounds)
			}
			depths, err := parseDepths(c.String("depths"))
			if err != nil {
				return cmdline.Usagef(c.Command.HelpName, "--depths %q: %w", c.String("depths"), err)
			}
			report, err := measure(c.Context, e, rounds, depths)
			if err != nil {
				return err
			}
			e.Progress.Clear()
			if e.JSON {
				return e.PrintJSON(report)
			}
			return PrintBench(e.Stdout, report)
		},
	})
}

func parseDepths(text string) ([]int, error) {
	if text == "none" {
		return nil, nil
	}
	items, err := cmdline.SplitList(text)
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
func measure(ctx context.Context, e *cmdline.Env, rounds int, depths []int) (report *bench.Report, err error) {
	e.OwnState("bench")
	if err := e.FreshImages(ctx, e.OtherRuntimes()...); err != nil {
		return nil, err
	}
	report = &bench.Report{Rows: []bench.Row{}, Depth: []bench.Depth{}}
	err = e.WithEngine(dispatcher.Options{HugePages: e.HugePages}, func(d cmdline.Service) error {
		w, err := deployBench(ctx, e, d)
		if err != nil {
			return err
		}
		report.Platform, report.FunctionNodeBytes = w.platform, w.functionBytes
		return withSwitcher(e, func(switcher cmdline.Service) error {
			if report.Rows, err = measurePaths(ctx, e, d, switcher, w, rounds); err != nil {
				return err
			}
			report.Depth, err = measureDepth(ctx, e, d, depths)
			return err
		})
	})
	return report, err
}

// withSwitcher opens a second dispatcher on the same directory with one shell,
// which two functions then have to share.
func withSwitcher(e *cmdline.Env, f func(cmdline.Service) error) error {
	return e.WithEngine(dispatcher.Options{ReadOnly: true, PoolSize: 1, HugePages: e.HugePages}, f)
}

func measurePaths(ctx context.Context, e *cmdline.Env, d, switcher cmdline.Service, w *BenchWork, rounds int) (rows []bench.Row, err error) {
	baselines, err := startBaselines(ctx, e, w)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, b := range baselines {
			err = errors.Join(err, b.Close())
		}
	}()
	paths := w.Paths(d, switcher)
	for _, b := range baselines {
		paths = append(paths, baselinePath(b))
	}
	return bench.Measure(ctx, paths, rounds, func(f float64) { e.Progress.Step("measuring start paths", f) })
}

func measureDepth(ctx context.Context, e *cmdline.Env, d cmdline.Service, depths []int) ([]bench.Depth, error) {
	out := []bench.Depth{}
	if len(depths) == 0 {
		return out, nil
	}
	e.Progress.Step("measuring restores by depth", -1)
	local, ok := d.(interface {
		BenchDepth(ctx context.Context, depths []int, n int) (map[int][]time.Duration, error)
	})
	if !ok {
		return nil, cmdline.ErrServed
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

// PrintBench prints the rows with their ratios, then how the bars were met.
func PrintBench(w io.Writer, r *bench.Report) error {
	zygote, hasZygote := r.Row("zygote")
	t := cmdline.NewTable("PATH", ">N", ">P50", ">P99", ">P50 / ZYGOTE P50")
	for _, row := range r.Rows {
		ratio := "-"
		if hasZygote && zygote.P50 > 0 {
			ratio = cmdline.FormatRatio(row.P50 / zygote.P50)
		}
		t.Row(row.Path, fmt.Sprint(row.N), FormatMicros(row.P50), FormatMicros(row.P99), ratio)
	}
	if err := t.Print(w); err != nil {
		return err
	}
	if len(r.Depth) > 0 {
		t = cmdline.NewTable(">LINEAGE DEPTH", ">RESTORE P50", ">RATIO TO DEPTH "+fmt.Sprint(r.Depth[0].Depth))
		for _, d := range r.Depth {
			t.Row(fmt.Sprint(d.Depth), FormatMicros(d.P50), fmt.Sprintf("%.2f", d.P50/r.Depth[0].P50))
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
		if err := t.Print(w); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return printBars(w, bench.Bars(r))
}

func printBars(w io.Writer, bars []bench.Bar) error {
	t := cmdline.NewTable("BAR", ">MEASURED", ">LIMIT", "MET")
	for _, b := range bars {
		met := "yes"
		if !b.Met() {
			met = "no"
		}
		t.Row(b.Name, b.Format(b.Measured), b.Bound(), met)
	}
	return t.Print(w)
}

func FormatMicros(us float64) string {
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
