package snapshotcmd

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/api"
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
				return e.Reading(func(r cmdline.Reader) error { return printDuplicates(c.Context, e, r) })
			}
			return e.Reading(func(r cmdline.Reader) error { return printStats(c.Context, e, r) })
		},
	})
}

func printStats(ctx context.Context, e *cmdline.Env, r cmdline.Reader) error {
	usage, err := r.Usage(ctx)
	if err != nil {
		return err
	}
	if e.JSON {
		return e.PrintJSON(usage.Snapshots)
	}
	list, err := r.Snapshots(ctx)
	if err != nil {
		return err
	}
	byID := map[string]*api.Snapshot{}
	for _, n := range list {
		byID[n.ID] = n
	}
	tags := cmdline.ImageTags(ctx, e)
	t := cmdline.NewTable("ID", "KIND", "KEY", ">FILE", ">FREES", ">RATIO", ">RESIDENT", ">UNIQUE", ">SHARED", ">PROPORTIONAL")
	for _, u := range usage.Snapshots {
		key := ""
		if n := byID[u.ID]; n != nil { // else removed meanwhile
			key = cmdline.NodeKey(n, tags)
		}
		t.Row(cmdline.Short(u.ID), string(u.Kind), key, cmdline.FormatBytes(u.FileBytes), cmdline.FormatBytes(u.FreedBytes), cmdline.FormatRatio(u.Ratio), cmdline.FormatBytes(u.ResidentBytes),
			cmdline.FormatBytes(u.UniqueBytes), cmdline.FormatBytes(u.SharedBytes), cmdline.FormatBytes(uint64(u.ProportionalBytes+0.5)))
	}
	t.Row("all", "", "", cmdline.FormatBytes(usage.FileBytes), "", cmdline.FormatRatio(float64(usage.WholeBytes)/float64(max(usage.FileBytes, 1))), "", "", "", cmdline.FormatBytes(uint64(usage.ProportionalBytes+0.5)))
	return t.Print(e.Stdout)
}

func printDuplicates(ctx context.Context, e *cmdline.Env, r cmdline.Reader) error {
	d, err := r.Duplicates(ctx, func(done, total int) { e.Progress.Step("comparing snapshots", float64(done)/float64(total)) })
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
