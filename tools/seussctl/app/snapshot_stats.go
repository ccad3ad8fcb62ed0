package app

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/api"
	"seuss/lineage"
)

func (e *env) snapshotStats() *cli.Command {
	return e.command(spec{
		name:  "stats",
		usage: "say what each snapshot takes on disk and in memory",
		description: `
FILE is the snapshot's file, RATIO the delta in whole pages to it. FREES is what
removing the snapshot alone frees on disk: where snapshots below the same parent have
equal pages, the file of one holds them for all, and is freed with the last of these.
So the sum of FILE also counts such files of snapshots that were removed. The others
are of memory in whole pages: RESIDENT what an instance that touches everything maps,
UNIQUE what no other snapshot shows, SHARED the rest, PROPORTIONAL each page divided
by the number of snapshots that show it. --duplicates reads all snapshots and says
how much of what they hold is the same in several of them, and how much of that is
stored once.`,
		examples: []string{"seussctl snapshot stats", "seussctl snapshot stats --json", "seussctl snapshot stats --duplicates"},
		flags:    []cli.Flag{&cli.BoolFlag{DisableDefaultText: true, Name: "duplicates", Usage: "compare the content of all snapshots instead"}},
		action: func(c *cli.Context, e *env) error {
			if c.Bool("duplicates") {
				return e.withReading(func(s *lineage.Store) error { return e.printDuplicates(c.Context, s) })
			}
			return e.withReading(e.printStats)
		},
	})
}

func (e *env) printStats(s *lineage.Store) error {
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
	tags := imageTags(e.images())
	t := newTable("ID", "KIND", "KEY", ">FILE", ">FREES", ">RATIO", ">RESIDENT", ">UNIQUE", ">SHARED", ">PROPORTIONAL")
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
		t.row(short(n.ID), string(n.Kind), nodeKey(node, tags), formatBytes(u.FileBytes), formatBytes(u.FreedBytes), formatRatio(ratio), formatBytes(u.ResidentBytes),
			formatBytes(u.UniqueBytes), formatBytes(u.SharedBytes), formatBytes(uint64(u.ProportionalBytes+0.5)))
		file += u.FileBytes - n.StoredBytes() // the image
		pages += whole
	}
	if e.json {
		return e.printJSON(items)
	}
	t.row("all", "", "", formatBytes(file), "", formatRatio(float64(pages)/float64(max(file, 1))), "", "", "", formatBytes(totalProportional(usage)))
	return t.print(e.stdout)
}

func (e *env) printDuplicates(ctx context.Context, s *lineage.Store) error {
	d, err := s.Inspect().FindDuplicates(ctx, func(done, total int) { e.progress.step("comparing snapshots", float64(done)/float64(total)) })
	if err != nil {
		return err
	}
	e.progress.clear()
	if e.json {
		return e.printJSON(d)
	}
	percent := func(part, all uint64) string { return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(max(all, 1))) }
	t := newTable("WHAT", ">HELD", ">DISTINCT", ">THE SAME AS ANOTHER", ">STORED ONCE")
	t.row("pages", formatPages(d.Pages), formatPages(d.DistinctPages), percent(d.Pages-d.DistinctPages, d.Pages), percent(d.SharedPages, d.Pages))
	t.row("blocks of 64 bytes that differ from the parent's", formatPages(d.Blocks), formatPages(d.DistinctBlocks), percent(d.Blocks-d.DistinctBlocks, d.Blocks), "-")
	return t.print(e.stdout)
}

func totalProportional(usage map[string]lineage.Usage) uint64 {
	sum := 0.0
	for _, u := range usage {
		sum += u.ProportionalBytes
	}
	return uint64(sum + 0.5)
}
