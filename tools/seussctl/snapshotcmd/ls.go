package snapshotcmd

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/api"
	"seuss/lineage"
	"seuss/tools/seussctl/cmdline"
)

func snapshotLs(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:     "ls",
		Usage:    "list the snapshots, oldest first",
		Examples: []string{"seussctl snapshot ls --kind argument", "seussctl snapshot ls --function table --json"},
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "kind", Usage: "only of `KIND`: image, base, import, function, argument or instance"},
			&cli.StringFlag{Name: "function", Usage: "only of the function `NAME`"},
		},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			kind := lineage.Kind(c.String("kind"))
			switch kind {
			case "", lineage.KindImage, lineage.KindBase, lineage.KindImport, lineage.KindFunction, lineage.KindArgument, lineage.KindInstance:
			default:
				return cmdline.Usagef(c.Command.HelpName, "--kind %q: want image, base, import, function, argument or instance", kind)
			}
			return listNodes(c.Context, e, kind, c.String("function"))
		},
	})
}

func listNodes(ctx context.Context, e *cmdline.Env, kind lineage.Kind, function string) error {
	list, err := snapshots(ctx, e)
	if err != nil {
		return err
	}
	items := []*api.Snapshot{}
	for _, n := range list {
		if (kind == "" || n.Kind == kind) && (function == "" || n.Key.Function == function) {
			items = append(items, n)
		}
	}
	if e.JSON {
		return e.PrintJSON(items)
	}
	tags := cmdline.ImageTags(ctx, e)
	t := cmdline.NewTable("ID", "KIND", "KEY", "PARENT", ">DELTA PAGES", ">STORED", ">HITS", "CREATED")
	for _, n := range items {
		parent := "-"
		if n.Parent != "" {
			parent = cmdline.Short(n.Parent)
		}
		t.Row(cmdline.Short(n.ID), string(n.Kind), cmdline.NodeKey(n, tags), parent, cmdline.FormatPages(n.DeltaPages), cmdline.FormatBytes(n.Stored()), fmt.Sprint(n.Hits), cmdline.FormatTime(n.Created))
	}
	return t.Print(e.Stdout)
}
