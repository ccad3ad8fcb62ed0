package app

import (
	"slices"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/tools/seussctl/cmdline"
)

func runCommand(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:      "run",
		ArgsUsage: "FILE | --image IMAGE [-- ARGUMENT...]",
		Usage:     "run a function once without deploying it, or a program",
		Description: `
With a FILE: starts from the image's base snapshot (which is taken first if there is none),
loads the code, runs the handler once and keeps nothing of it. FILE may also be
a directory or a .zip. The result goes to stdout, the function's own output to
stderr.

With an --image and "--": boots a machine with the image as its root and runs a
program in it, any x86-64 ELF, static or with its libraries in the image. IMAGE is
the name of an image, or what one is built from (seussctl image build --help), which
is done once. As docker run does, it runs the image's entrypoint with the ARGUMENTs,
or with the image's own where there are none; an image without an entrypoint runs
the first ARGUMENT. Standard input is empty. Its stdout, stderr and exit code become
those of seussctl; a program killed by a signal gives 128 and the signal's
number, one that was not found 127, one that ran out of time 124, and a failure
of seussctl or of the machine 125.`,
		Examples: []string{
			`seussctl run hello.py --event '{"name": "Ada"}'`,
			"cat event.json | seussctl run ./report --handler main.run --event -",
			"seussctl run --image dir:./rootfs -- /bin/server --once",
			"seussctl run --image docker://registry.example.com/tools/report:2 -- --rows 3",
			"seussctl run --image oci-archive:app.tar",
			"seussctl run fetch.py --allow-net api.example.com:443 --allow-net '*.example.org:*'",
		},
		Flags:   append(append(cmdline.CodeFlags(), cmdline.EventFlag(), cmdline.TimeoutFlag(), timingsFlag(), cmdline.AllowNetFlag()), slices.Concat(programFlags(), cmdline.SourceFlags())...),
		MinArgs: 0, MaxArgs: maxProgramArgs,
		Action: func(c *cli.Context, e *cmdline.Env) error {
			if isProgram(e, c) {
				return runProgram(e, c)
			}
			if !c.Args().Present() {
				return cmdline.Usagef(c.Command.HelpName, "%s: want a FILE, or an image with --image IMAGE --", c.Command.HelpName)
			}
			if c.Args().Len() > 1 {
				return cmdline.Usagef(c.Command.HelpName, "%s: unexpected argument %q (a program and its arguments stand behind --image IMAGE --)", c.Command.HelpName, c.Args().Get(1))
			}
			for _, name := range []string{"env", "memory", "entrypoint", "workdir", "user"} {
				if c.IsSet(name) {
					return cmdline.Usagef(c.Command.HelpName, "--%s is for programs, which stand behind --image IMAGE --", name)
				}
			}
			if err := cmdline.CheckTimeout(c); err != nil {
				return err
			}
			network, err := cmdline.ReadNetwork(c)
			if err != nil {
				return err
			}
			event, err := e.ReadEvent(c)
			if err != nil {
				return err
			}
			// The name only labels the context object: nothing is deployed.
			spec, err := e.ReadFunction(c, "run", c.Args().First())
			if err != nil {
				return err
			}
			if err := cmdline.EnsureImageOf(c, e, &spec); err != nil {
				return err
			}
			request := dispatcher.Request{Function: spec.Name, Event: event, Timeout: c.Duration("timeout")}
			return e.WithReader(dispatcher.Options{PoolSize: 1, Network: network}, func(d cmdline.Service) error {
				result, err := d.RunOnce(c.Context, spec, request)
				if err != nil {
					return err
				}
				return e.PrintResult(result, cmdline.Shown{Timings: c.Bool("timings")})
			})
		},
	})
}
