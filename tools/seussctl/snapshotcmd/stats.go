package snapshotcmd

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/api"
	"seuss/lineage"
	"seuss/tools/seussctl/cmdline"
)

func snapshotStats(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:  "stats",
		Usage: "say what each snapshot takes on disk and in memory",
		Description: `
FILE is the snapshot's file, RATIO the delta in whole pages to it. FREES is what
removing the snapshot alone frees on disk: where snapshots below the same parent have
equal pages, the file of one holds them for all, and is freed with the last of these.
So the sum of FILE also counts such files of snapshots that were removed. The others
are of memory in whole pages: RESIDENT what an instance that touches everything maps,
UNIQUE what no other snapshot shows, SHARED the rest, PROPORTIONAL each page divided
by the number of snapshots that show it. --duplicates reads all snapshots and says
how much of what they hold is the same in several of them, and how much of that is
stored once.`,
		Examples: []string{"seussctl snapshot stats", "seussctl snapshot stats --json", "seussctl snapshot stats --duplicates"},
		Flags:    []cli.Flag{&cli.BoolFlag{DisableDefaultText: true, Name: "duplicates", Usage: "compare the content of all snapshots instead"}},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			if c.Bool("duplicates") {
				return withReading(e, func(s *lineage.Store) error { return printDuplicates(c.Context, e, s) })
			}
			return withReading(e, func(s *lineage.Store) error { return printStats(e, s) })
		},
	})
}

func printStats(e *cmdline.Env, s *lineage.Store) error {
	usage, err := s.Inspect().Stats()
	if err != nil {
		return err
	}
	type item struct {
		ID   string       `json:"id"`
		Kind lineage.Kind `json:"kind"`
		lineage.Usage
		Ratio float64 `json:"ratio"` // delta in whole pages to file
	}
	items := []item{}
	tags := cmdline.ImageTags(e.Images())
	t := cmdline.NewTable("ID", "KIND", "KEY", ">FILE", ">FREES", ">RATIO", ">RESIDENT", ">UNIQUE", ">SHARED", ">PROPORTIONAL")
	file, pages := s.DiskBytes(), uint64(0)
	for _, n := range s.List() {
		u, ok := usage[n.ID]
		if !ok {
			continue // added or removed meanwhile
		}
		node := api.SnapshotOf(s, n)
		whole := n.DeltaBytes + node.ImageBytes
		ratio := float64(whole) / float64(max(u.FileBytes, 1))
		items = append(items, item{n.ID, n.Kind, u, ratio})
		t.Row(cmdline.Short(n.ID), string(n.Kind), cmdline.NodeKey(node, tags), cmdline.FormatBytes(u.FileBytes), cmdline.FormatBytes(u.FreedBytes), cmdline.FormatRatio(ratio), cmdline.FormatBytes(u.ResidentBytes),
			cmdline.FormatBytes(u.UniqueBytes), cmdline.FormatBytes(u.SharedBytes), cmdline.FormatBytes(uint64(u.ProportionalBytes+0.5)))
		file += u.FileBytes - n.StoredBytes() // the image
		pages += whole
	}
	if e.JSON {
		return e.PrintJSON(items)
	}
	t.Row("all", "", "", cmdline.FormatBytes(file), "", cmdline.FormatRatio(float64(pages)/float64(max(file, 1))), "", "", "", cmdline.FormatBytes(totalProportional(usage)))
	return t.Print(e.Stdout)
}

func printDuplicates(ctx context.Context, e *cmdline.Env, s *lineage.Store) error {
	d, err := s.Inspect().FindDuplicates(ctx, func(done, total int) { e.Progress.Step("comparing snapshots", float64(done)/float64(total)) })
	if err != nil {
		return err
	}
	e.Progress.Clear()
	if e.JSON {
		return e.PrintJSON(d)
	}
	percent := func(part, all uint64) string { return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(max(all, 1))) }
	t := cmdline.NewTable("WHAT", ">HELD", ">DISTINCT", ">THE SAME AS ANOTHER", ">STORED ONCE")
	t.Row("pages", cmdline.FormatPages(d.Pages), cmdline.FormatPages(d.DistinctPages), percent(d.Pages-d.DistinctPages, d.Pages), percent(d.SharedPages, d.Pages))
	t.Row("blocks of 64 bytes that differ from the parent's", cmdline.FormatPages(d.Blocks), cmdline.FormatPages(d.DistinctBlocks), percent(d.Blocks-d.DistinctBlocks, d.Blocks), "-")
	return t.Print(e.Stdout)
}

func totalProportional(usage map[string]lineage.Usage) uint64 {
	sum := 0.0
	for _, u := range usage {
		sum += u.ProportionalBytes
	}
	return uint64(sum + 0.5)
}
