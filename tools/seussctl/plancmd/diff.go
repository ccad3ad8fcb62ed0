package plancmd

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/plan"
	"seuss/tools/seussctl/cmdline"
)

func planDiff(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name: "diff", ArgsUsage: "OLD NEW", MinArgs: 2, MaxArgs: 2,
		Usage:       "say which nodes two plans do not share",
		Description: "Nodes are the same if they hold the same packages, wherever they are in the tree.",
		Examples:    []string{"seussctl plan diff monday.json tuesday.json"},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			if err := once(c.Args().Slice()...); err != nil {
				return cmdline.Usagef(c.Command.HelpName, "%v", err)
			}
			before, err := readTree(e.Stdin, c.Args().Get(0))
			if err != nil {
				return err
			}
			after, err := readTree(e.Stdin, c.Args().Get(1))
			if err != nil {
				return err
			}
			d := plan.Diff(before, after)
			if e.JSON {
				return e.PrintJSON(d)
			}
			t := cmdline.NewTable("", "NODE", ">PACKAGES")
			for _, n := range d.Removed {
				t.Row("-", cmdline.Printable(list(n, shownPackages)), fmt.Sprint(len(n)))
			}
			for _, n := range d.Added {
				t.Row("+", cmdline.Printable(list(n, shownPackages)), fmt.Sprint(len(n)))
			}
			if err := t.Print(e.Stdout); err != nil {
				return err
			}
			e.Notef("%d nodes are in both", d.Kept)
			return nil
		},
	})
}
