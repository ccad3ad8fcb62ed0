package plancmd

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"seuss/dispatcher/plan"
	"seuss/tools/seussctl/cmdline"
)

const (
	methodCover     = "cover"
	methodPublished = "published"
	defaultNodes    = 160 // where the study's throughput no longer rose
)

func planFit(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:  "fit",
		Usage: "make a plan from a trace of functions, or from the deployed ones",
		Description: `
A trace has a function a line: {"name": ..., "packages": ["NAME==VERSION", ...]}, with all
packages that it needs, and "calls" if it counts more than once. --packages says what
importing each costs, --deps what each depends on. Without --train it is what functions
were seen to import: plan history prints that.

The method cover chooses the sets of packages that save most import time for all
functions, for each byte under --budget. The method published is the splitter of
Forklift, whose rules --mode, --weights, --entropy, --inherit and --depth choose.`,
		Examples: []string{
			"seussctl plan fit --nodes 20",
			"seussctl plan fit --train train.jsonl --packages packages.json --deps deps.json --nodes 80",
			"seussctl plan fit --train train.jsonl --packages packages.json --deps deps.json --budget 2GiB --json >plan.json",
			"seussctl plan fit --train train.jsonl --deps depsets.jsonl --method published --mode multi --weights uniform --nodes 640 --json",
		},
		Flags: fitFlags(),
		Action: func(c *cli.Context, e *cmdline.Env) error {
			tree, err := fit(c, e)
			if err != nil {
				return err
			}
			if e.JSON {
				return e.PrintJSON(tree.Root)
			}
			return printTree(e.Stdout, tree)
		},
	})
}

// fitFlags say how a plan is fitted.
func fitFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "train", Usage: "trace to fit to, `FILE` or - (default: what functions were seen to import)"},
		deployedFlag(),
		&cli.StringFlag{Name: "packages", Usage: "costs of packages, `FILE`"},
		&cli.StringFlag{Name: "deps", Usage: "dependencies of packages, `FILE`"},
		&cli.StringFlag{Name: "method", Value: methodCover, Usage: "`METHOD`: cover or published"},
		&cli.IntFlag{Name: "nodes", Usage: "at most `N` nodes, the root included (default: 160, or no bound if there is a budget)"},
		&cli.StringFlag{Name: "budget", Usage: "at most `SIZE` of memory for all nodes, such as 2GiB, by the costs of packages; of cover"},
		&cli.StringFlag{Name: "mode", Usage: "a node adds one package (single) or one with what it depends on (multi), `MODE` of published (default: multi)"},
		&cli.StringFlag{Name: "weights", Usage: "what a package weighs, `WHAT` of published: uniform, time or pages (default: uniform)"},
		&cli.Float64Flag{Name: "entropy", Usage: "`PENALTY` for packages that only some of a node's functions need, of published", DefaultText: "0"},
		&cli.StringFlag{Name: "inherit", Usage: "spread a package's weight over what it depends on, `HOW` of published: none, average or cost (default: none)"},
		&cli.IntFlag{Name: "depth", Usage: "no children below depth `D`, of published (default: 30)", DefaultText: "30"},
	}
}

// oneOf reads a flag with a default that has one of some values.
func oneOf[T ~string](c *cli.Context, name string, def T, values []T) (T, error) {
	v := T(c.String(name))
	if v == "" {
		v = def
	}
	if !slices.Contains(values, v) {
		words := make([]string, len(values))
		for i := range values {
			words[i] = string(values[i])
		}
		return v, cmdline.Usagef(c.Command.HelpName, "--%s %q: want %s", name, v, cmdline.OrList(words))
	}
	return v, nil
}

func fit(c *cli.Context, e *cmdline.Env) (*plan.Tree, error) {
	method, err := oneOf(c, "method", methodCover, []string{methodCover, methodPublished})
	if err != nil {
		return nil, err
	}
	of := map[string][]string{methodCover: {"budget"}, methodPublished: {"mode", "weights", "entropy", "inherit", "depth"}}
	for owner, flags := range of {
		for _, f := range flags {
			if owner != method && c.IsSet(f) {
				return nil, cmdline.Usagef(c.Command.HelpName, "--%s is of the method %s: say --method %s, or leave it out", f, owner, owner)
			}
		}
	}
	if c.IsSet("nodes") && c.Int("nodes") < 1 {
		return nil, cmdline.Usagef(c.Command.HelpName, "--nodes %d: want 1 or more", c.Int("nodes"))
	}
	w, deps, costs, err := material(c, e, method)
	if err != nil {
		return nil, err
	}
	nodes := c.Int("nodes")
	if nodes == 0 && c.String("budget") == "" {
		nodes = defaultNodes
	}
	if method == methodCover {
		o := plan.CoverOptions{Nodes: nodes}
		if text := c.String("budget"); text != "" {
			n, err := humanize.ParseBytes(text)
			if err != nil || n == 0 {
				return nil, cmdline.Usagef(c.Command.HelpName, "--budget %q: want a size, such as 512MiB or 2GiB", text)
			}
			o.MiB = float64(n) / (1 << 20)
		}
		return plan.Cover(c.Context, w, deps, costs, o)
	}
	return published(c, w, deps, costs, nodes)
}

// material reads what a plan is made from: files, or what is known of deployed functions.
// Files of costs and dependencies go before what was measured.
func material(c *cli.Context, e *cmdline.Env, method string) (w *plan.Workload, deps plan.Dependencies, costs plan.Costs, err error) {
	train := c.String("train")
	if train != "" && c.Bool("deployed") {
		return nil, deps, nil, cmdline.Usagef(c.Command.HelpName, "--deployed is for what functions were seen to import: leave it out, or --train")
	}
	if train != "" {
		needed := []string{"deps"}
		if method == methodCover {
			needed = append(needed, "packages")
		}
		for _, f := range needed {
			if c.String(f) == "" {
				return nil, deps, nil, cmdline.Usagef(c.Command.HelpName, "the method %s needs --%s FILE", method, f)
			}
		}
	}
	if err := once(train, c.String("deps"), c.String("packages")); err != nil {
		return nil, deps, nil, cmdline.Usagef(c.Command.HelpName, "%v", err)
	}
	if train == "" {
		h, err := history(c, e)
		if err != nil {
			return nil, deps, nil, err
		}
		deps, costs = h.Dependencies, h.Costs
		w, err = plan.NewWorkload(h.Calls)
		if err != nil {
			return nil, deps, nil, err
		}
	} else if w, err = read(e.Stdin, train, plan.ReadWorkload); err != nil {
		return nil, deps, nil, err
	}
	if len(w.Functions) == 0 {
		return nil, deps, nil, fmt.Errorf("%s has no functions: there is nothing to fit a plan to", train)
	}
	if path := c.String("deps"); path != "" {
		if deps, err = read(e.Stdin, path, plan.ReadDependencies); err != nil {
			return nil, deps, nil, err
		}
	}
	if path := c.String("packages"); path != "" {
		costs, err = readCosts(e.Stdin, path)
	}
	return w, deps, costs, err
}

func published(c *cli.Context, w *plan.Workload, deps plan.Dependencies, costs plan.Costs, nodes int) (*plan.Tree, error) {
	mode, err := oneOf(c, "mode", "multi", []string{"single", "multi"})
	if err != nil {
		return nil, err
	}
	weigh, err := oneOf(c, "weights", plan.WeighUniform, plan.Weightings)
	if err != nil {
		return nil, err
	}
	inherit, err := oneOf(c, "inherit", plan.InheritNone, plan.Inheritances)
	if err != nil {
		return nil, err
	}
	if (weigh != plan.WeighUniform || inherit == plan.InheritCost) && costs == nil {
		return nil, cmdline.Usagef(c.Command.HelpName, "--weights %s with --inherit %s needs --packages FILE", weigh, inherit)
	}
	if c.IsSet("depth") && c.Int("depth") < 1 {
		return nil, cmdline.Usagef(c.Command.HelpName, "--depth %d: want 1 or more", c.Int("depth"))
	}
	weights, err := w.Weights(weigh, inherit, costs, deps)
	if err != nil {
		return nil, err
	}
	return plan.Published(c.Context, w, deps, weights, plan.SplitOptions{
		Nodes: nodes, Depth: c.Int("depth"), Single: mode == "single", Entropy: c.Float64("entropy"),
	})
}

// list is packages for a table, cut where there are many.
func list(packages []string, most int) string {
	if len(packages) <= most {
		return strings.Join(packages, " ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(packages[:most], " "), len(packages)-most)
}
