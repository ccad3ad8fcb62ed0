package snapshotcmd

import (
	"context"
	"fmt"
	"slices"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"seuss/dispatcher/api"
	"seuss/lineage"
	"seuss/tools/seussctl/cmdline"
)

func snapshotGC(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:  "gc",
		Usage: "remove the snapshots that are worth least",
		Description: `
Removes what has expired, what was not used for --unused, and then, until the
snapshots take no more than --budget on disk, those that save the fewest
milliseconds an hour for each byte: time saved by a start from it x how often that
happens / the bytes that removing it frees. Only snapshots on which nothing hangs can
go, and one whose file holds pages for others goes after them. Image, pinned,
tagged and running ones stay. Functions stay deployed; their snapshots are taken
again when they are needed.`,
		Examples: []string{"seussctl snapshot gc --budget 2GiB --dry-run", "seussctl snapshot gc --unused 168h", "seussctl snapshot gc --damaged"},
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "budget", Usage: "`BYTES` that may stay, as 500MB or 2GiB; images do not count"},
			&cli.DurationFlag{Name: "unused", Usage: "remove what was not used for `TIME`"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "damaged", Usage: "remove files that cannot be read, those of other versions included, and what hangs on them"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "dry-run", Usage: "only say what would be removed"},
		},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			unused := c.Duration("unused")
			ask := api.GC{UnusedMS: unused.Milliseconds(), Damaged: c.Bool("damaged"), DryRun: c.Bool("dry-run")}
			if unused < 0 {
				return cmdline.Usagef(c.Command.HelpName, "--unused %v is negative", unused)
			}
			if c.IsSet("budget") {
				budget, err := humanize.ParseBytes(c.String("budget"))
				if err != nil || budget == 0 {
					return cmdline.Usagef(c.Command.HelpName, "--budget %q: want a number of bytes, as 500MB or 2GiB", c.String("budget"))
				}
				ask.BudgetBytes = budget
			}
			return withSnapshots(e, func(k api.Snapshots) error {
				before, err := k.Snapshots(c.Context)
				if err != nil {
					return err
				}
				r, err := k.Collect(c.Context, ask)
				if err != nil {
					return err
				}
				return printGC(c.Context, e, before, r, ask.DryRun)
			})
		},
	})
}

func printGC(ctx context.Context, e *cmdline.Env, before []*api.Snapshot, r lineage.GCReport, dry bool) error {
	if e.JSON {
		return e.PrintJSON(struct {
			DryRun bool `json:"dry_run"`
			lineage.GCReport
		}{dry, r})
	}
	if len(r.Removed) > 0 {
		tags := cmdline.ImageTags(ctx, e)
		t := cmdline.NewTable("ID", "KIND", "KEY", "WHY", ">HITS", ">BYTES")
		for _, x := range r.Removed {
			i := slices.IndexFunc(before, func(n *api.Snapshot) bool { return n.ID == x.ID })
			if i < 0 || x.ID == "" {
				t.Row("-", "-", x.Path, x.Reason, "-", cmdline.FormatBytes(x.Bytes))
				continue
			}
			n := before[i]
			t.Row(cmdline.Short(n.ID), string(n.Kind), cmdline.NodeKey(n, tags), x.Reason, fmt.Sprint(n.Hits), cmdline.FormatBytes(x.Bytes))
		}
		if err := t.Print(e.Stdout); err != nil {
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
	_, err := fmt.Fprintf(e.Stdout, "%s %s in %d snapshots; %s are left%s\n", verb, cmdline.FormatBytes(r.BytesFreed), len(r.Removed), cmdline.FormatBytes(r.BytesAfter), kept)
	if err == nil && !r.WithinBudget {
		err = fmt.Errorf("what may not be removed takes %s, more than the budget", cmdline.FormatBytes(r.BytesAfter))
	}
	return err
}
