package functioncmd

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/dispatcher/functions"
	"seuss/tools/seussctl/cmdline"
)

func functionDeploy(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:      "deploy",
		ArgsUsage: "NAME PATH | NAME --from-snapshot NODE | NAME --program -- CMD... | NAME --http PORT -- CMD... | NAME --image IMAGE",
		Usage:     "deploy a function and take its snapshot",
		Description: `
PATH is a .py, .js, .mjs, .cjs or .rb file, a directory or a .zip. The handler is
one of AWS Lambda's Python model, handler(event, context), or of its Node.js or Ruby
model. The code is loaded in a machine and captured, so later invocations start with
the code in memory. Deploying a name again replaces the function.

With --runtime provided.al2023 (provided.al2, provided) PATH is a program that speaks
AWS Lambda's Runtime API, or a directory or .zip with such a bootstrap in it. It is
captured when it asks for its first event. With --program the function is a command
of the image, or of --code: it is captured when it first reads its standard input,
reads the event there, and its standard output is the answer; an exit status other
than 0 is the function's error. With --http the command is a server: it is captured when it
waits for connections on PORT (which it finds in its environment too), and has answered
GET --ready, if that is given; requests come to it as connections. Of all, each invocation gets the program as it was
when it was captured; one that may have seeded generators of random numbers by then
is refused without --allow-shared-generators.

Of an --image that was built from a container image (docker://..., oci:..., or the name
of such a one) these three need no command and no PATH: what is run is the image's own
Entrypoint and Cmd, in its WorkingDir, with its Env, as its User. The function keeps the
image that the name leads to now; deployed again, it takes the one of then.

With --from-snapshot the function is what an instance was at a checkpoint: each invocation
begins as that. Its handler is that of the instance's function, or with --handler one that
code run in it has defined: __main__.NAME in Python, globalThis.NAME in Node.js, main.NAME
in Ruby.

With --warm-up the function is invoked on an event, or on several, after it has
been loaded and before it is captured, so that what it does lazily at its first
use is in the snapshot (SEUSS calls it anticipatory optimisation). These
invocations leave their traces in memory: globals, caches, open files.

With --layer the function finds the files of a directory or a .zip below /opt, where its
runtime looks for what AWS Lambda's layers bring: python and
python/lib/python3.N/site-packages, nodejs/node_modules, ruby/lib, lib for shared objects,
bin for programs. They lie in an image that is made of the function's, once for all that
have the same. Code is limited as Lambda's: archives have at most 50 MiB, code and layers
250 MiB unpacked.

With --requirements the packages that a requirements.txt or a package.json asks for are
installed by this machine's pip or npm, for the version that the image has, from the index
that they are configured for or from --find-links. Nothing of what they fetch is run: pip
takes wheels only, npm runs no scripts unless --allow-scripts says so. Each package is a
layer, once for all that have the same files.

With --watch the command goes on until it is interrupted: whenever a file of PATH has
changed, the function is deployed again and a line says so. Code that cannot be read or
does not load leaves the function as it is, and a line says why.

What the function may reach and use lies within what the daemon allows; what it
does not is refused by name. A function that is deployed again keeps its network
list and its host ports where none are named. See also function update.`,
		Examples: []string{
			"seussctl function deploy hello hello.py",
			"seussctl function deploy report ./report --handler main.run --import json,re",
			"seussctl function deploy thumbnail index.mjs --env SIZE=64 --timeout 10s --memory 512MiB",
			"seussctl function deploy table table.py --lazy-args",
			"seussctl function deploy report ./report --watch",
			"seussctl function deploy worker ./bootstrap --runtime provided.al2023 --allow-shared-generators",
			"seussctl function deploy count --image dir:./root --program -- /bin/grep -c foo",
			"seussctl function deploy web --http 8080 --ready /healthz --image docker://registry.example.com/shop:1 -- node server.js",
			"seussctl function deploy shop --image docker://registry.example.com/shop:1 --http 8080",
			"seussctl function deploy report ./report --layer numbers.zip --layer ./fonts",
			"seussctl function deploy answer --from-snapshot before-the-change --handler __main__.answer",
			"seussctl function deploy chart chart.py --requirements requirements.txt",
			"seussctl function deploy fetch fetch.py --allow-net api.example.com:443 --limit-time 10s",
			"seussctl function deploy report report.py --warm-up '{\"rows\": 1}' --warm-up @typical.json --warm-up-runs 20",
		},
		Flags: slices.Concat(cmdline.CodeFlags(), []cli.Flag{
			&cli.StringSliceFlag{Name: "env", Usage: "environment `KEY=VALUE` of the function, may be repeated"},
			&cli.StringFlag{Name: "from-snapshot", Usage: "the function is what `NODE` is, a checkpoint of an instance: an id, the beginning of one, or a tag"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "watch", Usage: "go on, and deploy again whenever a file of PATH has changed"},
		}, programFlags(), layerFlags(), cmdline.WarmUpFlags(), cmdline.BoundsFlags()),
		MinArgs: 1, MaxArgs: cmdline.MaxCommandWords,
		Action: func(c *cli.Context, e *cmdline.Env) error {
			spec, err := readDeployment(c, e)
			if err != nil {
				return err
			}
			if c.Bool("watch") {
				return watchAndDeploy(c, e, spec)
			}
			return deploy(e, c, spec, &required{})
		},
	})
}

// readDeployment reads what is to be deployed: the flags and the code.
func readDeployment(c *cli.Context, e *cmdline.Env) (spec dispatcher.FunctionSpec, err error) {
	name := cmdline.FunctionKey(c.Args().Get(0))
	if !functions.ValidFunction(name) {
		return spec, cmdline.Usagef(c.Command.HelpName, "function name %q: want 1 to 64 of A-Z a-z 0-9 _ -", c.Args().Get(0))
	}
	if spec, err = readCode(c, e, name); err != nil {
		return spec, err
	}
	if spec.WarmUp, err = e.ReadWarmUp(c); err != nil {
		return spec, err
	}
	reach, _, err := cmdline.ReadBounds(c)
	if err != nil {
		return spec, err
	}
	// A deployment that says nothing keeps what there was, and any says nothing.
	for name, kept := range map[string]bool{"allow-net": reach.Network.Set && reach.Network.To == nil, "host-ports": reach.HostPorts.Set && reach.HostPorts.To == nil} {
		if kept {
			return spec, cmdline.Usagef(c.Command.HelpName, "--%[1]s any: a function that is deployed again keeps what it had; leave it out for a new one, and lift it with: seussctl function update %[2]s --%[1]s any", name, c.Args().Get(0))
		}
	}
	reach.Apply(&spec.Settings)
	spec.Settings.Environment, err = readEnvironment(c)
	return spec, err
}

// readEnvironment reads the variables that a function is deployed with; nil: none.
func readEnvironment(c *cli.Context) (map[string]string, error) {
	var variables map[string]string
	for _, pair := range c.StringSlice("env") {
		name, value, ok := strings.Cut(pair, "=")
		if _, twice := variables[name]; !ok || name == "" || strings.ContainsRune(pair, 0) || twice {
			return nil, cmdline.Usagef(c.Command.HelpName, "--env %q: want KEY=VALUE, each KEY once", pair)
		}
		if variables == nil {
			variables = map[string]string{}
		}
		variables[name] = value
	}
	return variables, nil
}

func deploy(e *cmdline.Env, c *cli.Context, spec dispatcher.FunctionSpec, packages *required) error {
	if spec.Snapshot == "" {
		if err := cmdline.EnsureImageOf(c, e, &spec); err != nil {
			return err
		}
	}
	if needsImage(c, &spec) {
		if err := packages.addLayers(c, e, &spec); err != nil {
			return err
		}
	}
	return e.WithEngine(dispatcher.Options{}, func(d cmdline.Service) error {
		node, err := d.Deploy(c.Context, spec)
		if err != nil {
			return err
		}
		e.Progress.Clear()
		if e.JSON {
			return e.PrintJSON(node)
		}
		_, err = fmt.Fprintf(e.Stdout, "%s  %s  %s pages, %s stored\n", spec.Name, cmdline.Short(node.ID), cmdline.FormatPages(node.DeltaPages), cmdline.FormatBytes(node.FileBytes))
		return err
	})
}
