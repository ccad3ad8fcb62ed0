package app

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/api"
	"seuss/lineage"
)

func (e *env) snapshotLs() *cli.Command {
	return e.command(spec{
		name:     "ls",
		usage:    "list the snapshots, oldest first",
		examples: []string{"seussctl snapshot ls --kind argument", "seussctl snapshot ls --function table --json"},
		flags: []cli.Flag{
			&cli.StringFlag{Name: "kind", Usage: "only of `KIND`: image, base, import, function or argument"},
			&cli.StringFlag{Name: "function", Usage: "only of the function `NAME`"},
		},
		action: func(c *cli.Context, e *env) error {
			kind := lineage.Kind(c.String("kind"))
			switch kind {
			case "", lineage.KindImage, lineage.KindBase, lineage.KindImport, lineage.KindFunction, lineage.KindArgument:
			default:
				return usagef(c.Command.HelpName, "--kind %q: want image, base, import, function or argument", kind)
			}
			return e.listNodes(c.Context, kind, c.String("function"))
		},
	})
}

func (e *env) listNodes(ctx context.Context, kind lineage.Kind, function string) error {
	list, err := e.snapshots(ctx)
	if err != nil {
		return err
	}
	items := []*api.Snapshot{}
	for _, n := range list {
		if (kind == "" || n.Kind == kind) && (function == "" || n.Key.Function == function) {
			items = append(items, n)
		}
	}
	if e.json {
		return e.printJSON(items)
	}
	tags := imageTags(e.images())
	t := newTable("ID", "KIND", "KEY", "PARENT", ">DELTA PAGES", ">STORED", ">HITS", "CREATED")
	for _, n := range items {
		parent := "-"
		if n.Parent != "" {
			parent = short(n.Parent)
		}
		t.row(short(n.ID), string(n.Kind), nodeKey(n, tags), parent, formatPages(n.DeltaPages), formatBytes(n.Stored()), fmt.Sprint(n.Hits), formatTime(n.Created))
	}
	return t.print(e.stdout)
}

// nodeIDs are the completions for a snapshot.
func nodeIDs(e *env) (ids []string) {
	s, err := lineage.Open(e.stateDir, lineage.Options{ReadOnly: true})
	if err != nil {
		return nil
	}
	defer s.Close()
	for _, n := range s.List() {
		ids = append(ids, short(n.ID))
	}
	return ids
}
