package app

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/dispatcher/api"
)

func (e *env) snapshotCreate() *cli.Command {
	return e.command(spec{
		name:  "create",
		args:  "[NAME]",
		usage: "take an argument, import or base snapshot",
		description: `
With NAME: runs that function, which must have been deployed with --lazy-args,
until it asks for the key --stop-at (by default the first key that the event
lacks) and captures it there. Later invocations whose event is equal so far
start from this point. Until then it may reach what --allow-net names; connections
that are open when the snapshot is taken are reset in what starts from it.

With --import: imports the modules on top of the base snapshot and captures
that. Functions deployed with the same imports start from it.

With --base: boots the image and captures the started runtime. The other
commands do this by themselves when they need it.`,
		examples: []string{
			`seussctl snapshot create table --event '{"table": {"rows": 1000, "seed": 7}}'`,
			"seussctl snapshot create table --event @event.json --stop-at query",
			"seussctl snapshot create --import json,re",
		},
		flags: []cli.Flag{
			eventFlag(),
			&cli.StringFlag{Name: "stop-at", Usage: "capture where the function asks for `KEY`"},
			&cli.StringFlag{Name: "import", Usage: "comma-separated `MODULES` to import"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "base", Usage: "take the image's base snapshot"},
			allowNetFlag(),
			&cli.StringFlag{Name: "image", Value: defaultImage, Usage: "`NAME` of the image, with --import or --base"},
		},
		maxArgs:  1,
		complete: functionNames,
		action: func(c *cli.Context, e *env) error {
			take, err := e.chooseSnapshot(c)
			if err != nil {
				return err
			}
			network, err := readNetwork(c)
			if err != nil {
				return err
			}
			if !c.Args().Present() {
				if err := e.ensureImage(c.Context, c.String("image")); err != nil {
					return err
				}
			}
			return e.withEngine(dispatcher.Options{PoolSize: 1, Network: network}, func(d service) error {
				n, err := take(d)
				if err != nil {
					return err
				}
				return e.printNewNode(n)
			})
		},
	})
}

// chooseSnapshot returns how to take the snapshot that the command line asks for.
func (e *env) chooseSnapshot(c *cli.Context) (func(service) (*api.Snapshot, error), error) {
	name := c.Command.HelpName
	function, image := c.Args().First(), c.String("image")
	asked := 0
	for _, is := range []bool{function != "", c.IsSet("import"), c.Bool("base")} {
		if is {
			asked++
		}
	}
	switch {
	case asked != 1:
		return nil, usagef(name, "%s needs one of: a function's NAME, --import MODULES, --base", name)
	case function == "" && (c.IsSet("event") || c.IsSet("stop-at") || c.IsSet("allow-net")):
		return nil, usagef(name, "--event, --stop-at and --allow-net belong to a function's NAME")
	case function != "" && c.IsSet("image"):
		return nil, usagef(name, "--image belongs to --import and --base; a function has its image from its deployment")
	case c.Bool("base"):
		return func(d service) (*api.Snapshot, error) { return d.Base(c.Context, image) }, nil
	case c.IsSet("import"):
		modules, err := splitList(c.String("import"))
		if err != nil {
			return nil, usagef(name, "--import %q: %w", c.String("import"), err)
		}
		return func(d service) (*api.Snapshot, error) { return d.Import(c.Context, image, modules) }, nil
	}
	event, err := e.readEvent(c)
	if err != nil {
		return nil, err
	}
	stopAt := c.String("stop-at")
	return func(d service) (*api.Snapshot, error) { return d.CaptureArgument(c.Context, function, event, stopAt) }, nil
}

// printNewNode prints a snapshot that a command has taken.
func (e *env) printNewNode(n *api.Snapshot) error {
	e.progress.clear()
	if e.json {
		return e.printJSON(n)
	}
	text := string(n.Kind)
	if key := nodeKey(n, imageTags(e.images())); key != "" {
		text += " " + printable(key)
	}
	_, err := fmt.Fprintf(e.stdout, "%s  %s  %s pages, %s stored\n", short(n.ID), text, formatPages(n.DeltaPages), formatBytes(n.FileBytes))
	return err
}
