package app

import (
	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
)

func (e *env) runCommand() *cli.Command {
	return e.command(spec{
		name:  "run",
		args:  "FILE.py",
		usage: "run a function once without deploying it",
		description: `
Starts from the image's base snapshot (which is taken first if there is none),
loads the code, runs the handler once and keeps nothing of it. FILE may also be
a directory or a .zip. The result goes to stdout, the function's own output to
stderr.`,
		examples: []string{
			`seussctl run hello.py --event '{"name": "Ada"}'`,
			"cat event.json | seussctl run ./report --handler main.run --event -",
		},
		flags:   append(codeFlags(), eventFlag(), timeoutFlag(), timingsFlag()),
		minArgs: 1, maxArgs: 1,
		action: func(c *cli.Context, e *env) error {
			if err := checkTimeout(c); err != nil {
				return err
			}
			event, err := e.readEvent(c)
			if err != nil {
				return err
			}
			// The name only labels the context object: nothing is deployed.
			spec, err := e.readFunction(c, "run", c.Args().First())
			if err != nil {
				return err
			}
			if err := e.ensureImage(c.Context, spec.Image); err != nil {
				return err
			}
			request := dispatcher.Request{Function: spec.Name, Event: event, Timeout: c.Duration("timeout")}
			return e.withReader(dispatcher.Options{PoolSize: 1}, func(d engine) error {
				result, err := d.RunOnce(c.Context, spec, request)
				if err != nil {
					return err
				}
				return e.printResult(result, shown{timings: c.Bool("timings")})
			})
		},
	})
}
