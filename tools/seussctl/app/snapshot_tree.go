package app

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/api"
)

func (e *env) snapshotTree() *cli.Command {
	return e.command(spec{
		name:  "tree",
		usage: "print the lineage of all snapshots",
		description: `
DELTA PAGES is how many pages differ from the parent's, STORED what the snapshot
takes on disk, SHARED what it uses of its ancestors' pages, HITS how often an
invocation started from it.`,
		examples: []string{"seussctl snapshot tree", "seussctl snapshot tree --json"},
		action: func(c *cli.Context, e *env) error {
			list, err := e.snapshots(c.Context)
			if err != nil {
				return err
			}
			trees := api.Forest(list)
			if e.json {
				return e.printJSON(trees)
			}
			return printTrees(e.stdout, trees, imageTags(e.images()))
		},
	})
}

// printTrees draws trees with one node a line and its figures beside it.
func printTrees(w io.Writer, trees []*api.Snapshot, tags map[string]string) error {
	t := newTable("NODE", "ID", ">DELTA PAGES", ">STORED", ">SHARED", ">HITS")
	var nodes int
	var bytes uint64
	var draw func(n, parent *api.Snapshot, lead, below string)
	draw = func(n, parent *api.Snapshot, lead, below string) {
		nodes++
		bytes += n.Stored()
		name := lead + string(n.Kind)
		if key := treeKey(n, parent, tags); key != "" {
			name += " " + key
		}
		for _, tag := range n.Tags {
			name += " [" + tag + "]"
		}
		t.row(name, short(n.ID), formatPages(n.DeltaPages), formatBytes(n.Stored()), formatBytes(n.SharedBytes), fmt.Sprint(n.Hits))
		for i, child := range n.Children {
			if i < len(n.Children)-1 {
				draw(child, n, below+"├─ ", below+"│  ")
			} else {
				draw(child, n, below+"└─ ", below+"   ")
			}
		}
	}
	for _, n := range trees {
		draw(n, nil, "", "")
	}
	if err := t.print(w); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%d nodes, %s stored\n", nodes, formatBytes(bytes))
	return err
}
