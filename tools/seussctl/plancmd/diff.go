package plancmd

import (
	"cmp"
	"fmt"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/plan"
	"seuss/tools/seussctl/cmdline"
)

// applied reads the plan that is applied.
func applied(c *cli.Context, s cmdline.Service, into *plan.Tree) error {
	list, err := s.Plans(c.Context)
	if err != nil {
		return err
	}
	owner := ""
	if c.Bool("own") {
		owner = functions.DefaultOwner
	}
	image := cmp.Or(c.String("image"), cmdline.DefaultImage)
	for _, st := range list {
		if st.Owner == owner && st.Image == image && !st.Outdated && (c.String("runtime") == "" || st.Key == c.String("runtime")) {
			*into = *st.Tree()
			return nil
		}
	}
	return nil // none is: all is added
}

func planDiff(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name: "diff", ArgsUsage: "[OLD] NEW", MinArgs: 1, MaxArgs: 2,
		Usage:       "say which nodes two plans do not share",
		Description: "Nodes are the same if they hold the same packages, wherever they are in the tree. Without OLD it is the plan that is applied, and the answer what applying NEW would change.",
		Examples:    []string{"seussctl plan diff monday.json tuesday.json", "seussctl plan fit --json | seussctl plan diff -"},
		Flags:       whichFlags(),
		Action: func(c *cli.Context, e *cmdline.Env) error {
			if err := once(c.Args().Slice()...); err != nil {
				return cmdline.Usagef(c.Command.HelpName, "%v", err)
			}
			after, err := readTree(e.Stdin, c.Args().Get(c.NArg()-1))
			if err != nil {
				return err
			}
			before := &plan.Tree{Root: &plan.Node{}}
			if c.NArg() == 2 {
				before, err = readTree(e.Stdin, c.Args().Get(0))
			} else {
				err = e.WithReader(dispatcher.Options{}, func(s cmdline.Service) error { return applied(c, s, before) })
			}
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
