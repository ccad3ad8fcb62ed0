package plancmd

import (
	"fmt"
	"io"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"seuss/dispatcher/plan"
	"seuss/tools/seussctl/cmdline"
)

func planShow(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name: "show", ArgsUsage: "FILE", MinArgs: 1, MaxArgs: 1,
		Usage: "print a plan as a tree",
		Description: `
FOUND is the order in which nodes were chosen, CALLS how many of the trace a node serves
itself, BELOW these with all nodes under it, SAVES the import time that these calls save
against the node above, MEMORY what the node's own packages take.`,
		Examples: []string{"seussctl plan show plan.json"},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			tree, err := readTree(e.Stdin, c.Args().First())
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

// shownPackages is how many packages of a node a table names.
const shownPackages = 3

func printTree(w io.Writer, tree *plan.Tree) error {
	t := cmdline.NewTable("NODE", ">FOUND", ">PACKAGES", ">CALLS", ">BELOW", ">SAVES", ">MEMORY")
	var draw func(n *plan.Node, lead, below string)
	draw = func(n *plan.Node, lead, below string) {
		name := "root"
		if len(n.Packages) > 0 {
			name = cmdline.Printable(list(n.Direct, shownPackages))
		}
		saves, memory := "-", "-"
		if n.SavedMS > 0 {
			saves = humanize.CommafWithDigits(n.SavedMS, 0) + " ms"
		}
		if n.MiB > 0 {
			memory = cmdline.FormatBytes(uint64(n.MiB * (1 << 20)))
		}
		t.Row(lead+name, fmt.Sprint(n.Generation), fmt.Sprint(len(n.Packages)), fmt.Sprint(n.Count), fmt.Sprint(callsBelow(n)), saves, memory)
		for i, child := range n.Children {
			if i < len(n.Children)-1 {
				draw(child, below+"├─ ", below+"│  ")
			} else {
				draw(child, below+"└─ ", below+"   ")
			}
		}
	}
	draw(tree.Root, "", "")
	return t.Print(w)
}

func callsBelow(n *plan.Node) int {
	sum := n.Count
	for _, c := range n.Children {
		sum += callsBelow(c)
	}
	return sum
}
