package benchcmd

import (
	"context"
	"io"

	"github.com/urfave/cli/v2"

	"seuss/tools/seussctl/cmdline"
)

// maxRounds bounds --rounds.
const maxRounds = 1000

// inRounds makes the command of a bench that measures its paths in turns, --rounds times.
func inRounds[R any](e *cmdline.Env, spec cmdline.Spec, rounds int, measure func(context.Context, *cmdline.Env, int) (*R, error), print func(io.Writer, *R) error) *cli.Command {
	spec.Flags = []cli.Flag{&cli.IntFlag{Name: "rounds", Value: rounds, Usage: "`N` turns"}}
	spec.Action = func(c *cli.Context, e *cmdline.Env) error {
		rounds := c.Int("rounds")
		if rounds < 1 || rounds > maxRounds {
			return cmdline.Usagef(c.Command.HelpName, "--rounds %d: want 1 to %d", rounds, maxRounds)
		}
		report, err := measure(c.Context, e, rounds)
		if err != nil {
			return err
		}
		e.Progress.Clear()
		if e.JSON {
			return e.PrintJSON(report)
		}
		return print(e.Stdout, report)
	}
	return e.Command(spec)
}
