package snapshotcmd

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/api"
	"seuss/tools/seussctl/cmdline"
)

func snapshotTree(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:  "tree",
		Usage: "print the lineage of all snapshots",
		Description: `
DELTA PAGES is how many pages differ from the parent's, of an image all of its root with
what it shares with other images, STORED what the snapshot
takes on disk, SHARED what it uses of its ancestors' pages, HITS how often an
invocation started from it.`,
		Examples: []string{"seussctl snapshot tree", "seussctl snapshot tree --json"},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			list, err := snapshots(c.Context, e)
			if err != nil {
				return err
			}
			trees := api.Forest(list)
			if e.JSON {
				return e.PrintJSON(trees)
			}
			return PrintTrees(e.Stdout, trees, cmdline.ImageTags(c.Context, e))
		},
	})
}

// PrintTrees draws trees with one node a line and its figures beside it.
func PrintTrees(w io.Writer, trees []*api.Snapshot, tags map[string]string) error {
	t := cmdline.NewTable("NODE", "ID", ">DELTA PAGES", ">STORED", ">SHARED", ">HITS")
	var nodes int
	var bytes uint64
	var draw func(n, parent *api.Snapshot, lead, below string)
	draw = func(n, parent *api.Snapshot, lead, below string) {
		nodes++
		bytes += n.Stored()
		name := lead + string(n.Kind)
		if key := cmdline.TreeKey(n, parent, tags); key != "" {
			name += " " + key
		}
		if n.Planned {
			name += " (planned)"
		}
		for _, tag := range n.Tags {
			name += " [" + tag + "]"
		}
		t.Row(name, cmdline.Short(n.ID), cmdline.FormatPages(n.DeltaPages), cmdline.FormatBytes(n.Stored()), cmdline.FormatBytes(n.SharedBytes), fmt.Sprint(n.Hits))
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
	if err := t.Print(w); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%d nodes, %s stored\n", nodes, cmdline.FormatBytes(bytes))
	return err
}
