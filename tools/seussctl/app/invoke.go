package app

import (
	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
)

func timingsFlag() cli.Flag {
	return &cli.BoolFlag{DisableDefaultText: true, Name: "timings", Usage: "print where the time went, on stderr"}
}

func (e *env) invoke() *cli.Command {
	return e.command(spec{
		name:  "invoke",
		args:  "NAME",
		usage: "invoke a deployed function",
		description: `
Starts from the deepest snapshot that fits the event. The result goes to stdout,
the function's own output to stderr. If the function fails, its error is printed
as AWS Lambda does and the exit code is 3.`,
		examples: []string{
			`seussctl invoke hello --event '{"name": "Ada"}'`,
			"seussctl invoke hello --event @event.json --timings",
			"seussctl invoke table --event @event.json --explain",
			"seussctl invoke fetch --allow-net api.example.com:443 --allow-net 10.2.0.0/16:5432",
		},
		flags: []cli.Flag{
			eventFlag(), timeoutFlag(), timingsFlag(),
			&cli.BoolFlag{DisableDefaultText: true, Name: "explain", Usage: "list the snapshots that might have been used, and why each was not, on stderr"},
			&cli.StringFlag{Name: "from", Usage: "start no deeper than `PATH`: cold, base, function or argument"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "auto-arguments", Usage: "let the dispatcher take argument snapshots by itself"},
			verifyFlag(), allowNetFlag(),
		},
		minArgs: 1, maxArgs: 1,
		complete: functionNames,
		action: func(c *cli.Context, e *env) error {
			if err := checkTimeout(c); err != nil {
				return err
			}
			from := dispatcher.StartPath(c.String("from"))
			switch from {
			case "", dispatcher.PathCold, dispatcher.PathBase, dispatcher.PathFunction, dispatcher.PathArgument:
			default:
				return usagef(c.Command.HelpName, "--from %q: want cold, base, function or argument", from)
			}
			event, err := e.readEvent(c)
			if err != nil {
				return err
			}
			request := dispatcher.Request{
				Function: c.Args().First(), Event: event, Timeout: c.Duration("timeout"),
				MaxPath: from, Explain: c.Bool("explain"), AutoArguments: c.Bool("auto-arguments"),
				Memory: c.Bool("timings") || e.json,
			}
			verify, err := readVerify(c)
			if err != nil {
				return err
			}
			network, err := readNetwork(c)
			if err != nil {
				return err
			}
			options := dispatcher.Options{PoolSize: 1, AutoArguments: c.Bool("auto-arguments"), Verify: verify, Network: network}
			return e.withReader(options, func(d service) error {
				result, err := d.Invoke(c.Context, request)
				if err != nil {
					return err
				}
				return e.printResult(result, shown{timings: c.Bool("timings"), explain: c.Bool("explain")})
			})
		},
	})
}
