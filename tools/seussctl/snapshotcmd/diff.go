package snapshotcmd

import (
	"context"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/api"
	"seuss/tools/seussctl/cmdline"
)

func snapshotDiff(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:      "diff",
		ArgsUsage: "[A] B",
		Usage:     "say where the memory of two snapshots differs",
		Description: `
Without A, compares B with its parent: why is this delta so large? Prints the
differing pages and bytes by region of the guest (kernel library, program and
library data, heap, stack, mapped memory, files), and those that lie in ELF
files by symbol. Of stripped files only exported symbols are known.`,
		Examples: []string{"seussctl snapshot diff 4f1c0a", "seussctl snapshot diff json-fn@v1 json-fn@v2 --symbols 50"},
		Flags:    []cli.Flag{&cli.IntFlag{Name: "symbols", Value: 20, Usage: "print at most `N` symbols"}},
		MinArgs:  1, MaxArgs: 2,
		Complete: cmdline.SnapshotIDs,
		Action: func(c *cli.Context, e *cmdline.Env) error {
			if c.Int("symbols") < 0 {
				return cmdline.Usagef(c.Command.HelpName, "--symbols %d is negative", c.Int("symbols"))
			}
			return e.Reading(func(r cmdline.Reader) error { return diffNodes(c.Context, e, r, c.Args().Slice(), c.Int("symbols")) })
		},
	})
}

func diffNodes(ctx context.Context, e *cmdline.Env, r cmdline.Reader, names []string, symbols int) error {
	ask := api.Diff{B: names[len(names)-1], Symbols: symbols}
	if len(names) == 2 {
		ask.A = names[0]
	}
	sum, err := r.Diff(ctx, ask)
	if err != nil {
		return err
	}
	return e.PrintDifference(sum, symbols)
}
