package app

import (
	"fmt"
	"slices"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"seuss/dispatcher/api"
	"seuss/lineage"
)

func (e *env) snapshotGC() *cli.Command {
	return e.command(spec{
		name:  "gc",
		usage: "remove the snapshots that are worth least",
		description: `
Removes what has expired, what was not used for --unused, and then, until the
snapshots take no more than --budget on disk, those that save the fewest
milliseconds an hour for each byte: time saved by a start from it x how often that
happens / the bytes that removing it frees. Only snapshots on which nothing hangs can
go, and one whose file holds pages for others goes after them. Image, pinned,
tagged and running ones stay. Functions stay deployed; their snapshots are taken
again when they are needed.`,
		examples: []string{"seussctl snapshot gc --budget 2GiB --dry-run", "seussctl snapshot gc --unused 168h", "seussctl snapshot gc --damaged"},
		flags: []cli.Flag{
			&cli.StringFlag{Name: "budget", Usage: "`BYTES` that may stay, as 500MB or 2GiB; images do not count"},
			&cli.DurationFlag{Name: "unused", Usage: "remove what was not used for `TIME`"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "damaged", Usage: "remove files that cannot be read, those of other versions included, and what hangs on them"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "dry-run", Usage: "only say what would be removed"},
		},
		action: func(c *cli.Context, e *env) error {
			unused := c.Duration("unused")
			ask := api.GC{UnusedMS: unused.Milliseconds(), Damaged: c.Bool("damaged"), DryRun: c.Bool("dry-run")}
			if unused < 0 {
				return usagef(c.Command.HelpName, "--unused %v is negative", unused)
			}
			if c.IsSet("budget") {
				budget, err := humanize.ParseBytes(c.String("budget"))
				if err != nil || budget == 0 {
					return usagef(c.Command.HelpName, "--budget %q: want a number of bytes, as 500MB or 2GiB", c.String("budget"))
				}
				ask.BudgetBytes = budget
			}
			return e.withSnapshots(func(k api.Snapshots) error {
				before, err := k.Snapshots(c.Context)
				if err != nil {
					return err
				}
				r, err := k.Collect(c.Context, ask)
				if err != nil {
					return err
				}
				return e.printGC(before, r, ask.DryRun)
			})
		},
	})
}

func (e *env) printGC(before []*api.Snapshot, r lineage.GCReport, dry bool) error {
	if e.json {
		return e.printJSON(struct {
			DryRun bool `json:"dry_run"`
			lineage.GCReport
		}{dry, r})
	}
	if len(r.Removed) > 0 {
		tags := imageTags(e.images())
		t := newTable("ID", "KIND", "KEY", "WHY", ">HITS", ">BYTES")
		for _, x := range r.Removed {
			i := slices.IndexFunc(before, func(n *api.Snapshot) bool { return n.ID == x.ID })
			if i < 0 || x.ID == "" {
				t.row("-", "-", x.Path, x.Reason, "-", formatBytes(x.Bytes))
				continue
			}
			n := before[i]
			t.row(short(n.ID), string(n.Kind), nodeKey(n, tags), x.Reason, fmt.Sprint(n.Hits), formatBytes(x.Bytes))
		}
		if err := t.print(e.stdout); err != nil {
			return err
		}
	}
	verb := "freed"
	if dry {
		verb = "would free"
	}
	kept := ""
	for _, why := range []string{"pinned", "tagged", "running"} {
		if n := r.Kept[why]; n > 0 {
			kept += fmt.Sprintf(", %d %s", n, why)
		}
	}
	_, err := fmt.Fprintf(e.stdout, "%s %s in %d snapshots; %s are left%s\n", verb, formatBytes(r.BytesFreed), len(r.Removed), formatBytes(r.BytesAfter), kept)
	if err == nil && !r.WithinBudget {
		err = fmt.Errorf("what may not be removed takes %s, more than the budget", formatBytes(r.BytesAfter))
	}
	return err
}
