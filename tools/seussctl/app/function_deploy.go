package app

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/dispatcher/functions"
)

func (e *env) functionDeploy() *cli.Command {
	return e.command(spec{
		name:  "deploy",
		args:  "NAME PATH",
		usage: "deploy a function and take its snapshot",
		description: `
PATH is a .py, .js, .mjs, .cjs or .rb file, a directory or a .zip. The handler is
one of AWS Lambda's Python model, handler(event, context), or of its Node.js or Ruby
model. The code is loaded in a machine and captured, so later invocations start with
the code in memory. Deploying a name again replaces the function.

With --warm-up the function is invoked on an event, or on several, after it has
been loaded and before it is captured, so that what it does lazily at its first
use is in the snapshot (SEUSS calls it anticipatory optimisation). These
invocations leave their traces in memory: globals, caches, open files.`,
		examples: []string{
			"seussctl function deploy hello hello.py",
			"seussctl function deploy report ./report --handler main.run --import json,re",
			"seussctl function deploy thumbnail index.mjs",
			"seussctl function deploy table table.py --lazy-args",
			"seussctl function deploy report report.py --warm-up '{\"rows\": 1}' --warm-up @typical.json --warm-up-runs 20",
		},
		flags:   append(codeFlags(), warmUpFlags()...),
		minArgs: 2, maxArgs: 2,
		action: func(c *cli.Context, e *env) error {
			name := c.Args().Get(0)
			if !functions.ValidName(name) {
				return usagef(c.Command.HelpName, "function name %q: want 1 to 64 of A-Z a-z 0-9 _ -", name)
			}
			spec, err := e.readFunction(c, name, c.Args().Get(1))
			if err != nil {
				return err
			}
			if spec.WarmUp, err = e.readWarmUp(c); err != nil {
				return err
			}
			return e.deploy(c, spec)
		},
	})
}

func (e *env) deploy(c *cli.Context, spec dispatcher.FunctionSpec) error {
	if err := e.ensureImage(c.Context, spec.Image); err != nil {
		return err
	}
	return e.withEngine(dispatcher.Options{}, func(d service) error {
		node, err := d.Deploy(c.Context, spec)
		if err != nil {
			return err
		}
		e.progress.clear()
		if e.json {
			return e.printJSON(node)
		}
		_, err = fmt.Fprintf(e.stdout, "%s  %s  %s pages, %s stored\n", spec.Name, short(node.ID), formatPages(node.DeltaPages), formatBytes(node.FileBytes))
		return err
	})
}
