package app

import (
	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
)

func (e *env) runCommand() *cli.Command {
	return e.command(spec{
		name:  "run",
		args:  "FILE | --image IMAGE -- PROGRAM [ARGUMENT...]",
		usage: "run a function once without deploying it, or a program",
		description: `
With a FILE: starts from the image's base snapshot (which is taken first if there is none),
loads the code, runs the handler once and keeps nothing of it. FILE may also be
a directory or a .zip. The result goes to stdout, the function's own output to
stderr.

With an --image and a PROGRAM behind "--": boots a machine with the image as its
root and runs the program in it, any x86-64 ELF, static or with its libraries in
the image. IMAGE is the name of an image, or dir:PATH for the tree below a
directory. Standard input is empty. Its stdout, stderr and exit code become
those of seussctl; a program killed by a signal gives 128 and the signal's
number, one that was not found 127, one that ran out of time 124, and a failure
of seussctl or of the machine 125.`,
		examples: []string{
			`seussctl run hello.py --event '{"name": "Ada"}'`,
			"cat event.json | seussctl run ./report --handler main.run --event -",
			"seussctl run --image dir:./rootfs -- /bin/server --once",
			"seussctl run fetch.py --allow-net api.example.com:443 --allow-net '*.example.org:*'",
		},
		flags:   append(append(codeFlags(), eventFlag(), timeoutFlag(), timingsFlag(), allowNetFlag()), programFlags()...),
		minArgs: 1, maxArgs: maxProgramArgs,
		action: func(c *cli.Context, e *env) error {
			if e.isProgram(c) {
				return e.runProgram(c)
			}
			if c.Args().Len() > 1 {
				return usagef(c.Command.HelpName, "%s: unexpected argument %q (a program and its arguments stand behind --image IMAGE --)", c.Command.HelpName, c.Args().Get(1))
			}
			for _, name := range []string{"env", "memory"} {
				if c.IsSet(name) {
					return usagef(c.Command.HelpName, "--%s is for programs, which stand behind --image IMAGE --", name)
				}
			}
			if err := checkTimeout(c); err != nil {
				return err
			}
			network, err := readNetwork(c)
			if err != nil {
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
			return e.withReader(dispatcher.Options{PoolSize: 1, Network: network}, func(d service) error {
				result, err := d.RunOnce(c.Context, spec, request)
				if err != nil {
					return err
				}
				return e.printResult(result, shown{timings: c.Bool("timings")})
			})
		},
	})
}
