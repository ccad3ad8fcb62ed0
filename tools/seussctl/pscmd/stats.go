package pscmd

import (
	"strconv"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/dispatcher/tiers"
	"seuss/tools/seussctl/cmdline"
)

// Stats makes the command that tells what starts are made of.
func Stats(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:  "stats",
		Usage: "say what starts find in the three tiers that they are made of",
		Description: `
A start asks the handler (a function's snapshot, or one of arguments below it), then the
imports (a snapshot in which they are done), then the packages that are installed, which
are layers of images. HITS found what they need there, MISSES had to ask the next tier;
both, and what was REMOVED, count since the daemon began. BYTES is what a tier holds.`,
		Examples: []string{"seussctl stats", "seussctl stats --json"},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			if d := e.Daemon(); d == nil {
				e.Notef("no daemon serves this state directory: hits, misses and what was removed are known of a daemon alone")
			} else if err := d.Close(); err != nil {
				return err
			}
			return e.WithReader(dispatcher.Options{}, func(s cmdline.Service) error {
				t, err := s.Tiers(c.Context)
				if err != nil {
					return err
				}
				if e.JSON {
					return e.PrintJSON(t)
				}
				return tableOfTiers(e, t)
			})
		},
	})
}

func tableOfTiers(e *cmdline.Env, all tiers.Tiers) error {
	t := cmdline.NewTable("TIER", ">HITS", ">MISSES", ">REMOVED", ">BYTES", ">BUDGET")
	for _, row := range []struct {
		name string
		tiers.Tier
	}{{"handler", all.Handler}, {"imports", all.Imports}, {"packages", all.Packages}} {
		budget := "-"
		if row.Budget > 0 {
			budget = cmdline.FormatBytes(row.Budget)
		}
		t.Row(row.name, strconv.FormatUint(row.Hits, 10), strconv.FormatUint(row.Misses, 10), strconv.FormatUint(row.Removed, 10), cmdline.FormatBytes(row.Bytes), budget)
	}
	return t.Print(e.Stdout)
}
