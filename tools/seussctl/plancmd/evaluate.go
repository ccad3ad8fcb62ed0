package plancmd

import (
	"fmt"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"seuss/dispatcher/plan"
	"seuss/tools/seussctl/cmdline"
)

func planEvaluate(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:  "evaluate",
		Usage: "say how well a plan serves a trace of functions",
		Description: `
A call is a hit if a node below the root serves it, or if it needs no package. The lookup
first goes to the first child that holds nothing which the call does not need, and on from
there; best takes the node that lacks the fewest packages.`,
		Examples: []string{"seussctl plan evaluate --tree plan.json --functions test.jsonl --packages packages.json --lookup best"},
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "tree", Usage: "the plan, `FILE` or -"},
			&cli.StringFlag{Name: "functions", Usage: "trace of functions, `FILE` or -"},
			&cli.StringFlag{Name: "lookup", Usage: "`HOW` a node is found: first or best (default: first)"},
			&cli.StringFlag{Name: "packages", Usage: "costs of packages, `FILE`, for times and memory"},
		},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			for _, f := range []string{"tree", "functions"} {
				if c.String(f) == "" {
					return cmdline.Usagef(c.Command.HelpName, "--%s FILE is needed", f)
				}
			}
			if err := once(c.String("tree"), c.String("functions"), c.String("packages")); err != nil {
				return cmdline.Usagef(c.Command.HelpName, "%v", err)
			}
			lookup, err := oneOf(c, "lookup", plan.LookupFirst, plan.Lookups)
			if err != nil {
				return err
			}
			tree, err := readTree(e.Stdin, c.String("tree"))
			if err != nil {
				return err
			}
			w, err := read(e.Stdin, c.String("functions"), plan.ReadWorkload)
			if err != nil {
				return err
			}
			costs, err := readCosts(e.Stdin, c.String("packages"))
			if err != nil {
				return err
			}
			result, err := plan.Evaluate(tree, w, lookup, costs)
			if err != nil {
				return err
			}
			if e.JSON {
				return e.PrintJSON(result)
			}
			return printEvaluation(e, result, costs != nil)
		},
	})
}

func printEvaluation(e *cmdline.Env, r plan.Evaluation, costs bool) error {
	t := cmdline.NewTable("NODES", ">CALLS", ">HIT", ">PACKAGES HIT", ">LEFT TO IMPORT", ">OF", ">MEMORY")
	left, of, memory := "-", "-", "-"
	if costs {
		left = humanize.CommafWithDigits(r.RemainingMS, 0) + " ms"
		of = humanize.CommafWithDigits(r.WithoutMS, 0) + " ms"
		memory = cmdline.FormatBytes(uint64(r.MiB * (1 << 20)))
		if r.Unknown > 0 {
			e.Notef("%d packages have no known cost and count nothing", r.Unknown)
		}
	}
	t.Row(fmt.Sprint(r.Nodes), fmt.Sprint(r.Calls), fmt.Sprintf("%.5f", r.Hit), fmt.Sprintf("%.5f", r.PackageHit), left, of, memory)
	return t.Print(e.Stdout)
}
