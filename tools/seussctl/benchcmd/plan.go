package benchcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/plan"
	"seuss/tools/seussctl/bench"
	"seuss/tools/seussctl/cmdline"
)

// planMethods are how trees are fitted: by what this program does of itself, as Forklift does
// with its two better modes, and by the rule that its author's lecture found best.
var planMethods = []planMethod{
	{"cover", func(ctx context.Context, t *planTrace, nodes int) (*plan.Tree, error) {
		return plan.Cover(ctx, t.train, t.deps, t.costs, plan.CoverOptions{Nodes: nodes})
	}},
	{"published", splits(plan.WeighUniform, plan.InheritNone)},
	{"published by time", splits(plan.WeighTime, plan.InheritNone)},
	{"inheritance by cost", splits(plan.WeighTime, plan.InheritCost)},
}

// quickMethods are measured where --full does not ask for all.
const quickMethods = 2

type planMethod struct {
	name string
	fit  func(ctx context.Context, t *planTrace, nodes int) (*plan.Tree, error)
}

func splits(by plan.Weighting, inherit plan.Inheritance) func(context.Context, *planTrace, int) (*plan.Tree, error) {
	return func(ctx context.Context, t *planTrace, nodes int) (*plan.Tree, error) {
		weights, err := t.train.Weights(by, inherit, t.costs, t.deps)
		if err != nil {
			return nil, err
		}
		return plan.Published(ctx, t.train, t.deps, weights, plan.SplitOptions{Nodes: nodes})
	}
}

// planOptions are what is measured.
type planOptions struct {
	functions, atATime, pairs, first int
	sizes                            []int
	methods                          []planMethod
}

func BenchPlan(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:  "plan",
		Usage: "measure planned import nodes, and beside them the same trees as forked processes",
		Description: `
Functions import two packages picked at random of 32 or more of Debian's, and do nothing
else. Trees are fitted to one trace of them; each function of another trace is invoked
once, never seen before, 5 at a time: without a tree, by SOCK's dynamic policy (a function
for which no node has all makes one below the greatest that has a part), and with the trees
that each method fits. Beside each tree, in turns, the same as Python processes that have
imported what the nodes hold, and fork. MEMORY is what all nodes take: of snapshots each
page of their own, and copies that machines map; of processes their proportional set sizes
and page tables. LEFT is the part of the imports that was predicted to be left.

--full measures five pairs of traces, and all methods. A plot is written beside. The
packages that the image lacks are named; uses a state directory of its own below the
default, or the one given with --state.`,
		Examples: []string{"seussctl bench plan --functions 40 --sizes 5,20,40", "seussctl bench plan --full --plot plan.svg --json"},
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "functions", Value: 1000, Usage: "`N` functions in each trace"},
			&cli.StringFlag{Name: "sizes", Value: "5,10,20,40,80,160", Usage: "`NODES` of the trees, comma-separated, the root included"},
			&cli.IntFlag{Name: "at-a-time", Value: 5, Usage: "`N` invocations at a time"},
			&cli.IntFlag{Name: "first", Value: 100, Usage: "`N` functions that are deployed and then invoked, with a plan and without"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "full", Usage: "five pairs of traces, and all methods"},
			&cli.StringFlag{Name: "plot", Value: "bench-plan.svg", Usage: "write throughput and memory over nodes to `FILE`; none leaves it out"},
		},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			o := planOptions{functions: c.Int("functions"), atATime: c.Int("at-a-time"), first: c.Int("first"), pairs: 1, methods: planMethods[:quickMethods]}
			if c.Bool("full") {
				o.pairs, o.methods = 5, planMethods
			}
			var err error
			if o.sizes, err = parseSizes(c.String("sizes")); err != nil {
				return cmdline.Usagef(c.Command.HelpName, "--sizes %q: %w", c.String("sizes"), err)
			}
			for name, n := range map[string]int{"functions": o.functions, "first": o.first} {
				if n < 1 || n > 100_000 {
					return cmdline.Usagef(c.Command.HelpName, "--%s %d: want 1 to 100,000", name, n)
				}
			}
			if o.atATime < 1 || o.atATime > 64 {
				return cmdline.Usagef(c.Command.HelpName, "--at-a-time %d: want 1 to 64", o.atATime)
			}
			report, err := measurePlans(c.Context, e, o)
			if err != nil {
				return err
			}
			e.Progress.Clear()
			if path := c.String("plot"); path != "none" {
				if err := writePlot(path, report); err != nil {
					return err
				}
				e.Notef("the plot is in %s", path)
			}
			if e.JSON {
				return e.PrintJSON(report)
			}
			return printPlans(e.Stdout, report)
		},
	})
}

func parseSizes(text string) (sizes []int, err error) {
	items, err := cmdline.SplitList(text)
	if err != nil {
		return nil, err
	}
	for _, item := range items {
		n, err := strconv.Atoi(item)
		if err != nil || n < 2 || n > 1000 {
			return nil, fmt.Errorf("%q is not a number of nodes from 2 to 1000", item)
		}
		sizes = append(sizes, n)
	}
	slices.Sort(sizes)
	return slices.Compact(sizes), nil
}

func writePlot(path string, r *bench.PlanReport) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := errors.Join(bench.PlotPlans(r).WriteSVG(f), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func printPlans(w io.Writer, r *bench.PlanReport) error {
	t := cmdline.NewTable("TREE", "OF", ">NODES", ">CALLS", ">CALLS/S", ">TO NO TREE", ">TO PROCESSES", ">P50", ">P99", ">MEMORY", ">A NODE", ">LEFT")
	none := r.Row(bench.NoTree, bench.InSnapshots, 1)
	for _, row := range r.Rows {
		toNone, toProcesses, memory, each, left := "-", "-", "-", "-", "-"
		if none != nil && none.Rate > 0 {
			toNone = cmdline.FormatRatio(row.Rate / none.Rate)
		}
		if other := r.Row(row.Way, bench.InProcesses, row.Size); other != nil && other.Rate > 0 && row.Side == bench.InSnapshots {
			toProcesses = cmdline.FormatRatio(row.Rate / other.Rate)
		}
		if row.Nodes > 1 {
			memory, each = cmdline.FormatBytes(row.Memory), cmdline.FormatBytes(row.Memory/uint64(row.Nodes-1))
		}
		if row.Left > 0 {
			left = fmt.Sprintf("%.2f", row.Left)
		}
		t.Row(row.Way, row.Side, fmt.Sprint(row.Nodes), fmt.Sprint(row.Calls), fmt.Sprintf("%.1f", row.Rate), toNone, toProcesses, FormatMicros(row.P50), FormatMicros(row.P99), memory, each, left)
	}
	if err := t.Print(w); err != nil {
		return err
	}
	fmt.Fprintln(w)
	t = cmdline.NewTable("FIRST INVOCATION, FROM THE ORDER TO DEPLOY", ">N", ">P50", ">P99")
	for _, row := range r.First {
		t.Row(row.Path, fmt.Sprint(row.N), FormatMicros(row.P50), FormatMicros(row.P99))
	}
	if err := t.Print(w); err != nil {
		return err
	}
	fmt.Fprintf(w, "\n%d packages: %s\n", len(r.Packages), strings.Join(r.Packages, ", "))
	for _, reason := range r.LeftOut {
		fmt.Fprintf(w, "left out: %s\n", reason)
	}
	fmt.Fprintln(w)
	return printBars(w, bench.PlanBars(r, planMethods[0].name))
}
