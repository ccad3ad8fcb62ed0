package app

import (
	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/tools/seussctl/cmdline"
	"seuss/tools/seussctl/snapshotcmd"
)

func timingsFlag() cli.Flag {
	return &cli.BoolFlag{DisableDefaultText: true, Name: "timings", Usage: "print where the time went, on stderr"}
}

func invoke(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:      "invoke",
		ArgsUsage: "NAME",
		Usage:     "invoke a deployed function",
		Description: `
Starts from the deepest snapshot that fits the event. The result goes to stdout,
the function's own output to stderr. If the function fails, its error is printed
as AWS Lambda does and the exit code is 3.`,
		Examples: []string{
			`seussctl invoke hello --event '{"name": "Ada"}'`,
			"seussctl invoke hello --event @event.json --timings",
			"seussctl invoke table --event @event.json --explain",
			"seussctl invoke fetch --allow-net api.example.com:443 --allow-net 10.2.0.0/16:5432",
		},
		Flags: []cli.Flag{
			cmdline.EventFlag(), cmdline.TimeoutFlag(), timingsFlag(),
			&cli.BoolFlag{DisableDefaultText: true, Name: "explain", Usage: "list the snapshots that might have been used, and why each was not, on stderr"},
			&cli.StringFlag{Name: "from", Usage: "start no deeper than `PATH`: cold, base, function or argument"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "auto-arguments", Usage: "let the dispatcher take argument snapshots by itself"},
			snapshotcmd.VerifyFlag(), cmdline.AllowNetFlag(),
		},
		MinArgs: 1, MaxArgs: 1,
		Complete: cmdline.FunctionNames,
		Action: func(c *cli.Context, e *cmdline.Env) error {
			if err := cmdline.CheckTimeout(c); err != nil {
				return err
			}
			from := dispatcher.StartPath(c.String("from"))
			switch from {
			case "", dispatcher.PathCold, dispatcher.PathBase, dispatcher.PathFunction, dispatcher.PathArgument:
			default:
				return cmdline.Usagef(c.Command.HelpName, "--from %q: want cold, base, function or argument", from)
			}
			event, err := e.ReadEvent(c)
			if err != nil {
				return err
			}
			request := dispatcher.Request{
				Function: cmdline.FunctionKey(c.Args().First()), Event: event,
				MaxPath: from, Explain: c.Bool("explain"), AutoArguments: c.Bool("auto-arguments"),
				Memory: c.Bool("timings") || e.JSON,
			}
			if c.IsSet("timeout") { // else the function's own
				request.Timeout = c.Duration("timeout")
			}
			verify, err := snapshotcmd.ReadVerify(c)
			if err != nil {
				return err
			}
			network, err := cmdline.ReadNetwork(c)
			if err != nil {
				return err
			}
			options := dispatcher.Options{PoolSize: 1, AutoArguments: c.Bool("auto-arguments"), Verify: verify, Network: network}
			return e.WithReader(options, func(d cmdline.Service) error {
				result, err := d.Invoke(c.Context, request)
				if err != nil {
					return err
				}
				return e.PrintResult(result, cmdline.Shown{Timings: c.Bool("timings"), Explain: c.Bool("explain")})
			})
		},
	})
}
