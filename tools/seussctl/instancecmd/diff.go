package instancecmd

import (
	"context"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/http/native/client"
	"seuss/tools/seussctl/cmdline"
)

func diff(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name: "diff", ArgsUsage: "NAME [WITH]", MinArgs: 1, MaxArgs: 2,
		Usage: "say where the memory of an instance differs from another",
		Description: `
WITH is an instance, or else a snapshot: an id, the beginning of one, or a tag. Without it
that is the snapshot which the instance began as, or was checkpointed at or rolled back to
last. Prints what seussctl snapshot diff does.`,
		Examples: []string{"seussctl instance diff lab", "seussctl instance diff lab before-the-change", "seussctl instance diff left right --symbols 50"},
		Flags:    []cli.Flag{&cli.IntFlag{Name: "symbols", Value: 20, Usage: "print at most `N` symbols"}},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			if c.Int("symbols") < 0 {
				return cmdline.Usagef(c.Command.HelpName, "--symbols %d is negative", c.Int("symbols"))
			}
			return with(c, e, func(ctx context.Context, l client.Live) error {
				sum, err := l.Diff(ctx, c.Args().First(), c.Args().Get(1), c.Int("symbols"))
				if err != nil {
					return err
				}
				return e.PrintDifference(sum, c.Int("symbols"))
			})
		},
	})
}
